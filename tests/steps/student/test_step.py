"""The `student` step on real questions: what it measures, what it refuses, the same bytes for any number of workers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import orjson
import pytest
import zstandard

from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.errors import ConfigError, RunError
from curate.report.summary import summary_lines
from curate.steps.student.data import column_of
from tests.helpers import rows, tree
from tests.pipelines import run_yaml

Rows = list[dict[str, str]]
VARIANTS = """
          few: [few]
          few + more: [few, more]
          few + kept: [few, {rows: more, kept: kept}]
"""


@pytest.fixture(scope="module")
def trec(shared: Path) -> dict[str, Rows]:
    """Real questions to learn and to test with, none in both."""
    with zstandard.open(shared / "data/cls_trec.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        read = [orjson.loads(line) for line in stream]
    learnt = [row for row in read if row["split"] == "train"][:600]
    known = {row["text"].lower() for row in learnt}
    return {
        "train": learnt,
        "test": [row for row in read if row["split"] == "test" and row["text"].lower() not in known],
    }


def put(path: Path, read: Rows) -> None:
    lines = [json.dumps({"text": row["text"], "label": row["label"], "right": row.get("right", 1)}) for row in read]
    path.write_text("\n".join(lines))


def run(folder: Path, trec: dict[str, Rows], *, train: str = VARIANTS, more: str = "", workers: int = 1) -> Dataset:
    """60 rows, 540 more of which each third is mislabelled, and a filter that knows which."""
    others = [
        {**row, "label": trec["train"][i - 7]["label"], "right": int(row["label"] == trec["train"][i - 7]["label"])}
        if i % 3 == 0
        else row
        for i, row in enumerate(trec["train"][60:])
    ]
    folder.mkdir(exist_ok=True)
    for name, read in (("few", trec["train"][:60]), ("more", others), ("heldout", trec["test"])):
        put(folder / f"{name}.jsonl", read)
    text = f"""
name: help
steps:
  few: {{read: {{path: {folder}/few.jsonl}}}}
  more: {{read: {{path: {folder}/more.jsonl, shard_bytes: 20000}}}}
  heldout: {{read: {{path: {folder}/heldout.jsonl, shard_bytes: 20000}}}}
  kept: {{filter: {{from: more, rules: [{{column: right, at_least: 1}}]}}}}
  student:
      student:
        test: heldout
        train: {train}
        {more or "seeds: 2"}
"""
    return run_yaml(folder, text, resources=Resources(workers=workers))["student"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, trec: dict[str, Rows]) -> Dataset:
    return run(tmp_path_factory.mktemp("one"), trec)


def test_more_rows_and_right_labels_are_seen_to_help(done: Dataset, trec: dict[str, Rows]) -> None:
    table = {row["variant"]: row for row in done.manifest.details["table"]}
    assert list(table) == ["few", "few + more", "few + kept"]
    assert table["few"]["rows"] == 60 and table["few + more"]["rows"] == 600 > table["few + kept"]["rows"] > 400
    assert table["few"]["gain"] is None and table["few + kept"]["gain"]["low"] > 0
    assert table["few"]["accuracy"] < table["few + more"]["accuracy"] < table["few + kept"]["accuracy"]
    for row in table.values():
        assert row["low"] < row["accuracy"] < row["high"] and 0 < row["macro_f1"]["value"] < 1
    assert done.manifest.details["students"] == 2
    assert done.manifest.details["test_rows"] == done.rows == len(trec["test"])


def test_the_output_says_what_the_first_student_of_each_variant_says(done: Dataset, trec: dict[str, Rows]) -> None:
    found = rows(done)
    assert list(found[0]) == ["id", "label", "few", "few_more", "few_kept"]
    assert [row["label"] for row in found] == [row["label"] for row in trec["test"]]
    right = sum(row["few_kept"] == row["label"] for row in found) / len(found)
    table = done.manifest.details["table"]
    assert right == pytest.approx(table[2]["accuracy"], abs=0.05)


def test_the_summary_is_a_table(done: Dataset) -> None:
    lines = summary_lines({"student": done})
    assert lines[0] == "\nwhat a small student learns      rows  accuracy            against the first"
    assert re.fullmatch(r"  few {30}60   \d\d\.\d % \(\d\d to \d\d\)", lines[1])
    assert re.fullmatch(r"  few \+ more {22}600   \d\d\.\d % \(\d\d to \d\d\)   \+?[\d.]+ \(-?\d+ to \d+\)", lines[2])
    assert len(lines) == 4
    print(*lines, sep="\n")


@pytest.mark.slow
def test_two_workers_make_the_same_bytes(tmp_path: Path, done: Dataset, trec: dict[str, Rows]) -> None:
    again = run(tmp_path, trec, workers=2)
    assert tree(Path(again.folder)) == tree(Path(done.folder))


def test_variants_can_be_of_equal_size_and_logistic_needs_one_student(tmp_path: Path, trec: dict[str, Rows]) -> None:
    train = "{few: [few], more: [more]}"
    made = run(tmp_path, trec, train=train, more="sizes: {more: 60}\n        kind: logistic")
    table = made.manifest.details["table"]
    assert [row["rows"] for row in table] == [60, 60]
    assert made.manifest.details["students"] == 1


def test_test_rows_that_are_learnt_are_a_leak(tmp_path: Path, trec: dict[str, Rows]) -> None:
    shouted = [{**row, "text": row["text"].upper() + "!"} for row in trec["train"][:3]]
    leaky = {**trec, "test": [*trec["test"][:50], *shouted]}
    with pytest.raises(RunError, match="variant 'few': 3 of the 53 test rows stand in what it learns.*near"):
        run(tmp_path, leaky)


def test_rows_of_the_test_without_a_label_are_left_out_and_counted(tmp_path: Path, trec: dict[str, Rows]) -> None:
    bare: Rows = [{"text": "Is this labelled ?", "label": ""}, *trec["test"][:40]]
    made = run(tmp_path, {**trec, "test": bare}, train="{few: few}", more="seeds: 1")
    assert (made.manifest.rows_in, made.rows, made.manifest.dropped) == (41, 40, 1)


@pytest.mark.parametrize(
    ("train", "more", "message"),
    [
        ("{label: [few]}", "", "'label' is there already"),
        ("{a b: [few], a-b: [few]}", "", "'a_b' is there already"),
        ("{'+': [few]}", "", "has letters or digits"),
        ("{few: []}", "", "names no dataset"),
        ("{few: [few]}", "sizes: {fwe: 3}", "did you mean 'few'"),
        ("{few: [few]}", "sizes: {few: 61}", "variant 'few': `sizes` asks for 61 rows, and there are 60"),
        ("{few: [few]}", "label: lable", "no column 'lable'.*did you mean 'label'"),
        ("{few: [fewer]}", "", "no step 'fewer'"),
        ("{few: [{rows: few, keep: kept}]}", "", "did you mean 'kept'"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(
    tmp_path: Path, trec: dict[str, Rows], train: str, more: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, trec, train=train, more=more)


def test_one_label_alone_teaches_nothing(tmp_path: Path, trec: dict[str, Rows]) -> None:
    alike = {**trec, "train": [{**row, "label": "NUM"} for row in trec["train"]]}
    with pytest.raises(RunError, match="two labels at least; the 60 rows have 1"):
        run(tmp_path, alike)


def test_columns_are_named_by_the_variants() -> None:
    assert [column_of(each) for each in ("seeds", "seeds + made (1)", "2x", "+")] == [
        "seeds",
        "seeds_made_1",
        "_2x",
        "",
    ]
