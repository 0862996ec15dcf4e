"""The selector `less`: the rows whose gradients point where those of the targets' examples do (Xia et al. 2024).

    picks:
      select:
        from: pool
        budget: 0.05
        less: {features: pool_gradients, targets: bbh, by: task, target_features: bbh_gradients}

A row's score for a task is the mean over the task's examples of the cosine of their gradients, summed over the
checkpoints by weight (arXiv 2402.04333, definition 3.1 and section 4.2). Cosines are linear in the examples' unit
vectors, so that a task costs one product a row, however many examples it has. Only the picks are compared with
every example, for the nearest one and for the errors of their scores (`curate.steps.select.noise`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pydantic import Field

from curate.core import files
from curate.core.digest import Plain
from curate.core.step import Job, Receipt
from curate.steps.select.filling import Filling
from curate.steps.select.nearness import OverExamples
from curate.steps.select.noise import Z, lead_errors, lengths, of_task, projection_error
from curate.steps.select.pool import Floats, Ints, Objects, Pool
from curate.steps.select.selector import Verdict
from curate.steps.select.store import Rows, Store
from curate.steps.select.targets import Examples, NearTargets
from curate.steps.select.turns import Over, take_over_tasks

# Rows of the store that one worker scores at a time.
_ROWS = 4096
# Projections whose noise is known; that of others depends on the gradients.
_KNOWN = ("sparse", "dense")


class Less(NearTargets):
    """The best rows for the targets by the cosines of gradients.

    Attributes:
        over_examples: a task's score is the `mean` over its examples (as published), or that of the nearest one.
        over_tasks: a row's score is that of its best task, `max` (as published), or the `mean`; or each task in its
            turn takes the best row that is left.
        bootstrap: how often the examples are resampled for the error bars.
        seed: of those draws.
    """

    over_examples: OverExamples = "mean"
    over_tasks: Over = "max"
    bootstrap: int = Field(100, ge=2)
    seed: int = Field(0, ge=0)

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Score every row of the store for every task, and take the best; then compare the picks with the examples."""
        store, at = self.vectors(job, pool)
        tasks = list(self.examples(job))
        names = [each.task.name for each in tasks]
        by_task = np.full((len(tasks), len(pool)), np.nan)
        by_task[:, at >= 0] = self._by_task(job, store, tasks)[at[at >= 0]].T
        scores, targets = take_over_tasks(by_task, names, self.over_tasks, pool, filling)
        if not filling.taken:
            return Verdict(scores, targets)
        taken = np.array(filling.taken)
        owners = np.array([names.index(str(name)) for name in targets[taken]])
        cosines = _products(job, "picks", store, np.concatenate([each.vectors for each in tasks]), at[taken])
        nearest: Objects = np.full(len(pool), None, dtype=object)
        for i, (task, part) in enumerate(zip(tasks, _split(cosines, tasks), strict=True)):
            nearest[taken[owners == i]] = task.task.ids[part[owners == i].argmax(axis=1)]
        details: dict[str, Plain] = {
            "tasks": {
                name: {"examples": len(each.task), "picks": int((owners == i).sum())}
                for i, (name, each) in enumerate(zip(names, tasks, strict=True))
            },
            **self._noise(job, store, tasks, cosines, owners, scores[taken]),
        }
        return Verdict(scores, targets, nearest, details)

    def _by_task(self, job: Job, store: Store, tasks: Sequence[Examples]) -> Floats:
        """The scores of every row of the store for every task, float64 (rows, tasks)."""
        everything = np.arange(len(store))
        if self.over_examples == "mean":
            return _products(job, "scores", store, _means(tasks), everything)
        found = _products(job, "scores", store, np.concatenate([each.vectors for each in tasks]), everything)
        return np.stack([of_task(part, "max") for part in _split(found, tasks)], axis=1)

    def _noise(
        self, job: Job, store: Store, tasks: Sequence[Examples], cosines: Floats, owners: Ints, scores: Floats
    ) -> dict[str, Plain]:
        """How many picks lead the cut by less than their error allows, and how large the errors are."""

        def total(by_task: Floats) -> Floats:
            if self.over_tasks == "mean":
                return cast(Floats, by_task.mean(axis=1))
            return cast(
                Floats, by_task.max(axis=1) if self.over_tasks == "max" else by_task[np.arange(len(owners)), owners]
            )

        cuts = _cuts(scores, owners if self.over_tasks == "round_robin" else np.zeros_like(owners))
        examples = lead_errors(
            cosines,
            [len(each.task) for each in tasks],
            self.over_examples,
            total,
            cuts,
            draws=self.bootstrap,
            seed=self.seed,
        )
        feature = job.inputs["features"].manifest.config.get("gradient")
        known = isinstance(feature, dict) and feature.get("projection") in _KNOWN
        reach = self._reach(tasks, owners, store.weights)
        projection = projection_error(scores, reach, store.layout.width) if known else np.zeros(len(scores))
        errors = np.sqrt(projection**2 + projection[cuts] ** 2 + examples**2)
        return {
            "error_projection": _median(projection) if known else None,
            "error_examples": _median(examples),
            "inside_noise": int((scores - scores[cuts] < Z * errors).sum()),
        }

    def _reach(self, tasks: Sequence[Examples], owners: Ints, weights: Floats) -> Floats:
        """The length of what every pick was compared with."""
        if self.over_examples == "max":
            return np.ones(len(owners))
        means = _means(tasks)
        if self.over_tasks == "mean":
            return np.repeat(lengths(means.mean(axis=0, keepdims=True), weights), len(owners))
        return lengths(means, weights)[owners]


def _means(tasks: Sequence[Examples]) -> Rows:
    """The mean of each task's unit vectors."""
    return np.stack([each.vectors.mean(axis=0, dtype=np.float64) for each in tasks]).astype(np.float32)


def _split(cosines: Floats, tasks: Sequence[Examples]) -> list[Floats]:
    """The cosines with the examples of each task."""
    return np.split(cosines, np.cumsum([len(each.task) for each in tasks])[:-1], axis=1)


def _cuts(scores: Floats, groups: Ints) -> Ints:
    """For every pick the one with the lowest score in its group."""
    cuts = np.zeros(len(scores), np.int64)
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        cuts[mine] = mine[scores[mine].argmin()]
    return cuts


def _median(errors: Floats) -> float:
    return round(float(np.median(errors)), 6)


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
    found = np.full((len(at), len(queries)), np.nan)
    for receipt in job.map(stage, functools.partial(_Multiply, store, path), tasks):
        # A failed stretch has no scores, so that none of its rows is taken.
        start = int(receipt.task) * _ROWS
        found[start : start + receipt.rows_in] = _load(f"{path}.{receipt.task}.npy")
    return found


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
