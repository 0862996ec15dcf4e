"""The same promises for every engine: all items once, in any order; crashes and late items are retried."""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from curate.core.engine import Engine, Resources
from curate.core.engine.local import LocalEngine
from curate.core.errors import ConfigError, RunError


@pytest.fixture(params=["local-1", "local-2", pytest.param("ray", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[Engine, int]]:
    if request.param == "ray":
        yield request.getfixturevalue("ray_engine"), 2
    else:
        yield LocalEngine(), int(request.param[-1])


def square() -> Callable[[int], int]:
    return lambda x: x * x


def fragile(folder: str) -> Callable[[int], int]:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three is wrong")
        if item == 4:
            raise ConfigError("four is missing; add it")
        return item

    return work


def deadly(folder: str, always: bool) -> Callable[[int], int]:
    """Item 2 kills its worker, at first or always."""

    def work(item: int) -> int:
        mark = Path(folder) / "died"
        if item == 2 and (always or not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    return work


def slow(folder: str) -> Callable[[int], int]:
    """Item 1 hangs the first time."""

    def work(item: int) -> int:
        mark = Path(folder) / "hung"
        if item == 1 and not mark.exists():
            mark.touch()
            time.sleep(60)
        return item

    return work


def test_every_item_has_one_outcome(engine: tuple[Engine, int]) -> None:
    run, workers = engine
    outcomes = list(run.map(square, list(range(20)), resources=Resources(workers=workers), label="t"))
    assert sorted((o.index, o.result) for o in outcomes) == [(i, i * i) for i in range(20)]


def test_no_items_are_no_work(engine: tuple[Engine, int]) -> None:
    run, workers = engine
    assert list(run.map(square, [], resources=Resources(workers=workers), label="t")) == []


def test_an_exception_is_the_outcome_of_its_item_alone(engine: tuple[Engine, int], tmp_path: Path) -> None:
    run, workers = engine
    make = functools.partial(fragile, str(tmp_path))
    outcomes = {o.index: o for o in run.map(make, list(range(6)), resources=Resources(workers=workers), label="t")}
    assert outcomes[3].error == "ValueError: three is wrong" and not outcomes[3].user_error
    assert outcomes[4].error == "four is missing; add it" and outcomes[4].user_error
    assert [outcomes[i].result for i in (0, 1, 2, 5)] == [0, 1, 2, 5]


def broken() -> Callable[[int], int]:
    raise ConfigError("the model is missing")


def test_a_worker_that_cannot_start_says_why(engine: tuple[Engine, int]) -> None:
    run, workers = engine
    for outcome in run.map(broken, [1, 2], resources=Resources(workers=workers), label="t"):
        assert outcome.error == "the model is missing" and outcome.user_error


@pytest.mark.parametrize("name", ["local-2", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_crash_costs_a_retry_and_nothing_else(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run: Engine = request.getfixturevalue("ray_engine") if name == "ray" else LocalEngine()
    make = functools.partial(deadly, str(tmp_path), False)
    outcomes = list(run.map(make, list(range(6)), resources=Resources(workers=2, retries=1), label="t"))
    assert sorted(o.result for o in outcomes if o.result is not None) == list(range(6))


def test_an_item_that_always_kills_its_worker_fails(tmp_path: Path) -> None:
    make = functools.partial(deadly, str(tmp_path), True)
    outcomes = {
        o.index: o
        for o in LocalEngine().map(make, list(range(4)), resources=Resources(workers=2, retries=1), label="t")
    }
    assert outcomes[2].error == "the worker was killed (out of memory?), 2 times"
    assert [outcomes[i].result for i in (0, 1, 3)] == [0, 1, 3]


@pytest.mark.parametrize("name", ["local-2", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_late_item_goes_to_another_worker(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run: Engine = request.getfixturevalue("ray_engine") if name == "ray" else LocalEngine()
    make = functools.partial(slow, str(tmp_path))
    # More than the one retry that is needed, as a busy machine may start a worker late too.
    resources = Resources(workers=2, retries=3, timeout=8.0)
    outcomes = list(run.map(make, list(range(4)), resources=resources, label="t"))
    assert sorted(o.result for o in outcomes if o.result is not None) == [0, 1, 2, 3]


@pytest.mark.slow
def test_more_gpus_than_the_cluster_has_are_refused(ray_engine: Engine) -> None:
    with pytest.raises(RunError, match="the cluster has 0 GPUs, but --gpus asks for 0.5 a worker"):
        list(ray_engine.map(square, [1, 2], resources=Resources(workers=1, gpus=0.5), label="gpu"))


def pandas_for(_: str) -> tuple[bool, str]:
    """Whether a list that became an array brought pandas along, and what a table becomes for who asks for it."""
    column = pa.array(["a", None])
    there = "pandas" in sys.modules
    return there, str(pa.table({"a": column}).to_pandas()["a"].isna().tolist())


def test_a_process_of_workers_imports_pandas_only_when_it_is_asked_for() -> None:
    pytest.importorskip("pandas")
    found = LocalEngine().map(
        functools.partial(functools.partial, pandas_for), ["x", "y"], resources=Resources(workers=2), label="arrays"
    )
    assert [each.result for each in found] == [(False, "[False, True]")] * 2
