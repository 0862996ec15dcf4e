"""What other bands of a cascade would have cost and given, and other ways to share the work between two models.

    pairs, curves = curves_of(seen)              # `seen` is what `curate.steps.route.replay.look` finds in a ledger
    costs_at_quality(curves, pairs)

An answer that cannot be read is wrong, and paid for. Where the small one cannot be read, a cascade asks the large
model, whatever its band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from curate.steps.route.crossfit import LEAST, Learnt, cross_fit, id_hashes
from curate.steps.route.curves import (
    Curve,
    Pairs,
    always_large,
    always_small,
    band,
    cascade,
    oracle,
    random_mix,
    router,
)
from curate.steps.route.model import hashed_features
from curate.steps.synthesize.answerers import Cascade, normalised
from curate.steps.verify.numeric import final_number

Quality = Literal["exact", "contains"]


@dataclass(frozen=True)
class Seen:
    """One question, and what all three gave.

    Attributes:
        id: of the row.
        prompt: the last turn.
        small, large: the quality of the answers, 0 or 1.
        score: what the check gives the small answer; below 0 where that cannot be read.
        small_cost, check_cost, large_cost: in USD, or in tokens without prices.
    """

    id: str
    prompt: str
    small: float
    large: float
    score: float
    small_cost: float
    check_cost: float
    large_cost: float


def is_right(answer: str, reference: str, quality: Quality) -> bool:
    """Whether an answer is the reference, or comes to the same number; or has it somewhere in it, with `contains`.

    >>> is_right("So it is 42.", "42", "exact"), is_right("Paris, of course.", "paris", "contains")
    (True, True)
    """
    if quality == "contains":
        return normalised(reference) in normalised(answer)
    if normalised(answer) == normalised(reference):
        return True
    number = final_number(reference)
    return number is not None and final_number(answer) == number


def curves_of(seen: Sequence[Seen]) -> tuple[Pairs, list[Curve]]:
    """What every policy reaches. The router is there if enough rows are, and enough are not, for the small model.

    It is learnt from what it is measured on, each row by the others' folds; good is a row where the large model is no
    better than the small one.
    """
    names = ("small", "large", "small_cost", "large_cost")
    pairs = Pairs(*(np.array([getattr(each, name) for each in seen], dtype=np.float64) for name in names))
    scores = np.array([each.score for each in seen])
    curves = [always_small(pairs), always_large(pairs), random_mix(pairs), oracle(pairs)]
    good = pairs.small_quality >= pairs.large_quality
    if min(good.sum(), (~good).sum()) >= LEAST:
        features = hashed_features([each.prompt for each in seen]).astype(np.float32)
        learnt = Learnt(features, good, id_hashes([each.id for each in seen]))
        curves.append(router(pairs, cross_fit(learnt, hashed=True, method="logistic")))
    read = np.flatnonzero(scores >= 0)
    if len(read):
        some, check = pairs.take(read), float(np.mean([seen[i].check_cost for i in read.tolist()]))
        found = [cascade(some, scores[read], check_cost=check)]
        found.append(band(some, scores[read], check_cost=check, name="cascade with drop"))
        curves += [_with_unread(each, pairs, scores < 0) for each in found]
    return pairs, curves


def _with_unread(curve: Curve, pairs: Pairs, unread: npt.NDArray[np.bool_]) -> Curve:
    """The curve of a cascade over the other rows, with those that it sends on as their small answer cannot be read."""
    part = 1 - float(unread.mean())
    cost = part * curve.cost + float(((pairs.small_cost + pairs.large_cost) * unread).mean())
    quality = part * curve.quality + float((pairs.large_quality * unread).mean())
    return replace(curve, cost=cost, quality=quality, share=part * curve.share + 1 - part)


def as_set(seen: Sequence[Seen], given: Cascade) -> tuple[float, float]:
    """Mean cost and quality of a row by the band that the step has."""
    cost = quality = 0.0
    for each in seen:
        kept = each.score >= given.keep
        sent = each.score < 0 or given.drop <= each.score < given.keep
        cost += each.small_cost + each.check_cost + (each.large_cost if sent else 0.0)
        quality += each.small if kept else each.large if sent else 0.0
    return cost / len(seen), quality / len(seen)
