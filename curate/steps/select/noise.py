"""How far the scores of picks are to be trusted: the projection's noise, and that of the few examples of a task.

    errors = np.hypot(projection_error(scores, reach, width), lead_errors(...))
    inside = scores - scores[cuts] < Z * errors

A pick's *lead* is its score less that of the cut, the lowest score that was taken. Two things would change it.

The projection: the product of two vectors is off by a random amount of variance (|x|²|y|² + <x,y>²) / d, for signed
buckets less 2 Σ x²y² / d (Weinberger et al. 2009, arXiv 0902.2206). The store divides what was projected by its
length, which takes off the part of the error that both lengths share: the delta method gives (1 - c²)² / d for the
cosine c of two vectors, at most (1 - c²) / d, which is also what sign bits have. A task's score is one product with
the mean of its examples' unit vectors, of length L, not a mean of independent errors, as all share one projection:
(L² - c²) / d. Checkpoints share it too, so that their standard deviations add up; by Minkowski's inequality the sum
over checkpoints is at most sqrt((Σ w L)² - c²) / sqrt(d), c being the score. That bound is used.

The examples: they are resampled, with replacement, task by task (Efron 1979), and the lead's standard deviation over
the draws is its error. It is that of the lead, not of the score: a draw that raises every row's score alike changes
no pick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from curate.steps.select.nearness import OverExamples
from curate.steps.select.pool import Floats, Ints
from curate.steps.select.store import Rows

# A pick that leads by less than so many standard errors is inside the noise.
Z = 2.0


def lengths(queries: Rows, weights: Floats) -> Floats:
    """The L of some queries: the lengths of their vectors, summed over the checkpoints by weight.

    Args:
        queries: float32 (queries, checkpoints, width).
        weights: of the checkpoints.
    """
    found: Floats = np.sqrt(np.einsum("qcd,qcd->qc", queries, queries, dtype=np.float64)) @ weights
    return found


def projection_error(scores: Floats, reach: Floats | float, width: int) -> Floats:
    """The standard error of scores that a projection to `width` numbers leaves; `reach` is the L of their queries."""
    found: Floats = np.sqrt(np.maximum(np.square(reach) - np.square(scores), 0) / width)
    return found


def of_task(cosines: Floats, over: OverExamples, times: Ints | None = None) -> Floats:
    """Scores for a task: the mean or the largest of the cosines with its examples.

    Args:
        cosines: float64 (rows, examples).
        over: which of the two.
        times: how often each example counts; once by default.
    """
    if times is None:
        times = np.ones(cosines.shape[1], np.int64)
    found: Floats = cosines @ times / times.sum() if over == "mean" else cosines[:, times > 0].max(axis=1)
    return found


def lead_errors(
    cosines: Floats,
    sizes: Sequence[int],
    over: OverExamples,
    total: Callable[[Floats], Floats],
    cuts: Ints,
    *,
    draws: int,
    seed: int,
) -> Floats:
    """The standard error of every pick's lead over its cut, by resampling the examples of each task.

    Args:
        cosines: float64 (picks, examples), the examples of a task beside one another.
        sizes: how many examples each task has.
        over: how the examples' cosines become the score for a task.
        total: the picks' scores from those for the tasks, float64 (picks, tasks).
        cuts: for every pick, the pick that is its cut.
        draws: how many, at least 2.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    parts = np.split(cosines, np.cumsum(sizes)[:-1], axis=1)
    mean, squares = np.zeros(len(cosines)), np.zeros(len(cosines))
    for number in range(1, draws + 1):
        times = [np.bincount(random.integers(0, size, size), minlength=size) for size in sizes]
        scores = total(np.stack([of_task(part, over, each) for part, each in zip(parts, times, strict=True)], axis=1))
        leads = scores - scores[cuts]
        change = leads - mean
        mean += change / number
        squares += change * (leads - mean)
    found: Floats = np.sqrt(squares / (draws - 1))
    return found
