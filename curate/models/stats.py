"""Statistics that models and steps share: how well scores tell two classes apart, intervals, and softmax.

    auroc([0.9, 0.2, 0.4], [True, False, True])              # 1.0
    clopper_pearson_lower(29, 29, 0.05)                      # 0.9018...
    bootstrap(lambda rows: values[rows].mean(), len(values)) # Interval(value=0.71, low=0.68, high=0.74)
    softmax(logits)                                          # probabilities, of the same shape

A score that is missing (NaN) is an error here: leave such rows out first, and say how many they were.
scipy is imported where it is used, as it takes a third of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import ConfigError, RunError

Floats = npt.NDArray[np.float64]
Scores = Sequence[float] | Floats
Truth = Sequence[bool] | npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Precision:
    """What a threshold gives for the positive class; 0.0 where nothing is above it."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Interval:
    """A number, and the middle 95% of what it is when the rows are drawn again with replacement."""

    value: float
    low: float
    high: float


def auroc(scores: Scores, positive: Truth) -> float:
    """The chance that a random positive scores above a random negative, a tie counting one half.

    Raises:
        RunError: one of the classes is empty, or a score is missing.
    """
    values, truth = _checked(scores, positive)
    rank = ranks(values)
    ones = int(truth.sum())
    zeros = len(truth) - ones
    return float((rank[truth].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def at_threshold(scores: Scores, positive: Truth, threshold: float = 0.5) -> Precision:
    """Precision, recall and F1 when everything that scores at least `threshold` is called positive.

    Raises:
        RunError: one of the classes is empty, or a score is missing.
    """
    values, truth = _checked(scores, positive)
    called = values >= threshold
    right = float(np.sum(called & truth))
    precision = right / float(called.sum()) if called.any() else 0.0
    recall = right / float(truth.sum())
    return Precision(precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0)


def deciles(scores: Scores) -> list[float]:
    """The scores below which 10%, 20%, ... 90% lie, between neighbours by straight line.

    Raises:
        RunError: there are no scores.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        raise RunError("there are no scores to take deciles of; check the input of the training step")
    return [float(q) for q in np.quantile(values, np.arange(1, 10) / 10)]


def ranks(values: Floats) -> Floats:
    """Ranks from 1, of the same shape (rows,); equal values share the mean of theirs."""
    from scipy.stats import rankdata

    shared: Floats = rankdata(values)
    return shared


def softmax(logits: Floats) -> Floats:
    """The probabilities of the last axis, of the same shape; NaN where a logit of theirs is."""
    from scipy import special

    chance: Floats = special.softmax(logits, axis=-1)
    return chance


def bootstrap(measure: Callable[..., float], *sizes: int, seed: int = 0, draws: int = 200) -> Interval:
    """The percentile interval of a measure (Efron 1979); a draw for which it is NaN counts for nothing.

    Args:
        measure: takes an array of drawn places, int64 (size,), for each of `sizes`.
        sizes: how many rows there are, and how many of whatever else is drawn independently of them.
        seed: of the draws.
        draws: how many.
    """
    rng = np.random.default_rng(seed)
    found = np.array([measure(*(rng.integers(0, size, size) for size in sizes)) for _ in range(draws)])
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, [0.025, 0.975]) if len(found) else (np.nan, np.nan)
    return Interval(measure(*map(np.arange, sizes)), float(low), float(high))


def binomial_tail(successes: int, trials: int, rate: float) -> float:
    """The chance of at least so many successes: the regularised incomplete beta function I_rate(k, n - k + 1).

    Args:
        successes: k; any number.
        trials: n, 0 or more.
        rate: the chance of each success, from 0 to 1.
    """
    from scipy import special

    if successes <= 0:
        return 1.0
    return float(special.betainc(successes, trials - successes + 1, rate)) if successes <= trials else 0.0


def clopper_pearson_lower(successes: int, trials: int, delta: float) -> float:
    """The lower bound of a binomial rate that is above it with probability at most `delta` (one-sided).

    0 without a success, so also without a trial. Clopper and Pearson 1934.

    Raises:
        ConfigError: more successes than trials, or `delta` is not between 0 and 1.
    """
    from scipy import special

    if not 0 <= successes <= trials or not 0 < delta < 1:
        raise ConfigError(f"clopper_pearson_lower: {successes} of {trials} at delta {delta} makes no sense; check them")
    return float(special.betaincinv(successes, trials - successes + 1, delta)) if successes else 0.0


def _checked(scores: Scores, positive: Truth) -> tuple[Floats, npt.NDArray[np.bool_]]:
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=np.bool_)
    if values.shape != truth.shape:
        raise RunError(f"{len(values)} scores for {len(truth)} labels; give one of each per row")
    if np.isnan(values).any():
        raise RunError(f"{int(np.isnan(values).sum())} scores are missing; leave those rows out first")
    if truth.all() or not truth.any():
        raise RunError("all rows are of one class; measuring needs some of both")
    return values, truth
