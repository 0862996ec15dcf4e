"""How well scores tell two classes apart: AUROC, precision, recall and F1, and the scores at the deciles.

    auroc([0.9, 0.2, 0.4], [True, False, True])              # 1.0

A score that is missing (NaN) is an error here: leave such rows out first, and say how many they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import RunError

Scores = Sequence[float] | npt.NDArray[np.float64]
Truth = Sequence[bool] | npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Precision:
    """What a threshold gives for the positive class; 0.0 where nothing is above it."""

    precision: float
    recall: float
    f1: float


def auroc(scores: Scores, positive: Truth) -> float:
    """The chance that a random positive scores above a random negative, a tie counting one half.

    Raises:
        RunError: one of the classes is empty, or a score is missing.
    """
    values, truth = _checked(scores, positive)
    _, which, sizes = np.unique(values, return_inverse=True, return_counts=True)
    rank = (np.cumsum(sizes) - (sizes - 1) / 2)[which]  # ties share the mean of their ranks, from 1
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


def _checked(scores: Scores, positive: Truth) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=np.bool_)
    if values.shape != truth.shape:
        raise RunError(f"{len(values)} scores for {len(truth)} labels; give one of each per row")
    if np.isnan(values).any():
        raise RunError(f"{int(np.isnan(values).sum())} scores are missing; leave those rows out first")
    if truth.all() or not truth.any():
        raise RunError("all rows are of one class; measuring needs some of both")
    return values, truth
