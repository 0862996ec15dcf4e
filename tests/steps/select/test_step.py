"""The `select` step: a verdict and a reason for every row, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.core.engine import Engine, Resources
from curate.core.errors import ConfigError, RunError
from curate.steps.select.step import parse
from tests.helpers import rows, tree
from tests.steps.select.picks import selected, taken
from tests.steps.select.pools import beside, dolly, pool

PATH = ("steps", "picks", "select")


@pytest.fixture
def docs(shared: Path, tmp_path: Path) -> Dataset:
    """Two hundred rows of Dolly in three shards, every second with a length."""
    conversations = dolly(shared, 200)
    lengths = [float(len(each[1].content)) if i % 2 else None for i, each in enumerate(conversations)]
    return pool(
        tmp_path / "docs",
        conversations,
        shards=3,
        columns={"length": lengths, "half": ["ab"[i % 2] for i in range(200)]},
    )


def test_a_random_tenth_is_taken_and_every_other_row_has_a_reason(docs: Dataset, tmp_path: Path) -> None:
    found = selected(tmp_path, [docs], budget=0.1, random={"seed": 1})
    assert len(taken(found)) == 20
    assert {row["reason"] for row in rows(found) if not row["keep"]} == {"not selected"}
    assert found.manifest.counts == {"kept": 20, "first:not selected": 180}


def test_rows_that_a_filter_dropped_or_that_have_no_score_keep_their_reason(docs: Dataset, tmp_path: Path) -> None:
    first = selected(tmp_path / "first", [docs], budget=100, random={})
    found = rows(selected(tmp_path, [docs, first], budget=20, top={"column": "length"}))
    before = {str(row["id"]): row["keep"] for row in rows(first)}
    for row, document in zip(found, rows(docs), strict=True):
        if not before[str(row["id"])]:
            assert row["reason"] == "not selected" and row["score"] is None
        elif document["length"] is None:
            assert row["reason"] == "no length" and row["score"] is None
        else:
            assert row["score"] == document["length"]
    assert sum(bool(row["keep"]) for row in found) == 20


def test_the_manifest_says_what_was_taken_and_where_the_cut_is(docs: Dataset, tmp_path: Path) -> None:
    found = selected(
        tmp_path,
        [docs],
        budget={"sum": "length", "limit": 5000},
        quota={"column": "half", "others": 7},
        top={"column": "length", "order": "lowest"},
    )
    details = found.manifest.details
    lengths = {str(row["id"]): row["length"] for row in rows(docs)}
    ids = taken(found)
    assert details["taken"] == len(ids) == 7 and details["open"] == 100 and details["by_group"] == {"b": 7}
    assert details["spent"] == sum(lengths[each] for each in ids) <= 5000  # type: ignore[misc]
    assert details["last"] == {"id": ids[-1], "score": -float(str(lengths[ids[-1]]))}
    (following,) = [row for row in rows(found) if row["id"] == details["next"]["id"]]  # type: ignore[index]
    assert following["reason"] == "over quota" and following["score"] == details["next"]["score"]  # type: ignore[index]


def test_a_pool_of_documents_a_missing_column_and_a_pool_without_open_rows_are_refused(
    docs: Dataset, tmp_path: Path
) -> None:
    first = selected(tmp_path / "first", [docs], budget=5, top={"column": "length"})
    with pytest.raises(ConfigError, match="steps.picks.select: step picks: holds no conversations; name the step"):
        selected(tmp_path, [first], budget=5, random={})
    with pytest.raises(ConfigError, match="no column 'lenght'.*did you mean 'length'"):
        selected(tmp_path, [docs], budget=5, top={"column": "lenght"})
    with pytest.raises(ConfigError, match="holds no numbers"):
        selected(tmp_path, [docs], budget=5, top={"column": "half"})
    none = beside(tmp_path / "none", pool(tmp_path / "one", dolly_rows(docs)), {"length": [None] * 3})
    with pytest.raises(RunError, match=r"no row may be taken; most have the reason no length \(3\)"):
        selected(tmp_path, [Dataset.open(str(tmp_path / "one")), none], budget=1, top={"column": "length"})


def dolly_rows(docs: Dataset) -> list[tuple[()]]:
    """Three conversations without a turn."""
    return [(), (), ()]


def test_a_misspelt_key_beside_a_selector_gets_the_nearest_name() -> None:
    with pytest.raises(BadValue, match="select.budgt: no such key; did you mean 'budget'"):
        parse({"from": "docs", "budgt": 3, "random": {}}, ("steps", "picks", "select"))


@pytest.mark.parametrize("budget", [0, -3, 0.0, -0.5, 1.5, float("nan"), float("inf"), True, False, None, "5", {"sum": "length"}, {"sum": "length", "limit": 0}])  # fmt: skip
def test_a_budget_that_is_none_is_refused_before_anything_runs(budget: object) -> None:
    with pytest.raises(BadValue, match="a count from 1, a fraction up to 1.0, or") as error:
        parse({"from": "pool", "budget": budget, "random": {}}, PATH)  # type: ignore[dict-item]
    assert error.value.path == (*PATH, "budget")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"from": "pool", "random": {}}, "the key 'budget' is missing"),
        ({"from": "pool", "budget": 5}, "expected one selector"),
        ({"from": "pool", "budget": 5, "random": {}, "top": {"column": "x"}}, "expected one selector"),
        ({"from": "pool", "budget": 5, "randon": {}}, "did you mean 'random'"),
        ({"from": [], "budget": 5, "random": {}}, "the step of the pool"),
        ({"from": "pool", "budget": 5, "random": {"sede": 1}}, "did you mean 'seed'"),
        ({"from": "pool", "budget": 5, "quota": {"column": "x", "most": {"a": -1}}, "random": {}}, "greater than or equal to 0"),
    ],
)  # fmt: skip
def test_a_config_of_the_wrong_shape_is_refused_with_a_remedy(config: dict[str, object], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        parse(config, PATH)  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(docs: Dataset, tmp_path: Path) -> None:
    config = {"budget": 0.3, "bm25": {"targets": "aim", "over_tasks": "round_robin", "by": "half"}}
    for name, workers in (("one", 1), ("two", 2)):
        selected(tmp_path / name, [docs], {"aim": docs}, resources=Resources(workers=workers), **config)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.slow
def test_ray_writes_the_same_bytes_as_one_process(docs: Dataset, tmp_path: Path, ray_engine: Engine) -> None:
    config = {"budget": 0.3, "bm25": {"targets": "aim"}}
    selected(tmp_path / "one", [docs], {"aim": docs}, **config)
    selected(tmp_path / "ray", [docs], {"aim": docs}, engine=ray_engine, resources=Resources(workers=2), **config)
    assert tree(tmp_path / "one") == tree(tmp_path / "ray")
