"""What a `select` step took, and what the report compares it with: as many rows by chance, and the longest ones.

pick = Pick.of("picks", dataset, pool)
pick.rows                        # rows of the pool, best first
by_chance(ids, pick.open, len(pick.rows))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.draw import gumbel
from curate.steps.dedup.minhash import Ints

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

# Why a row that might have been taken was not: the budget was full, or the quota of its group.
LEFT = ("not selected", "over quota")
NEXT = 3  # rows that are shown of those with the highest scores that were not taken
_TAKEN = ("rank", "score", "target", "nearest")
_COLUMNS = ("keep", "reason", *_TAKEN)
_SEED = 0  # of what is drawn for comparison


@dataclass(frozen=True)
class Pick:
    """The rows that a `select` step took of its pool.

    Attributes:
        name: of the step.
        dataset: its output.
        pool: the conversations it chose from.
        rows: of the pool, by rank.
        scores: of those rows, NaN where there is none.
        targets: the task that each serves best, None without targets.
        nearest: the id of the target's example nearest to each, likewise.
        open: which rows of the pool might have been taken.
        next: the rows with the highest scores that were not taken, with their scores.
    """

    name: str
    dataset: Dataset
    pool: Dataset
    rows: Ints
    scores: Floats
    targets: Sequence[str | None]
    nearest: Sequence[str | None]
    open: Bools
    next: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, name: str, dataset: Dataset, pool: Dataset) -> Pick:
        """Read the verdicts; of the rows that were not taken no more than a flag is kept."""
        starts = shard_starts(pool)
        free = np.ones(pool.rows, np.bool_)
        tables: list[pa.Table] = []
        best: list[tuple[float, int]] = []
        for shard in dataset.shards:
            start = starts[shard.name]
            for batch in dataset.read(shard, _COLUMNS):
                rows = np.arange(start, start + batch.num_rows)
                start += batch.num_rows
                keep, left = batch.column("keep"), pc.is_in(batch.column("reason"), value_set=pa.array(LEFT))
                passed = _bools(left)
                free[rows[~_bools(keep) & ~passed]] = False
                best = _highest(best, rows[passed], _floats(batch.column("score"))[passed])
                tables.append(pa.table({"row": rows, **{each: batch.column(each) for each in _TAKEN}}).filter(keep))
        table = pa.concat_tables(tables).sort_by("rank")
        return cls(
            name,
            dataset,
            pool,
            table.column("row").to_numpy(),
            _floats(table.column("score")),
            table.column("target").to_pylist(),
            table.column("nearest").to_pylist(),
            free,
            tuple((row, -score) for score, row in best),
        )

    @property
    def method(self) -> str:
        """The name of its selector."""
        return str(self.dataset.manifest.details["selector"])

    @property
    def arguments(self) -> dict[str, Plain]:
        """The selector's arguments."""
        found = self.dataset.manifest.config[self.method]
        return found if isinstance(found, dict) else {}

    @property
    def examples(self) -> list[str]:
        """The digests of the target datasets."""
        inputs = self.dataset.manifest.inputs
        return [inputs[role] for role in sorted(inputs) if role.split("[")[0] == "targets"]


def _bools(column: pa.Array) -> Bools:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _floats(column: pa.Array | pa.ChunkedArray) -> Floats:
    return np.asarray(pc.fill_null(column, np.nan).to_numpy(zero_copy_only=False), dtype=np.float64)


def shard_starts(pool: Dataset) -> dict[str, int]:
    """The row of the pool with which each shard begins."""
    ends = np.cumsum([0, *(shard.rows for shard in pool.shards)]).tolist()
    return {shard.name: start for shard, start in zip(pool.shards, ends, strict=False)}


def _highest(best: list[tuple[float, int]], rows: Ints, scores: Floats) -> list[tuple[float, int]]:
    """The best of those known and of a batch, as (-score, row)."""
    finite = np.flatnonzero(np.isfinite(scores))
    some = finite[np.argsort(-scores[finite], kind="stable")[:NEXT]]
    return sorted([*best, *((-float(scores[i]), int(rows[i])) for i in some)])[:NEXT]


def by_chance(ids: pa.Array, among: Bools, count: int) -> Ints:
    """So many rows, drawn by their ids alone."""
    rows = np.flatnonzero(among)
    keys = gumbel(ids.take(pa.array(rows)).to_pylist(), _SEED)
    return rows[np.argsort(-keys, kind="stable")[:count]]


def longest(ids: pa.Array, answers: Floats, among: Bools, count: int) -> Ints:
    """The rows with the longest answers, ties by id."""
    rows = np.flatnonzero(among)
    table = pa.table({"length": -answers[rows], "id": ids.take(pa.array(rows))})
    order = pc.select_k_unstable(table, count, [("length", "ascending"), ("id", "ascending")])
    found: Ints = rows[order.to_numpy()]
    return found
