from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.config import BadValue, validate
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.steps.filter import step as filters
from curate.steps.filter.rules import Budget, Rule, cut
from tests.helpers import dataset, rows, run_step, tree


def judge(root: Path, inputs: list[Dataset], *rules: dict) -> Dataset:
    value = {"from": [f"d{i}" for i in range(len(inputs))], "rules": list(rules)}
    config = filters.parse(value, ())
    named = {f"from[{i}]": each for i, each in enumerate(inputs)}
    return run_step(root, functools.partial(filters.run, config=config), named, config=config.identity())


def verdicts(out: Dataset) -> list[str | None]:
    return [None if row["keep"] else row["reason"] for row in rows(out)]


def test_the_first_failing_rule_is_the_reason_and_every_rule_is_counted(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"words": [10, 60, 70], "q": [0.1, 0.2, 0.9]}, {"words": [5], "q": [0.95]})
    out = judge(
        tmp_path,
        [scores],
        {"column": "words", "at_least": 50, "name": "short"},
        {"column": "q", "above": 0.5},
    )
    assert verdicts(out) == ["short", "q-low", None, "short"]
    assert out.manifest.counts == {
        "kept": 1, "first:short": 2, "all:short": 2, "first:q-low": 1, "all:q-low": 2,
    }  # fmt: skip


def test_a_missing_score_satisfies_no_rule(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"q": [None, float("nan"), 0.5]})
    assert verdicts(judge(tmp_path, [scores], {"column": "q", "at_most": 1})) == [
        "q-high",
        "q-high",
        None,
    ]
    assert verdicts(judge(tmp_path, [scores], {"column": "q", "top": 3})) == ["q-not-top", "q-not-top", None]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("window", ["low", "medium", "high"])
def test_a_window_of_the_distribution_keeps_its_share_of_the_rows(tmp_path: Path, window: str, share: float) -> None:
    loss = np.random.default_rng(0).permutation(1000).astype(float)
    scores = dataset(tmp_path / "s", {"loss": loss[:600].tolist()}, {"loss": loss[600:].tolist()})
    rule = {
        "low": {"at_most": {"quantile": share}},
        "medium": {"above": {"quantile": 0.5 - share / 2}, "at_most": {"quantile": 0.5 + share / 2}},
        "high": {"above": {"quantile": 1 - share}},
    }[window]
    out = judge(tmp_path, [scores], {"column": "loss", **rule})
    kept = sorted(score for score, row in zip(loss, rows(out), strict=True) if row["keep"])
    first = {"low": 0, "medium": 500 - share * 500, "high": 1000 - share * 1000}[window]
    assert kept == list(range(round(first), round(first + share * 1000)))


def test_two_comparisons_of_one_rule_are_not_two_rules(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"p": [float(i) for i in range(20)]})
    above, below = {"above": {"quantile": 0.25}}, {"below": {"quantile": 0.75}}
    one = judge(tmp_path, [scores], {"column": "p", **above, **below})
    two = judge(tmp_path, [scores], {"column": "p", **above}, {"column": "p", **below})
    assert (one.manifest.counts["kept"], two.manifest.counts["kept"]) == (10, 11)
    assert one.manifest.digest != two.manifest.digest


def test_a_quantile_is_taken_among_the_rows_that_passed_the_rules_before(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"ok": [True] * 4 + [False] * 6, "p": [float(i) for i in range(10)]})
    rules = [{"column": "ok", "equals": True}, {"column": "p", "below": {"quantile": 0.5}}]
    out = judge(tmp_path, [scores], *rules)
    assert verdicts(out) == [None, None, "p-high", "p-high"] + ["ok"] * 6
    assert out.manifest.details["rules"][1]["value"] == 1.5


def test_top_takes_exactly_the_count_and_ties_go_to_the_lower_id(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"id": ["d", "c", "b", "a"], "q": [0.5, 0.5, 0.5, 0.1]}, {"id": ["e"], "q": [0.9]})
    out = judge(tmp_path, [scores], {"column": "q", "top": 3})
    assert [row["id"] for row in rows(out) if row["keep"]] == ["c", "b", "e"]
    assert [row["id"] for row in rows(judge(tmp_path, [scores], {"column": "q", "bottom": 0.4})) if row["keep"]] == [
        "b",
        "a",
    ]


def test_a_budget_takes_the_best_rows_that_fit(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"q": [0.9, 0.8, 0.7, 0.6], "words": [50, 30, 30, 1]})
    out = judge(tmp_path, [scores], {"column": "q", "top": {"sum": "words", "limit": 100}})
    assert verdicts(out) == [None, None, "q-not-top", "q-not-top"]


