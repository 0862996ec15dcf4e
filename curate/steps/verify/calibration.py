"""Thresholds with a guarantee: "precision at least 0.9 with probability 0.95", from a labelled uniform sample.

    tried = candidates(scores, labels=400, target=0.9, delta=0.05)      # scores of all rows, no label seen
    found = calibrate(scores[sample], correct[sample], target=0.9, delta=0.05, candidates=tried)
    kept = scores >= found.threshold if found else np.zeros(len(scores), bool)

How it holds. The thresholds and their order are fixed before a label is seen, from the scores of all rows. Of the
rows that score at least t, those in the sample are a uniform sample, so given how many they are, the correct ones
among them are binomial with the precision at t, and the Clopper-Pearson lower bound (Clopper and Pearson 1934) is
above that precision with probability at most delta. Thresholds are tried from strict to loose and the first that
fails ends the search. To go wrong, the first threshold in that order whose precision is below the target must have
passed, and which one that is depends on no label: so all tests together go wrong with probability at most delta
(fixed-sequence testing, Maurer et al. 1995). As the strictest thresholds rest on few labels and may fail by bad luck,
the search starts twice, from the strictest and from the middle of the thresholds, each with half of delta; the sum
is still delta (Angelopoulos et al. 2021, "Learn then Test", on several starts). Picking the best of all thresholds by
the sample, or choosing thresholds among the sample's own scores, would break this. LOTUS (Patel et al. 2024) and
BARGAIN (Zeighami et al. 2025) set thresholds with such bounds.

The sample may be drawn with or without replacement. Without, the count is hypergeometric, and a count that passes
is no likelier than the binomial says, for delta up to 1/4 and a target of at least delta: such a count is at
least the mean plus 1 (Greenberg and Mohri 2014), where the hypergeometric tail is the smaller one (Uhlmann 1966).

What is guaranteed is for the rows that the sample is drawn from; other rows need a sample of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import ConfigError
from curate.models.stats import binomial_tail, clopper_pearson_lower

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_SLACK = 3  # 2 to 4 keep the most rows on the shapes of the tests
_CLOSE_SHARE = 1e-6  # of a row: shares are sums of rounded steps
_MOST_LABELS = 1_000_000


@dataclass(frozen=True)
class Calibrated:
    """A threshold that passed: what scores at least `threshold` is kept.

    Attributes:
        threshold: the loosest that passed for a precision, the strictest for a recall.
        lower: the lower bound of the precision (or recall) there, at the delta of one start.
        rate: the precision (or recall) there in the sample.
        trials: labels that it rests on.
    """

    threshold: float
    lower: float
    rate: float
    trials: int


def calibrate(
    scores: Floats, correct: Bools, *, target: float, delta: float, candidates: Floats, starts: int = 2
) -> Calibrated | None:
    """The loosest threshold at which the precision is shown to be above `target`; none when every start fails.

    Args:
        scores: of the labelled sample.
        correct: its labels.
        target: the precision wanted, from `delta` up to 1.
        delta: the chance of being wrong that is accepted, above 0 and at most 0.25.
        candidates: thresholds that do not depend on the labels or on which rows were drawn, see `candidates`.
        starts: of the search, spread evenly over the candidates; 1 is best when the highest scores are sure to be good.

    Raises:
        ConfigError: arguments that are out of range, or scores that are missing or do not match the labels.
    """
    values, truth, order = _checked(scores, correct, target, delta, candidates)
    return _search([(float(t), truth[values >= t]) for t in order[::-1]], target, delta, starts)


def calibrate_recall(
    scores: Floats, correct: Bools, *, target: float, delta: float, candidates: Floats
) -> Calibrated | None:
    """The strictest threshold at which more than `target` of the correct rows are kept; none when the loosest fails.

    As `calibrate`, from loose to strict with one start: the trials are the correct rows of the sample.
    """
    values, truth, order = _checked(scores, correct, target, delta, candidates)
    good = values[truth]
    return _search([(float(t), good >= t) for t in order], target, delta, 1)


def candidates(scores: Floats, *, labels: int, target: float, delta: float, count: int = 20) -> Floats:
    """Thresholds to try, ascending: quantiles of all rows' scores, the same share of rows between any two.

    The strictest keeps so many rows that about three times the labels fall above it that a flawless result needs:
    the first that fails ends a search, so it must not be one that a few wrong rows make fail.

    Args:
        scores: of all rows, those without a label too.
        labels: how many rows will be labelled.
        target: as for `calibrate`.
        delta: as for `calibrate`.
        count: at most so many; scores with ties give fewer.

    Raises:
        ConfigError: there are no scores, some are missing, or a number is out of range.
    """
    _check_rates(target, delta)
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if not len(values) or np.isnan(values).any():
        raise ConfigError("candidates: scores are missing; leave rows without one out first")
    if labels < 1 or count < 1:
        raise ConfigError(f"candidates: labels {labels} and count {count} must be 1 or more")
    share = min(1.0, _SLACK * sample_size(target, delta) / labels)
    kept = np.ceil(np.linspace(share, 1.0, count) * len(values) - _CLOSE_SHARE).astype(np.int64)
    return np.unique(values[len(values) - np.clip(kept, 1, len(values))])


def sample_size(target: float, delta: float, *, precision: float = 1.0, power: float = 0.8) -> int:
    """How many labels a threshold needs above it, so that it passes with probability `power`.

    Divide by the share of rows that the threshold keeps for how many rows to label in all.

    Args:
        target: the precision wanted.
        delta: the chance of being wrong that is accepted.
        precision: what the threshold's precision is thought to be, above `target`; 1 gives the least that can pass.
        power: the chance that it passes, if that is so.

    Raises:
        ConfigError: a number is out of range, or a million labels are not enough.
    """
    _check_rates(target, delta)
    if not target < precision <= 1 or not 0 < power < 1:
        raise ConfigError(
            f"sample_size: precision {precision} must be above the target {target} and at most 1,"
            f" and power {power} between 0 and 1"
        )
    needed = 1
    for trials in range(1, _MOST_LABELS + 1):
        while needed <= trials and not binomial_tail(needed, trials, target) < delta:
            needed += 1
        if needed <= trials and binomial_tail(needed, trials, precision) >= power:
            return trials
    raise ConfigError(f"sample_size: precision {precision} is too near the target {target}; lower the target")


def _search(tried: list[tuple[float, Bools]], target: float, delta: float, starts: int) -> Calibrated | None:
    """The last threshold that a start reaches without a failure, of thresholds and outcomes in order."""
    if starts < 1:
        raise ConfigError(f"calibration: starts {starts} must be 1 or more")
    first = sorted({len(tried) * i // starts for i in range(starts)})
    level = delta / len(first)
    # The same as a lower bound above the target, without searching for the bound.
    passed = [binomial_tail(int(outcomes.sum()), len(outcomes), target) < level for _, outcomes in tried]
    last = -1
    for at in first:
        while at < len(tried) and passed[at]:
            last, at = max(last, at), at + 1
    if last < 0:
        return None
    threshold, outcomes = tried[last]
    lower = clopper_pearson_lower(int(outcomes.sum()), len(outcomes), level)
    return Calibrated(threshold, lower, float(outcomes.mean()), len(outcomes))


def _checked(
    scores: Floats, correct: Bools, target: float, delta: float, tried: Floats
) -> tuple[Floats, Bools, Floats]:
    _check_rates(target, delta)
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    if values.ndim != 1 or values.shape != truth.shape:
        raise ConfigError(f"calibration: {values.shape} scores for {truth.shape} labels; give one of each per row")
    order = np.unique(np.asarray(tried, dtype=np.float64))
    if np.isnan(values).any() or np.isnan(order).any():
        raise ConfigError("calibration: scores or candidates are missing; leave rows without a score out first")
    return values, truth, order


def _check_rates(target: float, delta: float) -> None:
    if not 0 < delta <= 0.25:
        raise ConfigError(f"calibration: delta {delta} must be above 0 and at most 0.25")
    if not delta <= target < 1:
        raise ConfigError(f"calibration: target {target} must be at least delta ({delta}) and below 1")
