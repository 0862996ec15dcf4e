from __future__ import annotations

import json
import random
from pathlib import Path

import orjson
import pytest
import zstandard

from curate.core.errors import ConfigError, RunError
from curate.models.fasttext.train_labels import measure, train_labels
from tests.helpers import rows
from tests.pipelines import run_yaml

Rows = list[tuple[str, str]]
SMALL = {"dim": 10, "epoch": 25, "bucket": 5000}


@pytest.fixture(scope="module")
def questions(shared: Path) -> Rows:
    """Real questions of six kinds."""
    with zstandard.open(shared / "data/cls_trec.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        read = [orjson.loads(next(stream)) for _ in range(600)]
    return [(row["text"], row["label"]) for row in read]


def test_questions_are_distinguished_and_the_card_measures_what_was_not_learnt(tmp_path: Path, questions: Rows) -> None:
    trained = train_labels(questions, str(tmp_path), held_out=0.25, **SMALL)
    card = json.loads(Path(f"{trained.model}.json").read_text())
    assert card == trained.card and card["labels"] == sorted({label for _, label in questions})
    held = card["held_out"]
    assert held["accuracy"] > 0.55 and held["macro_f1"] > 0.4
    for label, data in card["data"].items():  # stratified: of each label a quarter
        assert abs(held["labels"][label]["texts"] - data["texts"] / 4) <= 1
    page = Path(f"{trained.model}.md").read_text()
    assert card["data"]["NUM"]["digest"] in page and card["model"] in page and f"{held['accuracy']:.3f}" in page


def test_the_same_bytes_whatever_the_order_of_the_rows(tmp_path: Path, questions: Rows) -> None:
    one = train_labels(questions[:100], str(tmp_path / "one"), **SMALL)
    two = train_labels(iter(random.Random(1).sample(questions[:100], 100)), str(tmp_path / "two"), **SMALL)
    assert Path(one.model).read_bytes() == Path(two.model).read_bytes()
    assert Path(f"{one.model}.json").read_bytes() == Path(f"{two.model}.json").read_bytes()
    other = train_labels(questions[:100], str(tmp_path / "other"), seed=1, **SMALL)
    assert Path(one.model).read_bytes() != Path(other.model).read_bytes()


def test_four_rows_are_enough_and_then_nothing_is_held_out(tmp_path: Path) -> None:
    few = [("a red apple", "fruit"), ("a ripe pear", "fruit"), ("a grey stone", "rock"), ("old granite", "rock")]
    held = train_labels(few, str(tmp_path), **SMALL).card["held_out"]
    assert held == {"texts": 0, "accuracy": None, "macro_f1": None, "labels": {}}
    assert "nothing was measured" in (tmp_path / "model.bin.md").read_text()


def test_a_text_with_two_labels_is_learnt_and_counted_but_not_measured(tmp_path: Path, questions: Rows) -> None:
    both = [*questions[:60], (questions[0][0], "OTHER"), ("How now ?", "OTHER")]
    card = train_labels(both, str(tmp_path), held_out=0.9, **SMALL).card
    assert card["several_labels"] == 1
    assert card["held_out"]["labels"]["OTHER"]["texts"] == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no row with a text and a label"),
        ([("a", "x"), ("b", "x"), (" \n", "y")], "only 'x'"),
        ([("a", "x"), ("b", "x"), ("c", "y"), ("c", "y")], "one of 'y'"),
    ],
)
def test_too_few_labels_or_rows_are_an_error(tmp_path: Path, given: Rows, message: str) -> None:
    with pytest.raises(RunError, match=message):
        train_labels(given, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_label_of_two_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no white space in a label"):
        train_labels([("a", "fine art")], str(tmp_path))
    with pytest.raises(ConfigError, match="held_out 1"):
        train_labels([], str(tmp_path), held_out=1)


def test_macro_f1_is_the_mean_over_the_true_labels() -> None:
    found = measure(["a", "a", "a", "b", "b", "c"], ["a", "a", "b", "b", "b", "d"])
    assert found["macro_f1"] == pytest.approx((2 * 2 / 5 + 2 * 2 / 5 + 0) / 3, abs=1e-6)
    assert found["accuracy"] == pytest.approx(4 / 6, abs=1e-6)


def _pipeline(folder: Path, questions: Rows, more: str) -> str:
    lines = [json.dumps({"text": text, "label": label, "weight": i / 2}) for i, (text, label) in enumerate(questions)]
    (folder / "seeds.jsonl").write_text("\n".join(lines))
    return f"""
name: topics
steps:
  seeds: {{read: {{path: {folder}/seeds.jsonl, shard_bytes: 10000}}}}
  dups: {{dedup: {{from: seeds, exact: }}}}
{more}
"""


def test_the_step_obeys_keep_and_label_agreement_reads_its_model(tmp_path: Path, questions: Rows) -> None:
    doubled = [*questions[:120], ("What is twice here ?", "DESC"), ("What is twice here ?", "NUM")]
    done = run_yaml(
        tmp_path,
        _pipeline(
            tmp_path,
            doubled,
            """
  topics: {train: {labels: {from: [seeds, dups], dim: 10, epoch: 25, bucket: 5000}}}
  all: {train: {labels: {from: seeds, dim: 10, epoch: 25, bucket: 5000}}}
  checks: {verify: {from: seeds, label_agreement: {model: topics}}}
""",
        ),
    )
    cards = {name: done[name].manifest.details["card"] for name in ("topics", "all")}
    assert cards["all"]["several_labels"] == 1 and cards["topics"]["several_labels"] == 0
    agrees = [row["label_agreement_agrees"] for row in rows(done["checks"])]
    assert sum(map(bool, agrees)) > 0.8 * len(agrees)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{from: seeds, label: lable}", "no column 'lable' in it or beside it.*did you mean 'label'"),
        ("{from: [dups, seeds]}", "step dups: has neither `text` nor `messages`"),
        ("{from: seeds, label: weight}", "'weight' in seeds holds double, not labels"),
    ],
)
def test_what_gives_no_labels_is_refused(tmp_path: Path, questions: Rows, source: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_yaml(tmp_path, _pipeline(tmp_path, questions[:30], f"  topics: {{train: {{labels: {source}}}}}"))
