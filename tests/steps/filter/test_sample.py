from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.config import BadValue, validate
from curate.core.errors import ConfigError
from curate.explain.row import explain_row
from curate.steps.filter.rules import Budget, Rule, Sample, cut
from tests.helpers import dataset, rows, tree
from tests.steps.filter.test_filter import judge, verdicts

ROWS = [(f"{i:032x}", float(i % 13), 1 + i % 7) for i in range(300)]


def shards(table: list[tuple[str, float, int]], size: int) -> list[dict[str, list[object]]]:
    parts = [table[i : i + size] for i in range(0, len(table), size)]
    return [dict(zip(("id", "score", "tokens"), map(list, zip(*part, strict=True)), strict=True)) for part in parts]


def sampled(folder: Path, table: list[tuple[str, float, int]], size: int, **sample: object) -> set[str]:
    out = judge(folder, [dataset(folder / "s", *shards(table, size))], {"column": "score", "sample": sample})
    return {str(row["id"]) for row in rows(out) if row["keep"]}


def test_the_rows_are_the_same_for_any_cut_into_shards_and_any_order(tmp_path: Path) -> None:
    whole = sampled(tmp_path / "whole", ROWS, 300, count=40, temperature=2.0)
    assert len(whole) == 40
    for i, size in enumerate((1, 7, 100)):
        shuffled = random.Random(i).sample(ROWS, len(ROWS))
        assert sampled(tmp_path / str(i), shuffled, size if size > 1 else 150, count=40, temperature=2.0) == whole


def test_a_seed_gives_other_rows_and_a_larger_sample_holds_the_smaller(tmp_path: Path) -> None:
    few = sampled(tmp_path / "a", ROWS, 100, count=20)
    assert few < sampled(tmp_path / "b", ROWS, 100, count=60)
    assert few != sampled(tmp_path / "c", ROWS, 100, count=20, seed=1)
    assert len(sampled(tmp_path / "d", ROWS, 100, fraction=0.1)) == 30


def test_a_low_temperature_takes_the_best_and_a_high_one_any(tmp_path: Path) -> None:
    score = {each: value for each, value, _ in ROWS}
    means = []
    for i, temperature in enumerate((0.01, 2.0, 1e9)):
        taken = sampled(tmp_path / str(i), ROWS, 100, count=23, temperature=temperature)
        means.append(sum(score[each] for each in taken) / 23)
    assert means[0] == 12.0
    assert means[0] > means[1] > means[2] + 1
    assert 4 < means[2] < 8


def test_a_token_budget_is_filled_and_not_exceeded(tmp_path: Path) -> None:
    tokens = {each: size for each, _, size in ROWS}
    taken = sampled(tmp_path, ROWS, 100, sum="tokens", limit=100, temperature=2.0)
    assert 100 - 7 < sum(tokens[each] for each in taken) <= 100


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 200), st.integers(0, 5))
def test_no_budget_is_ever_exceeded(sizes: list[int], limit: int, seed: int) -> None:
    ids = np.array([f"{i:032x}" for i in range(len(sizes))], dtype=object)
    draw = Sample(sum="tokens", limit=limit, seed=seed)
    assert draw.share == Budget(sum="tokens", limit=limit)
    keys = draw.keys(np.zeros(len(sizes)), ids)
    last, last_id = cut(keys, ids, draw.share, np.array(sizes, dtype=np.float64), highest=True)
    taken = (keys > last) | ((keys == last) & (ids <= last_id))
    assert sum(size for size, one in zip(sizes, taken, strict=True) if one) <= limit


def test_rows_without_a_finite_score_are_not_drawn(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"q": [None, float("nan"), float("inf"), 0.5]})
    out = judge(tmp_path, [scores], {"column": "q", "sample": {"count": 4}})
    assert verdicts(out) == ["q-not-sampled"] * 3 + [None]


