"""The `weak_labels` step: votes of columns, made rows, keywords and a model on real questions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard

from curate.core.config import validate
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.errors import ConfigError
from curate.steps.weak.combine import combine
from curate.steps.weak.labelers import Keywords, LabelSet
from curate.steps.weak.step import WeakLabelsConfig
from curate.steps.weak.step import run as step
from tests.helpers import dataset, rows, run_step, tree
from tests.pipelines import run_yaml

LABELS = ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]
NONE = -1
WORDS = "{HUM: [who], LOC: [where, city, country], NUM: [how many, how much, when, what year], DESC: [why, how]}"


@pytest.fixture(scope="module")
def trec(shared: Path) -> list[dict[str, object]]:
    """Real questions; `noisy` is their label, wrong in a third, and `sure` says which with 0.9 and 0.3."""
    with zstandard.open(shared / "data/cls_trec.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        read = [orjson.loads(next(stream)) for _ in range(500)]
    for i, row in enumerate(read):
        row["noisy"] = LABELS[i % 6] if i % 3 == 0 else row["label"]
        row["sure"] = 0.3 if i % 3 == 0 else 0.9
    return read


def run(folder: Path, trec: list[dict[str, object]], config: str, workers: int = 1) -> dict[str, Dataset]:
    """300 rows without their labels, and a model that 200 others taught."""
    folder.mkdir(exist_ok=True)
    columns = {"rows": ["text", "noisy", "sure"], "seeds": ["text", "label"]}
    for name, some in (("rows", trec[:300]), ("seeds", trec[300:])):
        lines = [json.dumps({key: row[key] for key in columns[name]}) for row in some]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    text = f"""
name: weak
steps:
  rows: {{read: {{path: {folder}/rows.jsonl, shard_bytes: 8000}}}}
  seeds: {{read: {{path: {folder}/seeds.jsonl}}}}
  dups: {{dedup: {{from: rows, exact: }}}}
  topics: {{train: {{labels: {{from: seeds, dim: 10, epoch: 25, bucket: 5000}}}}}}
  weak: {{weak_labels: {{from: rows, labels: [{", ".join(LABELS)}], {config}}}}}
"""
    return run_yaml(folder, text, resources=Resources(workers=workers))


ALL = f"""labelers: {{noisy: {{column: noisy, confidence: sure}}, words: {{keywords: {WORDS}}},
  small: {{model: topics, at_least: 0.4}}}}, at_least: 0.8"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, trec: list[dict[str, object]]) -> dict[str, Dataset]:
    return run(tmp_path_factory.mktemp("weak"), trec, ALL)


def test_the_labels_are_better_than_those_of_any_labeler(
    done: dict[str, Dataset], trec: list[dict[str, object]]
) -> None:
    found = rows(done["weak"])
    truth = [row["label"] for row in trec[:300]]
    right = np.mean([row["label"] == label for row, label in zip(found, truth, strict=True)])
    labelers = done["weak"].manifest.details["labelers"]
    assert set(labelers) == {"noisy", "words", "small"}
    for name in labelers:
        votes = [{vote["labeler"]: vote["label"] for vote in row["votes"]}.get(name) for row in found]
        assert right > np.mean([vote == label for vote, label in zip(votes, truth, strict=True)])
    kept = [row["label"] == label for row, label in zip(found, truth, strict=True) if row["keep"]]
    assert np.mean(kept) > right + 0.03 and len(kept) > 100


def test_a_row_has_its_votes_and_a_reason_when_it_is_not_kept(done: dict[str, Dataset]) -> None:
    found = rows(done["weak"])
    assert [row["id"] for row in found] == [row["id"] for row in rows(done["rows"])]
    assert [shard.name for shard in done["weak"].shards] == [shard.name for shard in done["rows"].shards]
    for row in found:
        votes = row["votes"]
        assert votes[0]["labeler"] == "noisy" and votes[0]["confidence"] in (0.3, 0.9)
        assert (row["disagreement"] > 0) == (len({vote["label"] for vote in votes}) > 1)
        assert row["keep"] == (row["confidence"] >= 0.8)
        assert row["reason"] == (None if row["keep"] else "low-confidence")
    counts = done["weak"].manifest.counts
    assert counts["kept"] + counts["first:low-confidence"] == 300 and counts["first:no-vote"] == 0


def test_the_details_say_how_reliable_each_labeler_is(done: dict[str, Dataset], trec: list[dict[str, object]]) -> None:
    details = done["weak"].manifest.details
    labelers = details["labelers"]
    noisy = labelers["noisy"]
    truly = np.mean([row["noisy"] == row["label"] for row in trec[:300]])
    assert noisy["votes"] == 300 and noisy["accuracy"] == pytest.approx(truly, abs=0.15)
    confusion = noisy["confusion"]
    assert set(confusion) == set(LABELS)
    for chances in confusion.values():
        assert sum(chances.values()) == pytest.approx(1, abs=1e-4)
    assert sum(details["labels"].values()) == 300


@pytest.mark.slow
def test_two_workers_make_the_same_bytes(
    tmp_path: Path, done: dict[str, Dataset], trec: list[dict[str, object]]
) -> None:
    again = run(tmp_path, trec, ALL, workers=2)
    assert tree(Path(again["weak"].folder)) == tree(Path(done["weak"].folder))


