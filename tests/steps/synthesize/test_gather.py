"""Columns of made rows, back beside their parents."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.steps.synthesize.gather_step import GatherConfig, run
from tests.helpers import dataset, rows, run_step

IDS = pa.list_(pa.string())


def gathered(tmp_path: Path, columns: list[str]) -> Dataset:
    prompts = dataset(tmp_path / "prompts", {"id": ["a", "b"], "text": ["A?", "B?"]}, {"id": ["c"], "text": ["C?"]})
    made = dataset(
        tmp_path / "made",
        pa.table({"id": ["m1", "m2", "m3"], "parents": pa.array([["c", "x"], ["a"], ["a"]], IDS)}),
    )
    rated = dataset(tmp_path / "rated", {"id": ["m1", "m2", "m3"], "score": [5, None, 2], "said": ["x", "y", "z"]})
    config = GatherConfig.model_validate({"from": "prompts", "rows": ["made", "rated"], "columns": columns})
    inputs = {"from": prompts, "rows[0]": made, "rows[1]": rated}
    return run_step(tmp_path / "runs", lambda job: run(job, config), inputs)


def test_a_score_of_a_made_row_comes_to_its_first_parent(tmp_path: Path) -> None:
    out = gathered(tmp_path, ["score"])
    assert rows(out) == [{"id": "a", "score": 2}, {"id": "b", "score": None}, {"id": "c", "score": 5}]


def test_the_first_made_row_with_a_value_counts_for_each_column(tmp_path: Path) -> None:
    assert rows(gathered(tmp_path, ["said", "score"]))[0] == {"id": "a", "said": "y", "score": 2}


def test_a_column_that_is_nowhere_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"columns\[0\]: no such column; did you mean 'score'\?"):
        gathered(tmp_path, ["scores"])
