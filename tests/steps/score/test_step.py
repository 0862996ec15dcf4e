"""The score step: which column a scorer reads, and what is refused."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pyarrow as pa
import pytest

from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.explain.row import explain_row
from curate.steps.score import step as score
from curate.text.batch import TextBatch
from tests.helpers import dataset, rows, run_step
from tests.pipelines import run_yaml


def run(root: Path, docs: Dataset, **entries: dict) -> Dataset:
    config = score.parse({"from": "docs", **entries}, ())
    return run_step(root, functools.partial(score.run, config=config), {"from": docs}, config=config.identity())


def documents(folder: Path, **columns: list) -> Dataset:
    size = len(next(iter(columns.values())))
    return dataset(folder, {"source": ["x#0"] * size, **columns})


def test_a_scorer_reads_the_column_that_its_entry_names(tmp_path: Path) -> None:
    docs = documents(tmp_path / "docs", text=["One. Two words", "c"], title=["UP", None])
    out = run(tmp_path, docs, body={"scorer": "markup"}, head={"scorer": "markup", "column": "title"})
    found = rows(out, ["body_upper", "head_upper"])
    assert found[0] == {"body_upper": pytest.approx(2 / 11), "head_upper": 1.0}
    assert found[1] == {"body_upper": 0.0, "head_upper": None}


def test_the_scorer_of_urls_reads_the_column_url_and_the_text_is_not_needed(tmp_path: Path) -> None:
    docs = documents(tmp_path / "docs", url=["https://a.org/x", None])
    assert [row["url_host"] for row in rows(run(tmp_path, docs, url={"host": True}))] == ["a.org", None]


def test_a_shard_without_the_column_has_null_scores(tmp_path: Path) -> None:
    with_url = {"source": ["x#0"], "text": ["a"], "url": ["https://a.org"]}
    docs = dataset(tmp_path / "docs", with_url, {"source": ["x#1"], "text": ["b"]})
    found = rows(run(tmp_path, docs, url={}, markup={}))
    assert [(row["url_listed"], row["markup_digits"]) for row in found] == [(False, 0.0), (None, 0.0)]


def test_scorers_of_one_column_share_one_tokenisation() -> None:
    made: list[TextBatch] = []

    def scorer(batch: TextBatch) -> dict[str, pa.Array]:
        batch.words("uax29")
        made.append(batch)
        return {"": pa.array([0] * len(batch))}

    batch = pa.record_batch({"id": ["a"], "text": ["some words"], "title": ["others"]})
    columns = {"a": "text", "b": "title", "c": "text", "d": "title"}
    score.score_batch(dict.fromkeys("abcd", scorer), batch, columns)
    assert made[0] is made[2] and made[1] is made[3] and made[0] is not made[1]
    assert all(set(each.tokenisations.values()) == {1} for each in made)


def test_a_missing_or_unfit_column_is_refused_before_a_row_is_scored(tmp_path: Path) -> None:
    docs = documents(tmp_path / "docs", text=["a"], titel=["b"], year=[2020])
    with pytest.raises(BadValue, match="head.column: the documents have no column 'title'; did you mean 'titel'"):
        run(tmp_path, docs, head={"scorer": "markup", "column": "title"})
    with pytest.raises(BadValue, match="the column 'year' holds int64, not strings"):
        run(tmp_path, docs, head={"scorer": "markup", "column": "year"})
    for wrong in (3, ""):
        with pytest.raises(BadValue, match="expected the name of a column"):
            run(tmp_path, docs, head={"scorer": "markup", "column": wrong})
    assert run(tmp_path / "id", docs, head={"scorer": "markup", "column": "id"}).rows == docs.rows


def test_a_column_bears_identity_and_the_text_does_not() -> None:
    plain = score.parse({"from": "docs", "markup": {}}, ())
    named = score.parse({"from": "docs", "markup": {"column": "text"}}, ())
    other = score.parse({"from": "docs", "markup": {"column": "title"}}, ())
    assert plain.identity() == named.identity() == {"scorers": [["markup", "markup", {}]]}
    assert other.identity() == {"scorers": [["markup", "markup", {}, "title"]]}


def test_explain_reads_the_column_that_was_scored(tmp_path: Path) -> None:
    for name, words in (("good", "river mill"), ("poor", "casino bonus")):
        lines = [json.dumps({"text": f"{words} {i}"}) + "\n" for i in range(200)]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    (tmp_path / "docs.jsonl").write_text('{"text": "casino bonus", "title": "river"}\n')
    outputs = run_yaml(
        tmp_path,
        f"""
name: titles
steps:
  good: {{read: {{path: {tmp_path}/good.jsonl}}}}
  poor: {{read: {{path: {tmp_path}/poor.jsonl}}}}
  cls: {{train: {{fasttext: {{positive: good, negative: poor, dim: 4, bucket: 100, lr: 0.5}}}}}}
  docs: {{read: {{path: {tmp_path}/docs.jsonl}}}}
  scores: {{score: {{from: docs, head: {{scorer: quality, column: title, model: cls, label: hq}}}}}}
""",
    )
    (row,) = rows(outputs["scores"])
    assert row["head"] > 0.5
    explained = "\n".join(explain_row(list(outputs.values()), str(row["id"]), str(tmp_path / "titles" / "config.yaml")))
    assert '"river"' in explained and '"casino"' not in explained and "not known" not in explained
