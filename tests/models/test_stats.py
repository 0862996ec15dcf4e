from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import RunError
from curate.models.stats import at_threshold, auroc, deciles


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