def test_by_majority_a_confidence_weighs_and_a_row_without_a_vote_has_a_reason(
    tmp_path: Path, trec: list[dict[str, object]]
) -> None:
    some = [*trec[:300]]
    some[0] = {"text": "Name it .", "noisy": "planet", "sure": 0.9}
    some[1] = {"text": "Who knows ?", "noisy": " num ", "sure": 0.9}  # case and white space do not matter
    some[2] = {"text": "Who knows this ?", "noisy": "NUM", "sure": 0}
    voters = f"labelers: {{noisy: {{column: noisy, confidence: sure}}, words: {{keywords: {WORDS}}}}}"
    made = run(tmp_path, [*some, *trec[300:]], f"{voters}, method: majority, weigh: true, at_least: 0.5")["weak"]
    found = rows(made)
    assert (found[0]["label"], found[0]["reason"], found[0]["votes"]) == (None, "no-vote", [])
    assert found[1]["label"] == "HUM" and found[1]["confidence"] == pytest.approx(1 / 1.9, abs=1e-6)
    assert found[2]["label"] == "HUM" and found[2]["confidence"] == 1  # a vote that weighs nothing is none
    labelers = made.manifest.details["labelers"]
    assert labelers["noisy"]["unknown"] == 1
    assert made.manifest.details["no_vote"] == 1


def voting(labels: list[str], column: str) -> WeakLabelsConfig:
    """One labeler, `by`, that is a column of another step."""
    labelers = {"by": {"column": column, "from": "other"}}
    return validate(WeakLabelsConfig, {"from": "docs", "labels": [*labels], "labelers": labelers}, ())


def test_a_made_row_votes_for_its_first_parent_and_the_first_of_several_counts(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"id": ["a", "b"], "text": ["x", "y"]}, {"id": ["c"], "text": ["z"]})
    made = dataset(
        tmp_path / "made",
        {
            "id": ["m1", "m2", "m3", "m4"],
            "parents": [["b", "a"], ["b"], ["c"], []],
            "label": [None, "no", "yes", "yes"],
        },
    )
    inputs = {"from": docs, "labelers.by.from": made}
    found = rows(run_step(tmp_path, lambda job: step(job, voting(["yes", "no"], "label")), inputs))
    assert [row["label"] for row in found] == [None, "no", "yes"] and "keep" not in found[0]
    with pytest.raises(ConfigError, match="labeler 'by': no row of made is one of the rows"):
        other = dataset(tmp_path / "other", {"id": ["q"], "text": ["x"]})
        inputs = {"from": other, "labelers.by.from": made}
        run_step(tmp_path, lambda job: step(job, voting(["yes", "no"], "label")), inputs, name="strange")


def test_a_row_beside_votes_by_its_id(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"id": ["a", "b"], "text": ["x", "y"]}, {"id": ["c"], "text": ["z"]})
    beside = dataset(tmp_path / "beside", {"id": ["a", "b"], "said": [True, False]}, {"id": ["c"], "said": [None]})
    inputs = {"from": docs, "labelers.by.from": beside}
    found = rows(run_step(tmp_path, lambda job: step(job, voting(["true", "false"], "said")), inputs))
    assert [row["label"] for row in found] == ["true", "false", None]


def test_keywords_are_whole_words_in_any_case_and_a_tie_is_no_vote() -> None:
    keywords = Keywords({"NUM": ["how many", "year"], "HUM": ["who"], "LOC": []}, ["HUM", "LOC", "NUM"])
    texts = ["WHO is it?", "How\nmany?", "whose", "Who, in which year?", "who and who and what year", "", "C++ who"]
    assert keywords.votes(texts).tolist() == [0, 2, NONE, NONE, 0, NONE, 0]


def test_labels_that_differ_by_case_alone_are_distinguished() -> None:
    assert LabelSet(["us", "US"]).votes(["US", "us", "Us", None, " ", "them"]).labels.tolist() == [1, 0, 0, -1, -1, -1]
    assert LabelSet(["us", "US"]).votes(["them", None]).unknown == 1


def test_a_confidence_that_is_no_chance_cannot_weigh() -> None:
    votes, confidence = np.array([[0, 1]]), np.array([[0.5, 4.0]])
    with pytest.raises(ConfigError, match="labeler 'b': a confidence of 4 is not from 0 to 1"):
        combine(votes, confidence, ["x", "y"], ["a", "b"], "majority", weigh=True)
    assert combine(votes, confidence, ["x", "y"], ["a", "b"], "majority", weigh=False).labels.tolist() == [0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("labelers: {a: {column: noisi}}", "labeler 'a': no column 'noisi' in rows; did you mean 'noisy'"),
        ("labelers: {a: {column: noisy, confidence: text}}", "'text' holds .*string, not numbers"),
        ("labelers: {a: {column: noisy, model: topics}}", "it has 2 of them"),
        ("labelers: {a: {keywords: {HUMS: [who]}}}", "no label 'HUMS'; did you mean 'HUM'"),
        ("labelers: {a: {keywords: {HUM: [' ']}}}", "an empty keyword of 'HUM'"),
        ("labelers: {a: {model: topics, confidence: sure}}", "`confidence` goes with `column` alone"),
        ("labelers: {a: {column: noisy, at_least: 0.5}}", "`at_least` goes with `model` alone"),
        ("labelers: {a: {column: noisy, from: row}}", "no step 'row'; did you mean 'rows'"),
        ("labelers: {a: {model: topic}}", "'topic' is neither a file nor a step"),
        ("labelers: {a: {colum: noisy}}", "did you mean 'column'"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(
    tmp_path: Path, trec: list[dict[str, object]], config: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, trec, config)
