"""The `select` step: budgets, quotas, and a reason for every row that is not taken."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.dataset import Dataset
from curate.engine import Resources
from curate.engine.local import LocalEngine
from curate.errors import ConfigError
from curate.progress import Progress
from curate.select.step import VERSION, parse, run
from curate.step import Step, execute
from tests.select.pools import dolly, pool


def selected(tmp_path: Path, inputs: dict[str, Dataset], **config: object) -> Dataset:
    """The output of a `select` step."""
    parsed = parse({"from": [name for name in inputs if name != "extra"], **config}, ("steps", "picks", "select"))
    roles = {role: inputs[name] for role, name in parsed.inputs().items()}
    step = Step("picks", "select", VERSION, parsed.identity(), roles, {}, lambda job: run(job, parsed))
    return execute(step, str(tmp_path / "run"), LocalEngine(), Resources(), Progress())


def rows(data: Dataset) -> list[dict[str, object]]:
    return pa.concat_tables(pa.Table.from_batches(list(data.read(shard))) for shard in data.shards).to_pylist()


def test_a_random_tenth_is_taken_and_every_other_row_has_a_reason(shared: Path, tmp_path: Path) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 200), shards=3)
    found = rows(selected(tmp_path, {"pool": docs}, budget=0.1, random={"seed": 1}))
    taken = [row for row in found if row["keep"]]
    assert sorted(row["rank"] for row in taken) == list(range(1, 21))
    assert {row["reason"] for row in found if not row["keep"]} == {"not selected"}


def test_a_budget_above_the_pool_is_refused(shared: Path, tmp_path: Path) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 20))
    with pytest.raises(ConfigError, match="only 20 may be taken"):
        selected(tmp_path, {"pool": docs}, budget=21, random={})
