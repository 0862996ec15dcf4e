"""The selector `rds` (RDS+): every example of the targets takes the row that is nearest to it, in turn.

    picks:
      select:
        from: pool
        budget: 10000
        rds: {features: vectors, targets: gsm8k, target_features: gsm8k_vectors}

Ivison et al. 2025 (arXiv 2503.01807). With one task its examples take turns, each taking its nearest row that was
not taken yet: a row that is already taken does not use up a turn. With several tasks the score of a row for a task
is its largest cosine to the task's examples, and the tasks take turns. The score of a row is its cosine to the
nearest example, that of a pick to the example (or the nearest one of the task) in whose turn it was taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.core.step import Job
from curate.steps.select.filling import Filling
from curate.steps.select.nearness import Nearness
from curate.steps.select.pool import Floats, Ints, Pool
from curate.steps.select.selector import Verdict
from curate.steps.select.space_kernel import keep_best
from curate.steps.select.targets import NearTargets
from curate.steps.select.turns import take_in_turns, take_over_tasks

# Rows of an example's first list beyond its share of the budget, how much longer each next list is, and the
# bytes that all lists may take.
_BEYOND, _LONGER, _BYTES = 256, 4, 1 << 28


class Rds(NearTargets):
    """Round-robin over examples, or over tasks."""

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Compare every row with every example, and let them take turns."""
        examples = list(self.examples(job))
        nearness = Nearness(self.vectors(job, pool), examples, pool)
        if len(examples) > 1:
            by_task, nearest = nearness.by_task("max")
            scores, targets = take_over_tasks(by_task, nearness.names, "round_robin", pool, filling)
            return Verdict(scores, targets, nearness.named(targets, nearest))
        lists = _Lists(nearness, pool, filling)
        owners = take_in_turns([lists.order(example) for example in range(len(nearness.ids))], filling)
        lists.nearest[filling.taken] = owners
        lists.scores[filling.taken] = nearness.between(filling.taken, owners)
        targets = np.full(len(pool), None, dtype=object)
        targets[np.isfinite(lists.scores)] = nearness.names[0]
        return Verdict(lists.scores, targets, nearness.named(targets, lists.nearest[None]))


class _Lists:
    """For every example its nearest rows that may still be taken, some at a time.

    Attributes:
        scores: the largest cosine of every row of the pool to an example, NaN where it has none.
        nearest: that example.
    """

    def __init__(self, nearness: Nearness, pool: Pool, filling: Filling) -> None:
        self._nearness, self._pool, self._filling = nearness, pool, filling
        self.scores: Floats = np.full(len(pool), np.nan)
        self.nearest = np.zeros(len(pool), np.int32)
        count = len(nearness.ids)
        self._longest = max(1, min(filling.expected, _BYTES // (8 * count)))
        self._length = min(self._longest, -(-filling.expected // count) + _BEYOND)
        self._by_place = np.argsort(pool.order)
        self._lists: list[Ints] = [np.zeros(0, np.int64) for _ in range(count)]
        self._at, self._whole = np.zeros(count, np.int64), np.zeros(count, np.bool_)
        self._fill(np.arange(count))

    def order(self, example: int) -> Iterator[int]:
        """The rows by their nearness to an example, ties by id, without those that were taken long ago."""
        while True:
            while self._at[example] < len(self._lists[example]):
                self._at[example] += 1
                yield int(self._lists[example][self._at[example] - 1])
            if self._whole[example]:
                return
            # Those that will soon have none are served with it, as every time all rows are read.
            left = np.array([len(each) for each in self._lists]) - self._at
            soon = ~self._whole & (left <= self._length // 2)
            self._length = min(self._longest, self._length * _LONGER)
            self._fill(np.flatnonzero(soon))

    def _fill(self, examples: Ints) -> None:
        held = np.full((len(examples), self._length), -np.inf, np.float32)
        holders = np.full(held.shape, np.iinfo(np.int32).max, np.int32)
        places = self._pool.order.astype(np.int32)
        ready = self._filling.open
        for rows, cosines in self._nearness.cosines(examples):
            if len(examples) == len(self._lists):
                self.scores[rows] = cosines.max(axis=1)
                self.nearest[rows] = cosines.argmax(axis=1)
            among = np.flatnonzero(ready[rows])
            keep_best(np.ascontiguousarray(cosines[among].T), places[rows[among]], held, holders)
        for i, example in enumerate(examples.tolist()):
            there = int(np.isfinite(held[i]).sum())
            best = np.lexsort((holders[i], -held[i]))[:there]
            self._lists[example] = self._by_place[holders[i][best]]
            self._at[example], self._whole[example] = 0, there < self._length
