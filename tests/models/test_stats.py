from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import ConfigError, RunError
from curate.models.stats import (
    at_threshold,
    auroc,
    binomial_tail,
    bootstrap,
    clopper_pearson_lower,
    deciles,
    ranks,
    softmax,
)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auroc_is_the_chance_that_a_positive_beats_a_negative(rows: list[tuple[int, bool]]) -> None:
    ones = [score for score, positive in rows if positive]
    zeros = [score for score, positive in rows if not positive]
    if not ones or not zeros:
        with pytest.raises(RunError, match="all rows are of one class"):
            auroc([s for s, _ in rows], [p for _, p in rows])
        return
    wins = sum((a > b) + 0.5 * (a == b) for a, b in itertools.product(ones, zeros))
    expected = wins / (len(ones) * len(zeros))
    assert auroc([s for s, _ in rows], [p for _, p in rows]) == pytest.approx(expected, abs=1e-12)


def test_precision_recall_and_f1_by_hand() -> None:
    found = at_threshold([0.9, 0.8, 0.5, 0.4, 0.1], [True, False, True, True, False], 0.5)
    assert (found.precision, found.recall, found.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_nothing_above_the_threshold_gives_zeros() -> None:
    found = at_threshold([0.1, 0.2], [True, False], 0.5)
    assert (found.precision, found.recall, found.f1) == (0.0, 0.0, 0.0)


def test_a_missing_score_is_an_error_and_not_a_low_score() -> None:
    with pytest.raises(RunError, match="1 scores are missing"):
        auroc([0.1, float("nan")], [True, False])


def test_nine_deciles_lie_between_ten_parts() -> None:
    assert deciles([float(i) for i in range(11)]) == pytest.approx([1, 2, 3, 4, 5, 6, 7, 8, 9])
    with pytest.raises(RunError, match="no scores"):
        deciles([])


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks(np.array([0.3, 0.1, 0.3, 0.2])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_probabilities_are_of_one_whole_along_the_last_axis_however_large_the_logits() -> None:
    found = softmax(np.array([[1000.0, 1000.0, -1000.0], [0.0, math.log(2), 0.0]]))
    assert found == pytest.approx(np.array([[0.5, 0.5, 0], [0.25, 0.5, 0.25]]))
    assert softmax(np.zeros((0, 3))).shape == (0, 3) and softmax(np.zeros(4)).tolist() == [0.25] * 4


def test_an_interval_of_a_mean_is_as_wide_as_it_should_be_and_the_same_every_time() -> None:
    values = (np.random.default_rng(0).random(1000) < 0.6).astype(float)
    found, again = (bootstrap(lambda rows: float(values[rows].mean()), 1000, draws=500) for _ in range(2))
    error = np.sqrt(found.value * (1 - found.value) / 1000)
    assert found.value == values.mean() and found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert found == again != bootstrap(lambda rows: float(values[rows].mean()), 1000, draws=500, seed=1)


def test_what_is_drawn_besides_the_rows_widens_the_interval() -> None:
    values = np.random.default_rng(0).random((3, 400)) + np.array([[0.0], [0.5], [1.0]])
    rows = bootstrap(lambda some: float(values[:, some].mean()), 400)
    both = bootstrap(lambda who, some: float(values[np.ix_(who, some)].mean()), 3, 400)
    assert both.value == pytest.approx(rows.value) and both.high - both.low > 2 * (rows.high - rows.low)


def test_a_draw_that_cannot_be_measured_counts_for_nothing() -> None:
    def measure(rows: np.ndarray) -> float:
        return 1.0 if 0 in rows else np.nan

    found = bootstrap(measure, 3)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    assert np.isnan(bootstrap(lambda rows: np.nan, 3).low)


# Two-sided 95% limits that tables of exact binomial intervals print, for 10 and for 20 trials.
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (2, 10, 0.0252, 0.5561),
        (3, 10, 0.0667, 0.6525),
        (4, 10, 0.1216, 0.7376),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (1, 20, 0.0013, 0.2487),
        (10, 20, 0.2720, 0.7280),
    ],
)
def test_the_bound_is_that_of_the_tables(successes: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson_lower(successes, trials, 0.025) == pytest.approx(low, abs=6e-5)
    # The upper limit is the lower one of the failures.
    assert 1 - clopper_pearson_lower(trials - successes, trials, 0.025) == pytest.approx(high, abs=6e-5)


def test_the_bound_of_a_flawless_sample_is_a_root_of_delta() -> None:
    for trials in (1, 29, 1_000, 100_000):
        assert clopper_pearson_lower(trials, trials, 0.05) == pytest.approx(0.05 ** (1 / trials), rel=1e-10)
    assert clopper_pearson_lower(0, 0, 0.05) == 0


def exact_tail(successes: int, trials: int, rate: float) -> float:
    """The binomial tail as it is defined."""
    return math.fsum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(successes, trials + 1))


@given(st.integers(1, 60), st.data(), st.floats(0.01, 0.99))
def test_the_tail_is_the_sum_of_the_binomial_terms(trials: int, data: st.DataObject, rate: float) -> None:
    successes = data.draw(st.integers(0, trials))
    assert binomial_tail(successes, trials, rate) == pytest.approx(
        exact_tail(successes, trials, rate), rel=1e-9, abs=1e-13
    )


@given(st.integers(1, 500), st.data(), st.floats(0.001, 0.25))
def test_the_bound_is_where_the_tail_is_delta(trials: int, data: st.DataObject, delta: float) -> None:
    successes = data.draw(st.integers(1, trials))
    assert binomial_tail(successes, trials, clopper_pearson_lower(successes, trials, delta)) == pytest.approx(
        delta, rel=1e-6
    )


def test_more_successes_than_trials_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 of 2"):
        clopper_pearson_lower(3, 2, 0.05)
