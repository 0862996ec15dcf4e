from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.cli.table import aligned
from curate.core.errors import ConfigError
from curate.steps.route.curves import (
    Curve,
    Pairs,
    always_large,
    always_small,
    apgr,
    band,
    cascade,
    cost_at_quality,
    costs_at_quality,
    hull,
    oracle,
    random_mix,
    router,
    target_quality,
)

Floats = npt.NDArray[np.float64]

# Small right in rows 0 and 1, large in 0, 1 and 2; nobody in 3.
FOUR = Pairs(
    np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0, 0.0]), np.full(4, 1.0), np.array([10.0, 10.0, 20.0, 40.0])
)
SURE = np.array([0.9, 0.8, 0.2, 0.1])


def made(rows: int = 500, seed: int = 0) -> tuple[Pairs, Floats]:
    rng = np.random.default_rng(seed)
    hard = rng.random(rows)
    small, large = (rng.random(rows) > hard).astype(float), (rng.random(rows) > hard * 0.6).astype(float)
    tokens = rng.integers(20, 400, rows).astype(float)
    pairs = Pairs(small, large, tokens * 0.6, tokens * 10)
    return pairs, -hard


def at(curve: Curve) -> list[tuple[float, float, float]]:
    return list(zip(curve.share.tolist(), curve.cost.tolist(), curve.quality.tolist(), strict=True))


def test_a_router_pays_for_one_model_a_row() -> None:
    assert at(router(FOUR, SURE, steps=None)) == [
        (0.0, 1.0, 0.5),
        (0.25, (40 + 3) / 4, 0.5),
        (0.5, (40 + 20 + 2) / 4, 0.75),
        (0.75, (40 + 20 + 10 + 1) / 4, 0.75),
        (1.0, 20.0, 0.75),
    ]


def test_a_cascade_pays_for_the_small_model_always_and_for_the_check() -> None:
    found = at(cascade(FOUR, SURE, check_cost=0.5, steps=None))
    assert found[0] == (0.0, 1.5, 0.5)
    assert found[2] == (0.5, 1.5 + 60 / 4, 0.75)
    assert found[-1] == (1.0, 21.5, 0.75)


def test_a_band_drops_what_is_hopeless_and_saves_its_cost() -> None:
    found = band(FOUR, SURE, check_cost=0.5, steps=4)
    which = np.flatnonzero((found.low == 0.2) & (found.high == 0.8))
    assert [(found.cost[i], found.quality[i], found.share[i]) for i in which] == [(1.5 + 20 / 4, 0.75, 0.25)]
    assert cost_at_quality(found, 0.75) == 6.5  # the cascade without a drop pays 16.5
    assert np.isnan(apgr(found, FOUR))


def test_the_thresholds_of_a_curve_do_what_it_says() -> None:
    pairs, scores = made()
    scores = np.round(scores, 1)
    for curve in (router(pairs, scores), cascade(pairs, scores), band(pairs, scores)):
        for i in range(len(curve.cost)):
            large = (scores >= curve.low[i]) & (scores < curve.high[i])
            kept = scores >= curve.high[i]
            quality = np.where(large, pairs.large_quality, np.where(kept, pairs.small_quality, 0)).mean()
            assert curve.share[i] == pytest.approx(large.mean())
            assert curve.quality[i] == pytest.approx(quality)


def test_rows_that_score_the_same_go_the_same_way() -> None:
    pairs, _ = made()
    assert router(pairs, np.ones(500)).share.tolist() == [0.0, 1.0]
    assert len(router(pairs, np.arange(500) % 3).share) == 4


def test_the_ends_of_the_router_are_the_two_models() -> None:
    pairs, scores = made()
    for curve in (router(pairs, scores), random_mix(pairs), oracle(pairs)):
        assert (curve.cost[0], curve.quality[0]) == (always_small(pairs).cost[0], always_small(pairs).quality[0])
        assert (curve.cost[-1], curve.quality[-1]) == pytest.approx(
            (always_large(pairs).cost[0], always_large(pairs).quality[0])
        )


@given(st.integers(0, 1000))
def test_no_router_beats_the_oracle(seed: int) -> None:
    pairs, _ = made(60, seed)
    scores = np.random.default_rng(seed).random(60)
    best, some = oracle(pairs), router(pairs, scores, steps=None)
    for quality in np.linspace(pairs.small_quality.mean(), hull(some)[1][-1], 5):
        assert cost_at_quality(best, float(quality)) <= cost_at_quality(some, float(quality)) + 1e-9


@given(st.integers(0, 1000))
def test_the_hull_lies_above_every_point_and_rises_ever_slower(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost, quality = rng.integers(0, 9, 30).astype(float), rng.integers(0, 9, 30).astype(float)
    x, y = hull(Curve("any", cost, quality, cost, cost, cost))
    assert (np.diff(x) > 0).all() and (np.diff(y) > 0).all()
    slopes = np.diff(y) / np.diff(x)
    assert (np.diff(slopes) < 0).all()
    assert (np.interp(cost, x, y) >= quality - 1e-9).all()


def test_cost_at_equal_quality_lies_between_two_settings() -> None:
    mix = random_mix(FOUR)
    assert cost_at_quality(mix, 0.625) == pytest.approx((1 + 20) / 2)
    assert cost_at_quality(mix, 0.1) == 1.0
    assert np.isnan(cost_at_quality(mix, 0.9))


def test_the_gap_recovered_is_half_at_random_and_more_for_a_router_that_knows() -> None:
    pairs, scores = made(4000)
    assert apgr(random_mix(pairs), pairs) == pytest.approx(0.5)
    assert apgr(router(pairs, np.random.default_rng(9).random(4000)), pairs) == pytest.approx(0.5, abs=0.1)
    assert apgr(router(pairs, pairs.small_quality - pairs.large_quality), pairs) > 1
    same = Pairs(pairs.small_quality, pairs.small_quality, pairs.small_cost, pairs.large_cost)
    assert np.isnan(apgr(router(same, scores), same))


def test_the_table_is_aligned() -> None:
    curves = [always_small(FOUR), always_large(FOUR), random_mix(FOUR), oracle(FOUR)]
    text = aligned(costs_at_quality(curves, FOUR, recovered=[0.5, 1.0]))
    assert text.splitlines() == [
        "policy        50% of the gap  100% of the gap  best quality   APGR",
        "always small               -                -           0.5      -",
        "always large          100.0%           100.0%          0.75      -",
        "random mix             52.5%           100.0%          0.75  0.500",
        "oracle                 16.9%            28.7%          0.75  0.875",
    ]


def test_the_target_is_a_part_of_the_gap() -> None:
    assert target_quality(FOUR, 0.5) == 0.625


def test_values_that_are_missing_or_do_not_match_are_refused() -> None:
    ones = np.ones(3)
    with pytest.raises(ConfigError, match="every row"):
        Pairs(ones, ones[:2], ones, ones)
    with pytest.raises(ConfigError, match="every row"):
        Pairs(ones * np.nan, ones, ones, ones)
    with pytest.raises(ConfigError, match="below 0"):
        Pairs(ones, ones, -ones, ones)
    with pytest.raises(ConfigError, match="one a row"):
        router(FOUR, ones)
