"""The selector `less`: the rows whose gradients point where those of the targets' examples do (Xia et al. 2024).

    picks:
      select:
        from: pool
        budget: 0.05
        less: {features: pool_gradients, targets: bbh, by: task, target_features: bbh_gradients}

A row's score for a task is the mean over the task's examples of the cosine of their gradients, summed over the
checkpoints by weight (arXiv 2402.04333, definition 3.1 and section 4.2). Cosines are linear in the examples' unit
vectors, so that a task costs one product a row, however many examples it has. Only the picks are compared with
every example, for the nearest one and for the errors of their scores (`curate.select.noise`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pydantic import Field

from curate import files
from curate.digest import Plain
from curate.select.filling import Filling
from curate.select.noise import Over, Z, lead_errors, lengths, of_task, projection_error
from curate.select.pool import Floats, Ints, Objects, Pool
from curate.select.selector import Verdict, best_first
from curate.select.store import Rows, Store
from curate.select.targets import Examples, NearTargets
from curate.select.turns import Over as OverTasks
from curate.select.turns import take_in_turns
from curate.step import Job, Receipt

# Rows of the store that one worker scores at a time.
_ROWS = 4096


class Less(NearTargets):
    """The best rows for the targets by the cosines of gradients.

    Attributes:
        over_examples: a task's score is the mean over its examples (as published), or that of the nearest one.
        over_tasks: a row's score is that of its best task (as published), or the mean over tasks; or the tasks take
            rows in turns, each the best that is left.
        bootstrap: how often the examples are drawn anew for the error bars.
        seed: of those draws.
    """

    over_examples: Over = "mean"
    over_tasks: OverTasks = "max"
    bootstrap: int = Field(100, ge=2)
    seed: int = Field(0, ge=0)

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Score every row of the store for every task; the best are taken, or the tasks take in turns."""
        store, at = self.vectors(job, pool)
        tasks = list(self.examples(job))
        scores = np.full((len(pool), len(tasks)), np.nan)
        scores[at >= 0] = self._by_task(job, store, tasks)[at[at >= 0]]
        # The task that a row serves best; -1 where it has no score.
        best = np.where(at >= 0, scores.argmax(axis=1), -1)
        if self.over_tasks == "round_robin":
            owners = take_in_turns([best_first(column, pool, pool.open) for column in scores.T], filling)
            best[filling.taken] = owners
        else:
            filling.take_in_order(best_first(self._total(scores, best), pool, pool.open))
        totals = self._total(scores, best)
        if not filling.taken:
            return Verdict(totals)
        taken = np.array(filling.taken, np.int64)
        cosines = _products(job, "picks", store, np.concatenate([each.vectors for each in tasks]), at[taken])
        return Verdict(
            totals,
            np.array([None if task < 0 else tasks[task].task.name for task in best], dtype=object),
            _nearest(tasks, cosines, best, taken),
            {
                "tasks": {
                    each.task.name: {"examples": len(each.task), "picks": int((best[taken] == i).sum())}
                    for i, each in enumerate(tasks)
                },
                **self._noise(store, tasks, cosines, best[taken], totals[taken]),
            },
        )

    def _by_task(self, job: Job, store: Store, tasks: Sequence[Examples]) -> Floats:
        """The scores of every row of the store for every task, float64 (rows, tasks)."""
        everything = np.arange(len(store))
        if self.over_examples == "mean":
            return _products(job, "scores", store, _means(tasks), everything)
        found = _products(job, "scores", store, np.concatenate([each.vectors for each in tasks]), everything)
        return np.stack([of_task(each, "max") for each in _split(found, tasks)], axis=1)

    def _total(self, scores: Floats, best: Ints) -> Floats:
        """The scores of rows from those for the tasks, float64 (rows, tasks)."""
        if self.over_tasks == "mean":
            return cast(Floats, scores.mean(axis=1))
        return cast(Floats, scores.max(axis=1) if self.over_tasks == "max" else scores[np.arange(len(scores)), best])

    def _noise(
        self, store: Store, tasks: Sequence[Examples], cosines: Floats, best: Ints, scores: Floats
    ) -> dict[str, Plain]:
        """How many picks lead the cut by less than their error allows, and how large the errors are."""
        cuts = _cuts(scores, best if self.over_tasks == "round_robin" else np.zeros_like(best))
        projection = projection_error(scores, self._reach(tasks, best, store.weights), store.layout.width)
        examples = lead_errors(
            cosines,
            [len(each.task) for each in tasks],
            self.over_examples,
            lambda drawn: self._total(drawn, best),
            cuts,
            draws=self.bootstrap,
            seed=self.seed,
        )
        errors = np.sqrt(projection**2 + projection[cuts] ** 2 + examples**2)
        return {
            "cut": _told(scores.min()),
            "error_projection": _told(np.median(projection)),
            "error_examples": _told(np.median(examples)),
            "inside_noise": int((scores - scores[cuts] < Z * errors).sum()),
        }

    def _reach(self, tasks: Sequence[Examples], best: Ints, weights: Floats) -> Floats:
        """The length of what every pick was compared with."""
        if self.over_examples == "max":
            return np.ones(len(best))
        means = _means(tasks)
        if self.over_tasks == "mean":
            return np.repeat(lengths(means.mean(axis=0, keepdims=True), weights), len(best))
        return lengths(means, weights)[best]


