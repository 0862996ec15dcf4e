from __future__ import annotations

import importlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.helpers import ROOT, tree

QUICKSTART = ROOT / "configs" / "quickstart"


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(QUICKSTART))
        yield importlib.import_module("conversations")
    for name in ("conversations", "tasks", "words"):
        del sys.modules[name]


@pytest.fixture(scope="module")
def out(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conversations")
    generator.generate(folder)
    return folder


def read(*paths: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def pool(folder: Path) -> list[dict[str, Any]]:
    return read(*sorted((folder / "pool").iterdir()))


def asked(row: dict[str, Any]) -> list[str]:
    if "conversations" in row:
        return [turn["value"] for turn in row["conversations"] if turn["from"] == "human"]
    return [f"{row['instruction']}\n\n{row['input']}".strip()]


def test_every_row_of_the_pool_is_in_the_truth_with_its_task_and_flaw(generator: ModuleType, out: Path) -> None:
    rows, truth = pool(out), read(out / "truth.jsonl")
    assert len(rows) == 600
    assert {(row["id"], row["task"], row["flaw"]) for row in rows} == {(t["id"], t["task"], t["flaw"]) for t in truth}
    assert Counter(t["flaw"] for t in truth if t["flaw"]) == {
        flaw: round(share * 600) for flaw, share in generator.FLAWS.items()
    }


def test_a_copy_asks_what_a_good_row_asks_and_comes_after_it(out: Path) -> None:
    rows = {row["id"]: row for row in pool(out)}
    places = {row["id"]: place for place, row in enumerate(read(out / "truth.jsonl"))}
    copies = [row for row in read(out / "truth.jsonl") if row["copy_of"]]
    assert copies
    for copy in copies:
        original = rows[copy["copy_of"]]
        same = asked(rows[copy["id"]]) == asked(original)
        assert original["flaw"] is None and places[copy["copy_of"]] < places[copy["id"]]
        assert same == (copy["flaw"] == "exact-copy")


def test_no_question_of_a_target_is_in_the_pool(generator: ModuleType, out: Path) -> None:
    questions = {question for row in pool(out) for question in asked(row)}
    for task in generator.TASKS:
        rows = read(out / "targets" / f"{task}.jsonl")
        assert len(rows) == 20
        assert not questions & {question for row in rows for question in asked(row)}


def test_answers_are_right_where_there_is_no_flaw_and_wrong_where_it_says_so(out: Path) -> None:
    seen: Counter[bool] = Counter()
    for row in pool(out):
        if row["task"] == "arithmetic" and row["flaw"] in (None, "wrong-answer") and "output" in row:
            steps = re.findall(r"(\d+) ([-+x/]) (\d+) = (\d+)", row["output"])
            right = all(eval_step(int(a), sign, int(b)) == int(c) for a, sign, b, c in steps)
            assert steps and right == (row["flaw"] is None)
            seen[right] += 1
        if row["task"] == "sort" and row["flaw"] in (None, "wrong-answer") and "output" in row:
            items: list[Any] = row["input"].split(", ")
            ordered = sorted(items, key=lambda each: (int(each), "") if each.isdigit() else (0, each))
            assert (row["output"].split(", ") == ordered) == (row["flaw"] is None)
    assert seen[True] > 20 and seen[False] > 3


def eval_step(a: int, sign: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "x": a * b, "/": a // b}[sign]


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(
    generator: ModuleType, out: Path, tmp_path: Path
) -> None:
    generator.generate(tmp_path / "again")
    generator.generate(tmp_path / "other", seed=8)
    assert tree(out) == tree(tmp_path / "again") != tree(tmp_path / "other")


def test_too_few_rows_are_refused(generator: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="100 or more"):
        generator.generate(tmp_path, rows=99)
