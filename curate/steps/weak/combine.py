"""The votes of weak labelers put together: one label a row, and how reliable each labeler is thought to be.

votes, confidence = np.array([[0, 0, 1], [1, 1, -1]]), np.full((2, 3), np.nan)     # rows x labelers
combined = combine(votes, confidence, ["no", "yes"], ["a", "b", "c"], "dawid_skene", weigh=False)
combined.labels                                                                     # [0, 1]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from curate.core.digest import Plain
from curate.core.errors import ConfigError
from curate.steps.weak.dawid_skene import NONE, dawid_skene, disagreement, majority_vote

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Method = Literal["dawid_skene", "majority"]

DECIMALS = 6  # what does not depend on how a machine adds up


@dataclass(frozen=True)
class Combination:
    """What the labelers say together.

    Attributes:
        labels: one a row, -1 where nobody voted.
        confidence: the chance of the label; by majority its part of the votes.
        disagreement: entropy of the votes in bits.
        accuracy: of each labeler, estimated; by majority how often it agrees with the label. NaN without a vote.
        confusion: of each labeler, shape (labelers, true label, vote); None by majority.
    """

    labels: Ints
    confidence: Floats
    disagreement: Floats
    accuracy: Floats
    confusion: Floats | None

    def part(self, start: int, end: int) -> Combination:
        """The same of some rows."""
        rows = slice(start, end)
        labels, confidence, apart = self.labels[rows], self.confidence[rows], self.disagreement[rows]
        return Combination(labels, confidence, apart, self.accuracy, self.confusion)


def combine(
    votes: Ints, confidence: Floats, labels: Sequence[str], labelers: Sequence[str], method: Method, *, weigh: bool
) -> Combination:
    """One label a row.

    Args:
        votes: shape (rows, labelers), numbers of labels, -1 for no vote; with `weigh` those whose confidence is 0
            become -1 in place.
        confidence: of each vote, NaN for one that has none.
        labels: their names.
        labelers: their names.
        method: how.
        weigh: whether a vote counts for its confidence; in full where it has none.

    Raises:
        ConfigError: a confidence that is to weigh is not from 0 to 1.
    """
    weights = None
    if weigh:
        weights = np.where(np.isnan(confidence), 1.0, confidence)
        wrong = np.argwhere((votes != NONE) & ~((weights >= 0) & (weights <= 1)))
        if len(wrong):
            value, name = weights[tuple(wrong[0])], labelers[wrong[0][1]]
            raise ConfigError(
                f"labeler {name!r}: a confidence of {value:g} is not from 0 to 1, so it cannot weigh;"
                " name another column, or leave `weigh` out"
            )
        votes[weights == 0] = NONE
    classes = len(labels)
    if method == "dawid_skene":
        found = dawid_skene(votes, classes=classes, confidence=weights)
        return Combination(found.labels, found.confidence, found.disagreement, found.accuracy, found.confusion)
    chosen = majority_vote(votes, classes=classes, confidence=weights)
    voted = votes != NONE
    weight = np.where(voted, 1.0 if weights is None else weights, 0.0)
    agree = (votes == chosen[:, None]) & voted
    with np.errstate(invalid="ignore"):
        share = np.nan_to_num((weight * agree).sum(1) / weight.sum(1))
        accuracy = agree.sum(0) / voted.sum(0)
    return Combination(chosen, share, disagreement(votes, classes), accuracy, None)


def details(
    votes: Ints, combined: Combination, labels: Sequence[str], labelers: Sequence[str], unknown: Mapping[str, int]
) -> dict[str, Plain]:
    """Figures for a manifest: how reliable each labeler is thought to be, and how many rows got which label.

    Args:
        votes: as `combine` left them.
        combined: what `combine` made of them.
        labels: their names.
        labelers: their names.
        unknown: how often each labeler said what is no label.
    """
    figures: dict[str, Plain] = {}
    for j, name in enumerate(labelers):
        cast = int((votes[:, j] != NONE).sum())
        each: dict[str, Plain] = {"votes": cast, "unknown": unknown[name]}
        each["accuracy"] = round(float(combined.accuracy[j]), DECIMALS) if cast else None
        if combined.confusion is not None:
            # For each true label the chance of each vote.
            each["confusion"] = {
                true: {vote: round(float(chance), DECIMALS) for vote, chance in zip(labels, line, strict=True)}
                for true, line in zip(labels, combined.confusion[j], strict=True)
            }
        figures[name] = each
    counts: dict[str, Plain] = {name: int((combined.labels == i).sum()) for i, name in enumerate(labels)}
    return {
        "labelers": figures,
        "labels": counts,
        "no_vote": int((combined.labels == NONE).sum()),
        "disagreed": int((combined.disagreement > 0).sum()),
    }