def test_a_dedup_is_obeyed_before_the_first_rule(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"q": [0.9, 0.9, 0.1]})
    dups = dataset(tmp_path / "d", {"keep": [True, False, True], "reason": [None, "exact-duplicate", None]})
    out = judge(tmp_path, [scores, dups], {"column": "q", "top": 1})
    assert verdicts(out) == [None, "exact-duplicate", "q-not-top"]
    assert out.manifest.counts["first:exact-duplicate"] == 1


def test_rows_that_an_input_lacks_are_absent_and_accounted_for(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"id": ["a", "b"], "x": [1, 2]})
    scores = dataset(tmp_path / "s", {"id": ["b"], "q": [1.0]})
    out = judge(tmp_path, [docs, scores], {"column": "q", "above": 0})
    assert (out.manifest.rows_in, out.manifest.rows, out.manifest.absent) == (2, 1, 1)


def test_an_unknown_column_or_preset_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"perplexity": [1.0]})
    with pytest.raises(ConfigError, match="no column 'perplexty'.*did you mean 'perplexity'"):
        judge(tmp_path, [scores], {"column": "perplexty", "below": 3})
    with pytest.raises(BadValue, match="no preset 'gofer-quality'; did you mean 'gopher-quality'"):
        judge(tmp_path, [scores], {"preset": "gofer-quality"})


def test_a_column_that_cannot_be_compared_is_named(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"language": ["en"]})
    with pytest.raises(ConfigError, match="language"):
        judge(tmp_path, [scores], {"column": "language", "above": 3})
    with pytest.raises(ConfigError, match="holds string, not numbers; name another"):
        judge(tmp_path, [scores], {"column": "language", "top": 3})
    assert verdicts(judge(tmp_path, [scores], {"column": "language", "one_of": ["en", "de"]})) == [None]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "either a `preset` or a `column`"),
        ({"column": "x"}, "says nothing about 'x'"),
        ({"preset": "c4", "above": 1}, "brings its own"),
        ({"column": "x", "top": 1.5}, "top"),
        ({"column": "x", "top": 0}, "top"),
        ({"column": "x", "below": {"quantile": 2}}, "below"),
        ({"column": "x", "abov": 1}, "did you mean 'above'"),
    ],
)
def test_a_rule_of_the_wrong_shape_is_refused(rule: dict, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        validate(Rule, rule, ())


def test_two_rules_of_one_name_are_refused() -> None:
    rules = [{"column": "q", "top": 0.5}, {"column": "q", "top": 10}]
    with pytest.raises(BadValue, match=r"rules\[1\]: two rules are called 'q-not-top'; give one another `name`"):
        filters.parse({"from": "s", "rules": rules}, ())


def test_a_threshold_change_gives_another_digest_and_the_order_of_keys_does_not(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"q": [0.1, 0.9]})
    a = judge(tmp_path / "a", [scores], {"column": "q", "at_least": 0.5, "name": "n"})
    b = judge(tmp_path / "b", [scores], {"name": "n", "at_least": 0.5, "column": "q"})
    assert tree(Path(a.folder)) == tree(Path(b.folder))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=30),
    st.one_of(st.integers(1, 40), st.floats(0.01, 1.0), st.floats(1, 200)),
    st.booleans(),
)
def test_a_cut_is_the_head_of_the_sorted_rows(data: list[tuple[int, int]], share: float, highest: bool) -> None:
    values = np.array([float(v) for v, _ in data])
    weights = np.array([float(w) for _, w in data])
    ids = [f"{i * 7919 % 1000:04d}" for i in range(len(data))]
    order = sorted(range(len(data)), key=lambda i: (-values[i] if highest else values[i], ids[i]))
    if isinstance(share, float) and share > 1:
        last, last_id = cut(values, ids, Budget(sum="w", limit=share), weights, highest=highest)
        count = sum(1 for i in range(len(data)) if weights[order[: i + 1]].sum() <= share)
    else:
        last, last_id = cut(values, ids, share, None, highest=highest)
        count = min(len(data), share if isinstance(share, int) else max(1, int(share * len(data))))
    inside = [
        i
        for i in range(len(data))
        if (values[i] > last if highest else values[i] < last) or (values[i] == last and ids[i] <= last_id)
    ]
    assert sorted(inside) == sorted(order[:count])
