"""Budgets and quotas: filled exactly, by whatever order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.chat.messages import Turn
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.steps.select.filling import Filling, Quota, Sum
from curate.steps.select.pool import Pool
from curate.steps.select.selector import best_first
from curate.steps.select.turns import take_in_turns, take_over_tasks
from tests.steps.select.pools import pool

ROWS = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty rows of three groups; lengths 0, 1, 2, ...; ids in the opposite order of the rows."""
    where = tmp_path_factory.mktemp("pool")
    columns = {
        "group": ["abc"[i % 3] for i in range(ROWS)],
        "length": [float(i) for i in range(ROWS)],
        "odd": [None if i == 3 else -0.0 if i == 4 else float("inf") if i == 5 else 1.0 for i in range(ROWS)],
    }
    pool(where / "docs", [(Turn("user", "Hi"),)] * ROWS, shards=4, columns=columns)
    return where


@pytest.fixture
def rows(folder: Path) -> Pool:
    return Pool.of([Dataset.open(str(folder / "docs"))])


SCORES = st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.5, float("nan"), float("inf"), -float("inf")]), min_size=ROWS, max_size=ROWS)  # fmt: skip


def fresh(folder: Path) -> Pool:
    return Pool.of([Dataset.open(str(folder / "docs"))])


@given(scores=SCORES, budget=st.integers(1, ROWS))
def test_a_count_is_filled_exactly_best_first_ties_by_id_and_nothing_that_is_not_finite(
    folder: Path, scores: list[float], budget: int
) -> None:
    values = np.array(scores)
    rows = fresh(folder)
    assert np.isfinite(values[best_first(values, rows, rows.open)]).all()
    rows.exclude(~np.isfinite(values), "no score")
    if budget > rows.open.sum():
        with pytest.raises(ConfigError, match="may be taken"):
            Filling.of(budget, rows)
        return
    filling = Filling.of(budget, rows)
    filling.take_in_order(best_first(values, rows, rows.open))
    finite = [i for i in range(ROWS) if np.isfinite(values[i])]
    assert filling.taken == sorted(finite, key=lambda i: (-values[i], rows.ids[i]))[:budget]


@given(order=st.permutations(range(ROWS)), limit=st.floats(0.5, 500), most=st.integers(0, 6), others=st.none() | st.integers(1, 9))  # fmt: skip
def test_of_a_sum_nothing_that_still_fits_is_left_out(
    folder: Path, order: list[int], limit: float, most: int, others: int | None
) -> None:
    rows = fresh(folder)
    filling = Filling.of(Sum(sum="length", limit=limit), rows, Quota(column="group", most={"a": most}, others=others))
    filling.take_in_order(order)
    spent = sum(filling.taken)  # row i has length i
    assert spent == filling.spent <= limit
    groups = Counter("abc"[i % 3] for i in filling.taken)
    assert filling.by_group() == dict(groups)
    room = {"a": most, "b": others or ROWS, "c": others or ROWS}
    assert all(groups[name] <= room[name] for name in "abc")
    for row in set(range(ROWS)) - set(filling.taken):
        assert spent + row > limit or groups["abc"[row % 3]] == room["abc"[row % 3]]
        assert not filling.open[row] and not filling.take(row)
    assert filling.full


@given(order=st.permutations(range(ROWS)), budget=st.integers(1, ROWS), most=st.integers(0, 12), others=st.integers(0, 12))  # fmt: skip
def test_within_a_quota_a_count_is_filled_exactly_or_refused(
    folder: Path, order: list[int], budget: int, most: int, others: int
) -> None:
    quota = Quota(column="group", most={"a": most}, others=others)
    room = min(most, 10) + 2 * min(others, 10)
    if room < budget:
        with pytest.raises(ConfigError, match=f"leaves room for {room}; raise the quota or lower the budget"):
            Filling.of(budget, fresh(folder), quota)
        return
    filling = Filling.of(budget, fresh(folder), quota)
    filling.take_in_order(order)
    assert len(filling.taken) == budget == len(set(filling.taken))


@given(
    tasks=st.lists(SCORES, min_size=1, max_size=4),
    budget=st.integers(1, ROWS),
)
def test_tasks_that_take_turns_each_get_their_best_row_that_is_left(
    folder: Path, tasks: list[list[float]], budget: int
) -> None:
    rows = fresh(folder)
    by_task = np.array(tasks)
    rows.exclude(~np.isfinite(by_task).all(axis=0), "no score")
    if rows.open.sum() < budget:
        return
    filling = Filling.of(budget, rows)
    names = [f"t{i}" for i in range(len(tasks))]
    scores, targets = take_over_tasks(by_task, names, "round_robin", rows, filling)
    left = set(np.flatnonzero(rows.open).tolist())
    for turn, row in enumerate(filling.taken):
        mine = by_task[turn % len(tasks)]
        assert row == min(left, key=lambda i: (-mine[i], rows.ids[i]))
        assert targets[row] == names[turn % len(tasks)] and scores[row] == mine[row]
        left.remove(row)
    assert len(filling.taken) == budget


def test_a_row_that_another_order_took_does_not_use_up_a_turn(rows: Pool) -> None:
    filling = Filling.of(5, rows)
    assert take_in_turns([[1, 2, 3], [1, 2, 4], iter([1])], filling) == [0, 1, 0, 1]
    assert filling.taken == [1, 2, 3, 4]


@pytest.mark.parametrize(("fraction", "count"), [(0.29, 29), (0.005, 1), (1.0, 100), (0.999, 99)])
def test_a_fraction_is_of_the_open_rows_rounded_down_and_at_least_one(
    tmp_path: Path, fraction: float, count: int
) -> None:
    rows = Pool.of([pool(tmp_path / "docs", [(Turn("user", "Hi"),)] * 120)])
    rows.exclude(np.arange(120) >= 100, "dropped")
    assert Filling.of(fraction, rows).count == count


def test_weights_that_are_null_infinite_or_negative_are_refused_and_minus_zero_is_zero(rows: Pool) -> None:
    with pytest.raises(ConfigError, match=r"the column odd is null, infinite or below 0 for 2 rows .* first 00003"):
        Filling.of(Sum(sum="odd", limit=3), rows)
    rows.exclude(np.isin(np.arange(ROWS), [3, 5]), "dropped")
    filling = Filling.of(Sum(sum="odd", limit=1), rows)
    filling.take_in_order([6, 4, 7])
    assert filling.taken == [6, 4]


def test_a_quota_of_a_value_that_no_row_has_is_refused_with_the_nearest(rows: Pool) -> None:
    with pytest.raises(ConfigError, match="quota: no row has group 'd'"):
        Filling.of(3, rows, Quota(column="group", most={"d": 1}))


def test_source_counts_without_the_number_of_the_row(rows: Pool) -> None:
    assert set(rows.groups("source")) == {"pool.jsonl"}
    with pytest.raises(ConfigError, match="leaves room for 2"):
        Filling.of(3, rows, Quota(column="source", others=2))
