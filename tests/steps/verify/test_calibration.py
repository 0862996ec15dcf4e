from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pytest
import zstandard

from curate.core.errors import ConfigError
from curate.models.stats import binomial_tail, clopper_pearson_lower
from curate.steps.route.model import fit_logistic, hashed_features
from curate.steps.verify.calibration import (
    Calibrated,
    calibrate,
    calibrate_recall,
    candidates,
    sample_size,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ROWS, TRIALS, DELTA = 20_000, 1_000, 0.05
# More violations than this in 1,000 trials at a rate of 0.05 have a chance below one in a thousand.
MOST = next(k for k in range(TRIALS) if binomial_tail(k + 1, TRIALS, DELTA) < 0.001)


@pytest.mark.parametrize("delta", [0.05, 0.25])
def test_a_count_that_passes_is_no_likelier_without_replacement(delta: float) -> None:
    for rows in range(2, 31):
        for good in range(1, rows):
            target = max(good / rows, delta)
            for drawn in range(1, rows + 1):
                needed = next((k for k in range(1, drawn + 1) if binomial_tail(k, drawn, target) < delta), None)
                if needed is not None:
                    ways = sum(math.comb(good, k) * math.comb(rows - good, drawn - k) for k in range(needed, drawn + 1))
                    assert ways / math.comb(rows, drawn) <= delta


def test_the_least_labels_are_those_of_a_flawless_result() -> None:
    assert sample_size(0.9, 0.05) == 29  # 0.9 ** 29 is below 0.05, 0.9 ** 28 is not
    for precision in (0.95, 0.98):
        trials = sample_size(0.9, 0.05, precision=precision)
        needed = next(k for k in range(trials + 1) if binomial_tail(k, trials, 0.9) < 0.05)
        assert clopper_pearson_lower(needed, trials, 0.05) > 0.9
        assert binomial_tail(needed, trials, precision) >= 0.8


@dataclass(frozen=True)
class Shape:
    """A population: scores and which rows are correct, and the target of its search."""

    scores: Floats
    correct: Bools
    target: float
    labels: int


def drawn(chance: Callable[[Floats], Floats], target: float, labels: int, ties: int = 0) -> Shape:
    """Scores spread evenly, each row correct with the chance that its score gives."""
    rng = np.random.default_rng(1)
    scores = rng.random(ROWS)
    if ties:
        scores = np.floor(scores * ties) / ties
    return Shape(scores, rng.random(ROWS) < chance(scores), target, labels)


def a_hair_below(target: float, labels: int) -> Shape:
    """The precision is just below the target at every threshold: whatever passes is wrong."""
    good = np.floor(target * np.arange(1, ROWS + 1) - 1e-9)
    correct = np.diff(good, prepend=0.0) > 0
    return Shape(np.linspace(1, 0, ROWS), correct, target, labels)


SHAPES = {
    "rising": drawn(lambda s: 0.6 + 0.4 * s, 0.9, 400),
    "steep": drawn(lambda s: 1 / (1 + np.exp(-12 * (s - 0.5))), 0.9, 400),
    "a hair below the target everywhere": a_hair_below(0.9, 400),
    "a hair below a low target": a_hair_below(0.5, 400),
    "best scores are bad": drawn(lambda s: np.where(s > 0.9, 0.7, 0.96), 0.9, 600),
    "good, bad, good": drawn(lambda s: np.where((s > 0.5) & (s < 0.8), 0.75, 0.99), 0.9, 600),
    "ties": drawn(lambda s: 0.7 + 0.35 * s, 0.9, 400, ties=5),
    "scores say nothing": drawn(lambda s: np.full(len(s), 0.895), 0.9, 400),
    "tiny sample": drawn(lambda s: 0.6 + 0.4 * s, 0.8, 30),
}


# Where the precision passes the target at some threshold, or nearly reaches it, the sample's own precision misleads.
NAIVE_IS_WRONG = {
    "rising",
    "steep",
    "a hair below the target everywhere",
    "a hair below a low target",
    "scores say nothing",
}


def naive(scores: Floats, correct: Bools, target: float) -> float | None:
    """The loosest threshold at which the sample's own precision is at least the target."""
    order = np.argsort(-scores, kind="stable")
    rates = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    last = np.append(np.diff(scores[order]) != 0, True)
    fine = np.flatnonzero((rates >= target) & last)
    return float(scores[order[fine[-1]]]) if len(fine) else None


def simulate(shape: Shape, replace: bool) -> tuple[int, int, float, float]:
    """Violations of 1,000 trials and the mean share of rows kept, for the bound and for the naive method."""
    tried = candidates(shape.scores, labels=shape.labels, target=shape.target, delta=DELTA)
    order = np.argsort(-shape.scores, kind="stable")
    ranked, good = -shape.scores[order], np.cumsum(shape.correct[order])
    wrong, kept = [0, 0], [0.0, 0.0]
    for seed in range(TRIALS):
        some = np.random.default_rng(seed).choice(ROWS, shape.labels, replace=replace)
        scores, correct = shape.scores[some], shape.correct[some]
        found = calibrate(scores, correct, target=shape.target, delta=DELTA, candidates=tried)
        for i, threshold in enumerate((found.threshold if found else None, naive(scores, correct, shape.target))):
            if threshold is not None:
                rows = int(np.searchsorted(ranked, -threshold, side="right"))
                wrong[i] += bool(good[rows - 1] / rows < shape.target)
                kept[i] += rows / ROWS / TRIALS
    return wrong[0], wrong[1], kept[0], kept[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("replace", [True, False], ids=["with replacement", "without"])
def test_the_precision_is_missed_in_at_most_delta_of_the_trials(name: str, replace: bool) -> None:
    wrong, naively, kept, kept_naively = simulate(SHAPES[name], replace)
    print(f"{name}: {wrong} of {TRIALS} wrong, {kept:.0%} kept; naive {naively} wrong, {kept_naively:.0%} kept")
    assert wrong <= MOST
    if name in NAIVE_IS_WRONG:
        assert naively > 400


def test_a_good_scorer_is_trusted_and_most_rows_are_kept() -> None:
    shape = drawn(lambda s: np.where(s > 0.3, 0.98, 0.3), 0.9, 500)
    _, _, kept, _ = simulate(shape, False)
    assert kept > 0.65  # 78% could be kept


@pytest.mark.slow
def test_the_precision_of_a_real_router_is_missed_in_at_most_delta_of_the_trials(shared: Path) -> None:
    with zstandard.open(shared / "data/router_mmlu.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        rows = [orjson.loads(line) for line in stream]
    good = np.array([row["mixtral_correct"] for row in rows])
    features = hashed_features([row["prompt"] for row in rows], width=1024)
    chance = fit_logistic(features[::2], good[::2], standardise=False).predict(features[1::2])
    good = good[1::2]
    tried = candidates(chance, labels=600, target=0.75, delta=DELTA)
    wrong, naively, kept = 0, 0, 0.0
    for seed in range(TRIALS):
        some = np.random.default_rng(seed).choice(len(good), 600, replace=False)
        found = calibrate(chance[some], good[some], target=0.75, delta=DELTA, candidates=tried)
        loose = naive(chance[some], good[some], 0.75)
        if found:
            wrong += bool(good[chance >= found.threshold].mean() < 0.75)
            kept += float(np.mean(chance >= found.threshold)) / TRIALS
        naively += loose is not None and bool(good[chance >= loose].mean() < 0.75)
    known = naive(chance, good, 0.75)  # what all labels would allow
    possible = float(np.mean(chance >= known)) if known is not None else 0.0
    print(f"MMLU: {wrong} of {TRIALS} wrong, {kept:.0%} kept of {possible:.0%}; naive {naively} wrong")
    assert wrong <= MOST < naively
    assert possible / 2 < kept < possible


@pytest.mark.slow
def test_the_recall_is_missed_in_at_most_delta_of_the_trials() -> None:
    for name in ("rising", "ties", "good, bad, good"):
        shape = SHAPES[name]
        tried = np.quantile(shape.scores, np.arange(20) / 20)
        wrong, found_any, total = 0, 0, int(shape.correct.sum())
        for seed in range(TRIALS):
            some = np.random.default_rng(seed).choice(ROWS, shape.labels, replace=False)
            found = calibrate_recall(shape.scores[some], shape.correct[some], target=0.8, delta=DELTA, candidates=tried)
            if found:
                found_any += 1
                wrong += bool(np.sum(shape.correct & (shape.scores >= found.threshold)) / total < 0.8)
        assert wrong <= MOST
        assert found_any == TRIALS


def test_a_search_ends_at_the_first_threshold_that_fails() -> None:
    scores = np.repeat([0.9, 0.5, 0.1], [50, 20, 2000])
    correct = np.repeat([True, False, True], [50, 20, 2000])
    tried = np.array([0.1, 0.5, 0.9])
    found = calibrate(scores, correct, target=0.9, delta=0.05, candidates=tried, starts=1)
    # All rows together are precise enough, but the threshold before that was not shown to be.
    assert found == Calibrated(0.9, clopper_pearson_lower(50, 50, 0.05), 1.0, 50)


def test_a_second_start_passes_what_stopped_the_first_and_costs_half_of_delta() -> None:
    scores = np.repeat([0.9, 0.8, 0.5, 0.1], [10, 20, 400, 1600])
    correct = np.repeat([False, True, True, False], [10, 20, 400, 1600])
    tried = np.array([0.1, 0.5, 0.8, 0.9])
    assert calibrate(scores, correct, target=0.9, delta=0.05, candidates=tried, starts=1) is None
    found = calibrate(scores, correct, target=0.9, delta=0.05, candidates=tried)
    assert found == Calibrated(0.5, clopper_pearson_lower(420, 430, 0.025), 420 / 430, 430)


def test_a_chance_of_exactly_delta_is_not_below_it() -> None:
    scores, correct = np.ones(3), np.ones(3, bool)
    for labels, found in ((2, False), (3, True)):  # 0.5 ** 2 is delta
        some = scores[:labels], correct[:labels]
        assert bool(calibrate(*some, target=0.5, delta=0.25, candidates=np.array([1.0]))) is found


def test_a_single_candidate_has_all_of_delta() -> None:
    scores, correct = np.ones(29), np.ones(29, bool)
    found = calibrate(scores, correct, target=0.9, delta=0.05, candidates=np.array([1.0]))
    assert found is not None and found.lower == clopper_pearson_lower(29, 29, 0.05)


def test_nothing_is_promised_on_too_few_labels() -> None:
    scores, correct = np.linspace(0, 1, 28), np.ones(28, bool)
    assert calibrate(scores, correct, target=0.9, delta=0.05, candidates=scores[:1]) is None
    assert calibrate(scores[:0], correct[:0], target=0.9, delta=0.05, candidates=scores[:1]) is None


def test_the_candidates_come_from_all_scores_and_start_where_one_can_pass() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1000.0))
    tried = candidates(scores, labels=290, target=0.9, delta=0.05, count=8)
    assert tried.tolist() == [0, 100, 200, 300, 400, 500, 600, 700]  # 87 labels above the strictest
    assert len(candidates(np.zeros(100), labels=50, target=0.9, delta=0.05)) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, c: calibrate(s, c, target=0.9, delta=0.5, candidates=s), "delta 0.5 must be above 0"),
        (lambda s, c: calibrate(s, c, target=0.01, delta=0.05, candidates=s), "target 0.01 must be at least delta"),
        (lambda s, c: calibrate(s, c[:1], target=0.9, delta=0.05, candidates=s), "give one of each per row"),
        (lambda s, c: calibrate(s * np.nan, c, target=0.9, delta=0.05, candidates=s), "without a score out"),
        (lambda s, c: calibrate(s, c, target=0.9, delta=0.05, candidates=s, starts=0), "starts 0"),
        (lambda s, c: candidates(s[:0], labels=9, target=0.9, delta=0.05), "scores are missing"),
        (lambda s, c: candidates(s, labels=0, target=0.9, delta=0.05), "labels 0"),
        (lambda s, c: sample_size(0.9, 0.05, precision=0.9), "must be above the target"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(call: Callable[[Floats, Bools], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call(np.linspace(0, 1, 5), np.ones(5, bool))
