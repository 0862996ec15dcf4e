"""The baselines: balanced, top, coverage and union."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.chat.messages import Turn
from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.core.step import Job
from curate.steps.select.balanced import Balanced
from curate.steps.select.coverage import Coverage
from curate.steps.select.filling import Filling, Quota
from curate.steps.select.pool import Pool
from curate.steps.select.random import Random
from curate.steps.select.selector import Selector
from curate.steps.select.step import parse
from curate.steps.select.top import Top, ranks
from tests.helpers import rows
from tests.steps.select.picks import selected, taken
from tests.steps.select.pools import dolly, flan, pool

PATH = ("steps", "picks", "select")


def plain(tmp_path: Path, columns: dict[str, Sequence[object]], shards: int = 2) -> Dataset:
    """A pool whose conversations do not matter."""
    many = len(next(iter(columns.values())))
    return pool(tmp_path / "docs", [(Turn("user", "Hi"),)] * many, shards=shards, columns=columns)


def test_balanced_gives_equal_shares_and_what_a_small_group_lacks_to_the_others(tmp_path: Path) -> None:
    groups = ["big"] * 50 + ["mid"] * 30 + ["few"] * 4 + [None] * 20
    docs = plain(tmp_path, {"group": groups})
    found = taken(selected(tmp_path, [docs], budget=42, balanced={"column": "group"}))
    counts = Counter(groups[int(each)] for each in found)
    assert counts["few"] == 4
    assert sorted(counts[name] for name in ("big", "mid", None)) == [12, 13, 13]
    others = [taken(selected(tmp_path / f"{seed}", [docs], budget=42, balanced={"column": "group", "seed": seed})) for seed in range(6)]  # fmt: skip
    shorts = {min(("big", "mid", "None"), key=lambda name: Counter(str(groups[int(i)]) for i in ids)[name]) for ids in others}  # fmt: skip
    assert len(shorts) > 1  # what is left over goes by the draw, not by the name


def test_balanced_is_by_the_file_of_the_source_and_shares_of_a_sum_are_of_the_sum(shared: Path, tmp_path: Path) -> None:
    chats = [*dolly(shared, 60), *flan(shared, "gsm8k", 60)]
    names = ["dolly"] * 60 + ["flan"] * 60
    chars = [float(len(chat[1].content)) for chat in chats]
    docs = pool(tmp_path / "docs", chats, shards=3, columns={"name": names, "chars": chars})
    found = selected(tmp_path, [docs], budget={"sum": "chars", "limit": 12_000}, balanced={"column": "name"})
    spent = {name: sum(chars[int(i)] for i in taken(found) if names[int(i)] == name) for name in ("dolly", "flan")}
    assert 11_900 < sum(spent.values()) <= 12_000
    assert abs(spent["dolly"] - spent["flan"]) < max(chars)
    assert len(taken(selected(tmp_path / "all", [docs], budget=10, balanced={}))) == 10


@pytest.mark.parametrize(
    ("order", "expected"),
    [("highest", ["00004", "00001", "00006", "00000", "00005"]), ("lowest", ["00007", "00005", "00000", "00001", "00006"])],
)  # fmt: skip
def test_top_takes_the_highest_or_lowest_ties_by_id_and_never_null_nan_or_infinite(
    tmp_path: Path, order: str, expected: list[str]
) -> None:
    values = [2.0, 5.0, float("nan"), None, 7.0, 1.0, 5.0, -3.0, float("inf"), -float("inf")]
    docs = plain(tmp_path, {"value": values})
    found = selected(tmp_path, [docs], budget=5, top={"column": "value", "order": order})
    assert taken(found) == expected
    reasons = [row["reason"] for row in rows(found)]
    assert [i for i, reason in enumerate(reasons) if reason == "no value"] == [2, 3, 8, 9]


def test_the_middle_is_nearest_to_the_median_by_rank(tmp_path: Path) -> None:
    values = [1e9, 3.0, 1.0, 4.0, 2.0, -1e9, 8.0]  # the median is 3, then by rank 2 and 4, then 1 and 8
    found = selected(
        tmp_path, [plain(tmp_path, {"value": values})], budget=5, top={"column": "value", "order": "middle"}
    )
    assert taken(found) == ["00001", "00003", "00004", "00002", "00006"]


@given(values=st.lists(st.tuples(st.sampled_from([1.0, 2.0, 2.5, -1.0]), st.integers(0, 2)), min_size=1, max_size=40))
def test_a_rank_counts_the_values_below_in_the_cell_and_half_of_the_equal_ones(
    values: list[tuple[float, int]],
) -> None:
    places, sizes = ranks(np.array([v for v, _ in values]), np.array([c for _, c in values]))
    for (value, cell), place, size in zip(values, places, sizes, strict=True):
        mine = [v for v, c in values if c == cell]
        assert size == len(mine)
        assert place == 2 * sum(v < value for v in mine) + sum(v == value for v in mine)


def test_debiased_the_longest_do_not_win(tmp_path: Path) -> None:
    draw = np.random.default_rng(7)
    length = draw.integers(1, 1000, 400).astype(float)
    good = draw.random(400)
    docs = plain(tmp_path, {"length": length.tolist(), "quality": (length / 100 + good).tolist()})
    naive = [int(i) for i in taken(selected(tmp_path / "a", [docs], budget=40, top={"column": "quality"}))]
    found = selected(tmp_path / "b", [docs], budget=40, top={"column": "quality", "debias": ["length"], "bins": 20})
    fair = [int(i) for i in taken(found)]
    assert length[naive].mean() > 900
    assert 400 < length[fair].mean() < 600
    assert good[fair].mean() > good.mean()


def covering(tags: list[set[str]], budget: int) -> list[int]:
    """InsTag's algorithm as published, a pass over the rows for every round."""
    order = sorted((i for i in range(len(tags)) if tags[i]), key=lambda i: (-len(tags[i]), i))
    picks: list[int] = []
    while len(picks) < budget:
        covered: set[str] = set()
        for i in order:
            if i not in picks and not tags[i] <= covered:
                picks.append(i)
                covered |= tags[i]
    return picks[:budget]


