from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.draw import _log, gumbel, sample_keys

IDS = [f"{i:032x}" for i in range(40_000)]


@given(st.floats(1e-300, 1e300))
def test_the_logarithm_is_that_of_the_library(x: float) -> None:
    assert float(_log(np.array([x]))[0]) == pytest.approx(math.log(x), rel=4e-16, abs=4e-16)


def test_the_noise_has_the_mean_the_spread_and_the_quantiles_of_gumbel() -> None:
    noise = gumbel(IDS, seed=5)
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=0.02)
    assert noise.std() == pytest.approx(math.pi / math.sqrt(6), abs=0.02)
    for q in (0.01, 0.5, 0.99):
        assert np.quantile(noise, q) == pytest.approx(-math.log(-math.log(q)), abs=0.1)


def test_the_noise_of_a_row_is_known_by_its_id_and_the_seed_alone() -> None:
    noise = gumbel(IDS[:50], seed=0)
    assert gumbel(IDS[:50][::-1], seed=0).tolist() == noise[::-1].tolist()
    assert gumbel(IDS[7:8], seed=0)[0] == noise[7]
    assert abs(np.corrcoef(gumbel(IDS, 0), gumbel(IDS, 1))[0, 1]) < 0.02


def test_the_draw_does_not_change_between_versions() -> None:
    assert gumbel(["00112233445566778899aabbccddeeff", "b"], seed=3).tolist() == [0.86558434079819, 3.082834207248887]


def test_the_first_pick_follows_exp_of_score_over_temperature() -> None:
    scores, temperature, draws = np.array([0.0, 1.0, 2.0, 3.0]), 2.0, 6000
    keys = np.array([sample_keys(scores, IDS[:4], temperature=temperature, seed=s) for s in range(draws)])
    share = np.bincount(keys.argmax(1), minlength=4) / draws
    expected = np.exp(scores / temperature) / np.exp(scores / temperature).sum()
    assert share == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(draws))


def test_the_second_pick_is_drawn_in_proportion_among_those_that_are_left() -> None:
    scores, draws = np.log(np.array([1.0, 2.0, 3.0])), 6000
    keys = np.array([sample_keys(scores, IDS[:3], temperature=1.0, seed=s) for s in range(draws)])
    pairs = [tuple(row) for row in np.argsort(-keys, axis=1)[:, :2].tolist()]
    weight = [1.0, 2.0, 3.0]
    for first in range(3):
        for second in {0, 1, 2} - {first}:
            expected = weight[first] / 6 * weight[second] / (6 - weight[first])
            assert pairs.count((first, second)) / draws == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(draws))


def test_a_missing_score_has_no_key() -> None:
    assert np.isnan(sample_keys(np.array([math.nan]), ["a"], temperature=1.0, seed=0))[0]
