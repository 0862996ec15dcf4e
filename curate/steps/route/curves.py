"""What it costs and how good it is to use a small and a large model together, by each way of dividing the work.

    pairs = Pairs(small_quality, large_quality, small_cost, large_cost)      # one number a row each
    curves = [random_mix(pairs), oracle(pairs), router(pairs, chance), cascade(pairs, check)]
    costs_at_quality(curves, pairs, recovered=[0.5, 0.8, 0.9])

A `Curve` is what a policy reaches as its threshold moves. Which side of a threshold a row is on may be drawn at random,
so whatever lies on a straight line between two of its points is reached too: costs at equal quality are read off the
upper hull (as RouterBench does, Hu et al. 2024). The hull takes the best points of the rows at hand: judge a policy
against random scores treated the same way, and by the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import ConfigError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CLOSE = 1e-12


@dataclass(frozen=True)
class Pairs:
    """Both models' quality and cost for the same rows; a ConfigError if one is missing, or a cost below 0."""

    small_quality: Floats
    large_quality: Floats
    small_cost: Floats
    large_cost: Floats

    def __post_init__(self) -> None:
        arrays = (self.small_quality, self.large_quality, self.small_cost, self.large_cost)
        shapes = {each.shape for each in arrays}
        if len(shapes) != 1 or shapes == {(0,)} or not all(np.isfinite(each).all() for each in arrays):
            raise ConfigError(f"policies: expected a quality and a cost of both models for every row, not {shapes}")
        if min(self.small_cost.min(), self.large_cost.min()) < 0:
            raise ConfigError("policies: a cost is below 0; check the prices")

    def __len__(self) -> int:
        return len(self.small_quality)

    def take(self, rows: Ints) -> Pairs:
        """Those rows."""
        return Pairs(self.small_quality[rows], self.large_quality[rows], self.small_cost[rows], self.large_cost[rows])


@dataclass(frozen=True)
class Curve:
    """What a policy reaches: means over the rows, one entry a setting.

    Attributes:
        name: of the policy.
        cost: in the unit of the prices.
        quality: in that of the qualities.
        share: of the rows that go to the large model.
        low, high: the thresholds of the setting. A row that scores below `low` is dropped, one from `low` to below
            `high` goes to the large model, the others stay with the small one.
    """

    name: str
    cost: Floats
    quality: Floats
    share: Floats
    low: Floats
    high: Floats


def always_small(pairs: Pairs) -> Curve:
    """One point: the small model answers all."""
    return _point("always small", pairs.small_cost, pairs.small_quality, 0.0)


def always_large(pairs: Pairs) -> Curve:
    """One point: the large model answers all."""
    return _point("always large", pairs.large_cost, pairs.large_quality, 1.0)


def random_mix(pairs: Pairs) -> Curve:
    """What is expected when rows go to the large model at random: the straight line between the two."""
    one, two = always_small(pairs), always_large(pairs)
    cost, quality = np.append(one.cost, two.cost), np.append(one.quality, two.quality)
    return Curve("random mix", cost, quality, np.array([0.0, 1.0]), np.full(2, -np.inf), np.array([-np.inf, np.inf]))


def oracle(pairs: Pairs) -> Curve:
    """What no router can beat: the rows where the large model gains most for its cost go to it first.

    Rows where it loses most go last: the curve goes on to where all go.
    """
    gain = pairs.large_quality - pairs.small_quality
    extra = np.maximum(pairs.large_cost - pairs.small_cost, _CLOSE)
    return _swept("oracle", pairs, -gain / extra, pairs.small_cost, steps=None)


def router(pairs: Pairs, scores: Floats, *, name: str = "router", steps: int | None = 100) -> Curve:
    """The rows that score lowest go to the large model, the others to the small one.

    Args:
        pairs: the rows.
        scores: how likely the small model will do, from the prompt alone: its answer is not there yet.
        name: in the table.
        steps: about how many thresholds; None for every one.
    """
    return _swept(name, pairs, scores, pairs.small_cost, steps=steps)


def cascade(
    pairs: Pairs, scores: Floats, *, check_cost: float = 0.0, name: str = "cascade", steps: int | None = 100
) -> Curve:
    """The small model answers every row, a check scores the answers, and those that score lowest go to the large one.

    Every row pays for the small model and the check, so that sending all costs more than the large model alone.
    """
    return _swept(name, pairs, scores, None, steps=steps, every=check_cost)


def band(pairs: Pairs, scores: Floats, *, check_cost: float = 0.0, name: str = "band", steps: int = 20) -> Curve:
    """A cascade that also drops the rows that score lowest, as below the drop threshold: quality 0 and no large model.

    Every pair of about `steps` thresholds is a point. Dropping pays where qualities are of rows worth keeping: it
    never raises the mean quality of qualities that are 0 or more, but saves the most expensive attempts.
    """
    order, ends = _ends(pairs, scores, steps)
    ranked = np.append(scores[order], np.inf)
    small, large, price = (_sums(each[order]) for each in (pairs.small_quality, pairs.large_quality, pairs.large_cost))
    low, high = (each.ravel() for each in np.meshgrid(ends, ends, indexing="ij"))
    low, high = low[low <= high], high[low <= high]
    quality = (small[-1] - small[high] + large[high] - large[low]) / len(pairs)
    cost = float(pairs.small_cost.mean()) + check_cost + (price[high] - price[low]) / len(pairs)
    dropped = np.where(low > 0, ranked[low], -np.inf)
    return Curve(name, cost, quality, (high - low) / len(pairs), dropped, ranked[high])