def test_coverage_equals_the_published_algorithm_for_lists_and_for_strings(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    tags = [set(draw.choice(list("abcdefghijklmnopqrstuvwxyz"), draw.integers(0, 6)).tolist()) for _ in range(120)]
    budget = 60
    expected = [f"{i:05d}" for i in covering(tags, budget)]
    as_lists = plain(tmp_path / "lists", {"tags": pa.array([[*each, *each] or None for each in tags], pa.list_(pa.string()))})  # type: ignore[dict-item]  # fmt: skip
    found = selected(tmp_path / "lists", [as_lists], budget=budget, coverage={"column": "tags"})
    assert taken(found) == expected
    assert [row["reason"] for row in rows(found) if not row["keep"]].count("no tags") == tags.count(set())
    as_strings = plain(tmp_path / "strings", {"tags": [" ;, ".join(sorted(each)) + ", " for each in tags]})
    assert taken(selected(tmp_path / "strings", [as_strings], budget=budget, coverage={"column": "tags"})) == expected


def test_rows_that_cover_every_tag_come_before_any_other(tmp_path: Path) -> None:
    docs = plain(tmp_path, {"tags": ["a,b,c", "a,b", "c", "d", "a", "d", "b"]})
    found = selected(tmp_path, [docs], budget=3, coverage={"column": "tags"})
    assert taken(found) == ["00000", "00003", "00001"]
    assert found.manifest.details["tags"] == 4 and found.manifest.details["rows_that_cover_all"] == 2


def test_a_union_has_every_row_of_its_picks_once_and_with_a_budget_those_most_took(tmp_path: Path) -> None:
    docs = plain(tmp_path, {"value": [float(i) for i in range(20)], "other": [float(-abs(i - 15)) for i in range(20)]})
    first = selected(tmp_path / "a", [docs], budget=8, top={"column": "value"})
    second = selected(tmp_path / "b", [docs], budget=5, top={"column": "other"})
    picks = {"first": first, "second": second}
    both = selected(tmp_path / "c", [docs], picks, union={"of": ["first", "second"]})
    assert sorted(taken(both)) == sorted({*taken(first), *taken(second)})
    assert {row["reason"] for row in rows(both) if not row["keep"]} == {"in no pick"}
    agreed = selected(tmp_path / "d", [docs], picks, budget=5, union={"of": ["first", "second"]})
    assert sorted(taken(agreed)) == sorted({*taken(first)} & {*taken(second)})
    with pytest.raises(BadValue, match="docs keeps and drops nothing"):
        selected(tmp_path / "e", [docs], {"docs": docs}, union={"of": ["docs"]})


def test_only_a_union_may_go_without_a_budget() -> None:
    assert parse({"from": "pool", "union": {"of": ["a"]}}, PATH).budget is None
    with pytest.raises(BadValue, match="'budget' is missing"):
        parse({"from": "pool", "top": {"column": "x"}}, PATH)


def test_rows_of_a_pool_of_many_shards_stand_beside_columns_that_lack_some(tmp_path: Path) -> None:
    docs = plain(tmp_path, {"value": [float(i) for i in range(10)]}, shards=3)
    few = selected(tmp_path, [docs], budget=10, random={})
    both = Pool.of([docs, few])
    assert both.numbers("value").tolist() == [float(i) for i in range(10)]
    assert both.open.all() and both.order.tolist() == list(range(10))


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Forty rows of four groups, many of them with equal, missing or infinite numbers and tags."""
    values = [1.0, 1.0, None, float("nan"), 2.5, -0.0, 0.0, float("inf"), -float("inf"), 1.0]
    columns = {
        "value": [values[i * 7 % 10] for i in range(40)],
        "group": ["abcd"[i * i % 4] for i in range(40)],
        "tags": [["a", "b;c", "", "c,a", None][i % 5] for i in range(40)],
    }
    return plain(tmp_path_factory.mktemp("rough"), columns, shards=3)


SOME: list[Selector] = [
    Random(seed=3),
    Balanced(column="group"),
    Balanced(column="value", seed=2),
    Top(column="value"),
    Top(column="value", order="middle", debias=["value"], bins=2),
    Coverage(column="tags"),
]


@given(selector=st.sampled_from(SOME), budget=st.integers(1, 40), others=st.integers(1, 40))
def test_every_selector_fills_its_budget_exactly_with_open_rows_that_have_a_score(
    rough: Dataset, selector: Selector, budget: int, others: int
) -> None:
    rows = Pool.of([rough])
    selector.exclude(cast(Job, None), rows)
    held = Counter(rows.groups("group")[rows.open])
    room = min(int(rows.open.sum()), sum(min(count, others) for count in held.values()))
    quota = Quota(column="group", others=others)
    if budget > room:
        with pytest.raises(ConfigError, match="raise the quota|lower it"):
            Filling.of(budget, rows, quota)
        return
    filling = Filling.of(budget, rows, quota)
    verdict = selector.select(cast(Job, None), rows, filling)
    assert len(set(filling.taken)) == len(filling.taken) == budget
    assert rows.open[filling.taken].all() and np.isfinite(verdict.scores[filling.taken]).all()
    assert max(filling.by_group().values()) <= others
