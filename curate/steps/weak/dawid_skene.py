"""One label from several weak labelers, each trusted as far as it agrees with the others.

    votes = np.array([[0, 0, 1], [1, 1, -1]])                 # rows x labelers, -1: no vote
    found = dawid_skene(votes, classes=2)
    found.labels, found.confidence, found.disagreement        # one a row
    found.accuracy                                            # one a labeler

The model of Dawid and Skene (1979): a labeler has a confusion matrix, and errs independently of the others given the
true class. The matrices and the classes of the rows are found in turn by EM, from the votes' shares on, so there is no
chance in it. Labelers that copy each other look more reliable than they are: leave all but one out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import ConfigError
from curate.models.stats import softmax

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NONE = -1


@dataclass(frozen=True)
class Combined:
    """What the labelers say together.

    Attributes:
        labels: the most likely class of each row, the lowest of equals; -1 where nobody voted.
        confidence: the chance of that class, 0 where nobody voted.
        posterior: the chance of each class, shape (rows, classes).
        disagreement: the entropy of the votes of each row in bits, 0 where all agree or nobody voted.
        prior: the share of each class.
        confusion: shape (labelers, true class, vote); each line adds up to 1.
        accuracy: of each labeler, estimated on the rows that it voted on; NaN without a vote.
    """

    labels: Ints
    confidence: Floats
    posterior: Floats
    disagreement: Floats
    prior: Floats
    confusion: Floats
    accuracy: Floats


def dawid_skene(
    votes: Ints,
    *,
    classes: int,
    confidence: Floats | None = None,
    smoothing: float = 1.0,
    tolerance: float = 1e-6,
    rounds: int = 200,
) -> Combined:
    """Labels, and how reliable each labeler is, by EM.

    Args:
        votes: shape (rows, labelers), 0 up to `classes`, -1 for no vote.
        classes: how many there are.
        confidence: of each vote, above 0 and at most 1; a vote then counts as that part of a vote, both as evidence
            for the row and in the labeler's matrix. 1 by default. Entries without a vote are not read.
        smoothing: votes added to each line of a labeler's matrix, half of them right and the rest spread over all
            classes; it keeps a labeler of few votes from being sure, and says that labelers are better than chance.
        tolerance: EM ends when no chance changes by more.
        rounds: of EM at most.

    Raises:
        ConfigError: shapes or values that are out of range.
    """
    given, weight = _checked(votes, classes, confidence, smoothing)
    rows, labelers = given.shape
    voted = given != NONE
    # A vote as a vector of the classes, so that counts and likelihoods are products of matrices.
    cast = [np.eye(classes)[np.maximum(given[:, j], 0)] * weight[:, j, None] for j in range(labelers)]
    added = smoothing * (0.5 * np.eye(classes) + 0.5 / classes)
    posterior = _shares(sum(cast, np.zeros((rows, classes))))
    some = voted.any(1)
    prior, confusion = np.full(classes, 1 / classes), np.zeros((labelers, classes, classes))
    for _ in range(rounds):
        prior = (posterior[some].sum(0) + smoothing / classes) / (some.sum() + smoothing)
        log = np.tile(np.log(prior), (rows, 1))
        for j in range(labelers):
            counts = posterior.T @ cast[j] + added
            confusion[j] = counts / counts.sum(1, keepdims=True)
            log += cast[j] @ np.log(confusion[j]).T
        chance = softmax(log)
        change = float(np.abs(chance - posterior).max(initial=0.0))
        posterior = chance
        if change < tolerance:
            break
    right = np.take_along_axis(posterior, np.maximum(given, 0), axis=1) * voted
    with np.errstate(invalid="ignore"):
        accuracy = right.sum(0) / voted.sum(0)
    labels, sure = np.where(some, posterior.argmax(1), NONE), np.where(some, posterior.max(1), 0.0)
    return Combined(labels, sure, posterior, disagreement(given, classes), prior, confusion, accuracy)


def majority_vote(votes: Ints, *, classes: int, confidence: Floats | None = None) -> Ints:
    """The class with the most votes (or the most confidence), the lowest of equals; -1 where nobody voted."""
    given, weight = _checked(votes, classes, confidence, 1.0)
    counts = _counts(given, weight, classes)
    return np.where(counts.any(1), counts.argmax(1), NONE)


def disagreement(votes: Ints, classes: int) -> Floats:
    """The entropy in bits of the votes of each row; 0 where nobody voted."""
    given = np.asarray(votes, dtype=np.int64)
    counts = _counts(given, (given != NONE).astype(np.float64), classes)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1.0)
    found: Floats = -(share * np.log2(np.where(share > 0, share, 1.0))).sum(1)
    return np.abs(found)  # no -0.0


def _counts(given: Ints, weight: Floats, classes: int) -> Floats:
    counts = np.zeros((len(given), classes))
    for j in range(given.shape[1]):
        counts[np.arange(len(given)), np.maximum(given[:, j], 0)] += weight[:, j]
    return counts


def _shares(counts: Floats) -> Floats:
    """Counts as shares; equal shares where there are none."""
    total = counts.sum(1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1.0), 1.0 / counts.shape[1])


def _checked(votes: Ints, classes: int, confidence: Floats | None, smoothing: float) -> tuple[Ints, Floats]:
    """The votes, and the weight of each, 0 where there is none."""
    given = np.asarray(votes, dtype=np.int64)
    if given.ndim != 2 or classes < 2 or given.min(initial=0) < NONE or given.max(initial=0) >= classes:
        raise ConfigError(
            f"dawid_skene: votes of shape {given.shape} for {classes} classes; expected (rows, labelers) of numbers"
            " from -1, no vote, up to the last class"
        )
    if not smoothing > 0:
        raise ConfigError(f"dawid_skene: smoothing {smoothing} must be above 0, or a labeler could be sure of all")
    voted = given != NONE
    if confidence is None:
        return given, voted.astype(np.float64)
    weight = np.asarray(confidence, dtype=np.float64)
    if weight.shape != given.shape or not ((weight > 0) & (weight <= 1))[voted].all():
        raise ConfigError("dawid_skene: every vote needs a confidence above 0 and at most 1")
    return given, np.where(voted, weight, 0.0)