def test_a_sample_is_drawn_among_the_rows_that_passed_the_rules_before(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"ok": [False, True, True, False], "q": [9.0, 0.0, 1.0, 9.0]})
    rules = [{"column": "ok", "equals": True}, {"column": "q", "sample": {"count": 2}}]
    assert verdicts(judge(tmp_path, [scores], *rules)) == ["ok", None, None, "ok"]
    nothing = judge(tmp_path / "n", [scores], {"column": "q", "below": 0}, {"column": "q", "sample": {"count": 2}})
    assert nothing.manifest.counts["kept"] == 0


def test_the_arguments_are_part_of_the_identity(tmp_path: Path) -> None:
    made = dataset(tmp_path / "s", *shards(ROWS, 100))
    digests = {
        judge(tmp_path / str(i), [made], {"column": "score", "sample": sample}).manifest.digest
        for i, sample in enumerate(
            [{"count": 5}, {"count": 6}, {"count": 5, "seed": 1}, {"count": 5, "temperature": 3}]
        )
    }
    assert len(digests) == 4
    again = judge(tmp_path / "again", [made], {"column": "score", "sample": {"count": 5}})
    assert tree(Path(again.folder)) == tree(tmp_path / "0" / Path(again.folder).name)


def test_explain_shows_the_draw_of_a_row_beside_what_was_needed(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "scores", {"q": [0.0, 0.0, 0.0]}, kind="score")
    out = judge(tmp_path, [scores], {"column": "q", "sample": {"count": 1, "temperature": 2.0}})
    config = tmp_path / "config.yaml"
    config.write_text("name: t\nsteps: {}\n")
    (rule,) = out.manifest.rules
    assert (rule["comparison"], rule["temperature"], rule["seed"]) == ("sample", 2.0, 0)
    for row in rows(out):
        (line,) = [line for line in explain_row([scores, out], str(row["id"]), str(config)) if "noise" in line]
        name, drawn, *_ = line.split()
        assert name == "q-not-sampled"
        assert (float(drawn) >= float(line.split("at least ")[1].split()[0])) == row["keep"]
        assert ("dropped here" in line) != row["keep"]


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({}, "give one of `count`"),
        ({"count": 3, "fraction": 0.5}, "give one of `count`"),
        ({"sum": "tokens"}, "go together"),
        ({"count": 3, "temperature": 0}, "write `top`"),
        ({"count": 3, "temperature": float("inf")}, "finite number, found inf"),
        ({"count": 0}, "count"),
        ({"fraction": 1.5}, "fraction"),
        ({"count": 3, "seed": -1}, "seed"),
        ({"count": 3, "temprature": 1}, "sample.temprature: no such key; did you mean 'temperature'"),
        ({"sum": "tokens", "limit": float("inf")}, "limit: input should be a finite number, found inf"),
    ],
)
def test_a_sample_of_the_wrong_shape_is_refused(sample: dict, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        validate(Rule, {"column": "x", "sample": sample}, ())


def test_a_column_without_an_order_or_an_unknown_budget_is_refused(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"language": ["en"], "q": [1.0]})
    with pytest.raises(ConfigError, match="language holds string"):
        judge(tmp_path, [scores], {"column": "language", "sample": {"count": 3}})
    with pytest.raises(ConfigError, match="no column 'token'"):
        judge(tmp_path, [scores], {"column": "q", "sample": {"sum": "token", "limit": 3}})
    with pytest.raises(ConfigError, match="the column language holds string, not numbers; name another"):
        judge(tmp_path, [scores], {"column": "q", "sample": {"sum": "language", "limit": 3}})


def test_a_budget_sums_no_negative_number_and_a_null_adds_nothing(tmp_path: Path) -> None:
    scores = dataset(tmp_path / "s", {"q": [3.0, 2.0, 1.0], "w": [5.0, None, 9.0], "bad": [5.0, -1.0, 9.0]})
    kept = rows(judge(tmp_path, [scores], {"column": "q", "sample": {"sum": "w", "limit": 5, "temperature": 0.001}}))
    assert [row["keep"] for row in kept] == [True, True, False]
    with pytest.raises(ConfigError, match="the column bad holds -1; what is summed is 0 or more"):
        judge(tmp_path, [scores], {"column": "q", "sample": {"sum": "bad", "limit": 5}})