def _means(tasks: Sequence[Examples]) -> Rows:
    """The mean of each task's unit vectors."""
    return np.stack([each.vectors.mean(axis=0, dtype=np.float64) for each in tasks]).astype(np.float32)


def _split(cosines: Floats, tasks: Sequence[Examples]) -> list[Floats]:
    """The cosines with the examples of each task."""
    return np.split(cosines, np.cumsum([len(each.task) for each in tasks])[:-1], axis=1)


def _nearest(tasks: Sequence[Examples], cosines: Floats, best: Ints, taken: Ints) -> Objects:
    """The example of its task that is nearest to each pick; None for other rows."""
    found: Objects = np.full(len(best), None, dtype=object)
    for i, part in enumerate(_split(cosines, tasks)):
        mine = best[taken] == i
        found[taken[mine]] = tasks[i].task.ids[part[mine].argmax(axis=1)]
    return found


def _cuts(scores: Floats, groups: Ints) -> Ints:
    """For every pick the one with the lowest score in its group."""
    cuts = np.zeros(len(scores), np.int64)
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        cuts[mine] = mine[scores[mine].argmin()]
    return cuts


def _told(value: float) -> float:
    return round(float(value), 6)


@dataclass(frozen=True)
class _Task:
    """Some rows of the store."""

    name: str
    rows: int
    at: Ints


def _products(job: Job, stage: str, store: Store, queries: Rows, at: Ints) -> Floats:
    """The products of some rows of the store with every query, float64 (rows, queries), shared among the workers."""
    path = files.join(job.scratch, f"{stage}.npy")
    _save(path, queries)
    cut = [at[start : start + _ROWS] for start in range(0, len(at), _ROWS)]
    tasks = [_Task(f"{i:06d}", len(some), some) for i, some in enumerate(cut)]
    receipts = job.map(stage, functools.partial(_Multiply, store, path), tasks)
    return np.concatenate([np.zeros((0, len(queries))), *(_load(f"{path}.{each.task}.npy") for each in receipts)])


def _save(path: str, array: npt.NDArray[np.generic]) -> None:
    with files.atomic_output(path) as out:
        np.save(out, array, allow_pickle=False)


def _load(path: str) -> npt.NDArray[Any]:
    with files.open_input(path) as stream:
        return np.load(stream, allow_pickle=False)  # type: ignore[no-any-return]


class _Multiply:
    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path
        self._queries: Rows = _load(path)

    def __call__(self, task: _Task) -> Receipt:
        _save(f"{self._path}.{task.name}.npy", self._store.scores(self._queries, task.at))
        return Receipt(task.name, task.rows)
