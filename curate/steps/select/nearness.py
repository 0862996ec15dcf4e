"""The cosines of the pool's rows with the examples of the tasks, and for each task the rows' scores.

    nearness = Nearness(self.vectors(job, pool), list(self.examples(job)), pool)
    by_task, nearest = nearness.by_task("max")   # (tasks, rows of the pool)

All pairs are compared once: rows * examples * width multiplications. Memory: a number and an example for every row
and task, and a block of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from curate.steps.select.pool import Floats, Ints, Objects, Pool
from curate.steps.select.space_kernel import Numbers
from curate.steps.select.targets import Examples, Vectors

OverExamples = Literal["mean", "max"]
# Rows whose vectors are held at once.
_ROWS = 1024


class Nearness:
    """Cosines of the rows that may be taken with examples, task after task."""

    def __init__(self, vectors: Vectors, examples: Sequence[Examples], pool: Pool) -> None:
        self.names = [each.task.name for each in examples]
        self.ids: Objects = np.concatenate([each.task.ids for each in examples])
        self._queries = np.concatenate([each.vectors for each in examples])
        self._starts = np.cumsum([0, *(len(each.task) for each in examples)])
        self._store, self._at, self._pool = vectors.store, vectors.at, pool
        self._rows = np.full(len(vectors.store), -1, np.int64)
        there = np.flatnonzero(vectors.at >= 0)
        self._rows[vectors.at[there]] = there

    def cosines(self, examples: Ints) -> Iterator[tuple[Ints, Floats]]:
        """Blocks of rows of the pool that were open, and their cosines with some examples, (rows, examples)."""
        for where, found in self._store.score_blocks(self._queries[examples]):
            rows = self._rows[where]
            there = np.flatnonzero((rows >= 0) & self._pool.open[rows])
            if len(there):
                yield rows[there], found[there]

    def by_task(self, over: OverExamples) -> tuple[Floats, Numbers]:
        """For every task and row the mean or largest cosine, NaN where there is none, and the nearest example."""
        scores = np.full((len(self.names), len(self._pool)), np.nan)
        nearest = np.zeros((len(self.names), len(self._pool)), np.int32)
        for rows, found in self.cosines(np.arange(len(self._queries))):
            for task, (start, stop) in enumerate(zip(self._starts[:-1], self._starts[1:], strict=True)):
                mine = found[:, start:stop]
                scores[task, rows] = mine.mean(axis=1) if over == "mean" else mine.max(axis=1)
                nearest[task, rows] = start + mine.argmax(axis=1)
        return scores, nearest

    def between(self, rows: Sequence[int], examples: Sequence[int]) -> Floats:
        """The cosine of each row of the pool with one example."""
        found = np.empty(len(rows))
        for at in range(0, len(rows), _ROWS):
            some = slice(at, at + _ROWS)
            vectors = self._store.take(self._at[np.asarray(rows[some], dtype=np.int64)])
            products = np.einsum("ncd,ncd->nc", vectors, self._queries[np.asarray(examples[some])], dtype=np.float64)
            found[some] = products @ self._store.weights
        return found

    def named(self, targets: Objects, nearest: Numbers) -> Objects:
        """The id of the example of its target that is nearest to each row, None where it has no target."""
        found: Objects = np.full(len(targets), None, dtype=object)
        for task, name in enumerate(self.names):
            mine = targets == name
            found[mine] = self.ids[nearest[task, mine]]
        return found