def hull(curve: Curve) -> tuple[Floats, Floats]:
    """Cost and quality of the corners of the upper hull, from the cheapest point up to the best."""
    order = np.lexsort((-curve.quality, curve.cost))
    corners: list[tuple[float, float]] = []
    for x, y in zip(curve.cost[order].tolist(), curve.quality[order].tolist(), strict=True):
        if corners and y <= corners[-1][1]:
            continue
        while len(corners) > 1:
            (x1, y1), (x2, y2) = corners[-2:]
            if (y2 - y1) * (x - x1) > (y - y1) * (x2 - x1):
                break
            corners.pop()
        corners.append((x, y))
    found = np.array(corners)
    return found[:, 0], found[:, 1]


def cost_at_quality(curve: Curve, quality: float) -> float:
    """The least mean cost a row at which the policy reaches `quality`; NaN where it never does."""
    cost, reached = hull(curve)
    if quality > reached[-1] + _CLOSE:
        return float("nan")
    return float(np.interp(quality, reached, cost))


def apgr(curve: Curve, pairs: Pairs) -> float:
    """The average performance gap recovered (RouteLLM): 0.5 for a random mix, NaN without a gap or if rows are dropped.

    The area under the part of the gap that is recovered, over the share of rows that go to the large model; no hull is
    taken, so that luck does not count.
    """
    small, gap = float(pairs.small_quality.mean()), float((pairs.large_quality - pairs.small_quality).mean())
    if abs(gap) < _CLOSE or np.isfinite(curve.low).any():
        return float("nan")
    share = np.concatenate([[0.0], curve.share, [1.0]])
    recovered = np.concatenate([[0.0], (curve.quality - small) / gap, [1.0]])
    order = np.lexsort((recovered, share))
    return float(np.trapezoid(recovered[order], share[order]))


def target_quality(pairs: Pairs, recovered: float) -> float:
    """The mean quality at which that part of the gap between small and large is recovered."""
    small = float(pairs.small_quality.mean())
    return small + recovered * (float(pairs.large_quality.mean()) - small)


def costs_at_quality(
    curves: Sequence[Curve], pairs: Pairs, *, recovered: Sequence[float] = (0.5, 0.8, 0.9)
) -> list[list[str]]:
    """Cost at equal quality as a table: heads, then a row a policy, in percent of always using the large model.

    A dash is a quality that the policy never reaches. The last columns are its best quality and its APGR, which a
    policy of one setting, or one that drops rows, does not have.
    """
    whole = float(pairs.large_cost.mean())
    lines = [["policy", *(f"{part:.0%} of the gap" for part in recovered), "best quality", "APGR"]]
    for curve in curves:
        costs = [cost_at_quality(curve, target_quality(pairs, part)) / whole for part in recovered]
        area = apgr(curve, pairs) if len(curve.cost) > 1 else np.nan
        cells = ["-" if np.isnan(each) else f"{each:.1%}" for each in costs]
        lines.append([curve.name, *cells, f"{curve.quality.max():.4g}", "-" if np.isnan(area) else f"{area:.3f}"])
    return lines


def _point(name: str, cost: Floats, quality: Floats, share: float) -> Curve:
    high = np.array([np.inf if share else -np.inf])
    mean = np.array([cost.mean()]), np.array([quality.mean()])
    return Curve(name, *mean, np.array([share]), np.array([-np.inf]), high)


def _swept(
    name: str, pairs: Pairs, scores: Floats, spared: Floats | None, *, steps: int | None, every: float = 0.0
) -> Curve:
    """The curve of sending the lowest scores to the large model; `spared` is what a row that is sent does not pay."""
    order, ends = _ends(pairs, scores, steps)
    extra = pairs.large_cost if spared is None else pairs.large_cost - spared
    gain = pairs.large_quality - pairs.small_quality
    cost = float(pairs.small_cost.mean()) + every + _sums(extra[order])[ends] / len(pairs)
    quality = float(pairs.small_quality.mean()) + _sums(gain[order])[ends] / len(pairs)
    high = np.append(scores[order], np.inf)[ends]
    return Curve(name, cost, quality, ends / len(pairs), np.full(len(ends), -np.inf), high)


def _ends(pairs: Pairs, scores: Floats, steps: int | None) -> tuple[Ints, Ints]:
    """The order of the scores, and how many rows lie below each threshold: never between rows that score the same."""
    if scores.shape != (len(pairs),) or np.isnan(scores).any():
        raise ConfigError(f"policies: {scores.shape} scores for {len(pairs)} rows; give one a row, none missing")
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    ends = np.concatenate([[0], np.flatnonzero(np.diff(ranked) != 0) + 1, [len(pairs)]])
    if steps is not None and len(ends) > steps + 1:
        wanted = np.linspace(0, len(pairs), steps + 1)
        ends = ends[np.unique(np.searchsorted(ends, wanted, side="right") - 1)]
    return order, ends


def _sums(values: Floats) -> Floats:
    """The sum of the first 0, 1, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])
