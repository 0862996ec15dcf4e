"""Kernels are compiled once, kept on disk, and read by every process after that."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding
import numba.core.config
import numba.core.event
import pytest

from curate.core.engine import Engine, Resources
from curate.core.engine.local import LocalEngine
from curate.text.batch import TextBatch
from curate.text.native import cache_folder
from curate.warm import warm
from tests.helpers import ROOT

PREPARE = """
import gc
from numba.core import event
from numba.core.dispatcher import Dispatcher
from curate.steps.score import SCORERS
from curate.text.batch import TextBatch
TEXTS = ["One line[1] of text.\\nAnother – “naïve” – line; it's here.", "", None, "日本語 ภาษาไทย", "the cat sat on it. " * 9]
recorder = event.RecordingListener()
event.register("numba:compile", recorder)

def loaded():
    return sum(len(each.signatures) for each in gc.get_objects() if isinstance(each, Dispatcher))
"""
SCORE_ALL = (
    PREPARE
    + """
for texts in (TEXTS, []):
    batch = TextBatch.of(texts)
    for variant in ("datatrove", "dclm", "dolma", "nemo"):
        SCORERS["gopher_quality"](variant=variant)(batch)
        SCORERS["gopher_repetition"](variant=variant)(batch)
    for variant in ("paper", "code"):
        SCORERS["c4"](variant=variant)(batch)
    SCORERS["fineweb"]()(batch)
print(len(recorder.buffer))
"""
)
SPLIT = PREPARE + "print(TextBatch.of(TEXTS).words('whitespace').hash.sum(), len(recorder.buffer))"


def start(script: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def ends_with(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return output.strip()


def test_warming_loads_every_kernel_that_scoring_needs() -> None:
    warmed = "from curate.warm import warm\nwarm()\nbefore = loaded()\n"
    assert (
        ends_with(start(PREPARE + warmed + SCORE_ALL.removeprefix(PREPARE) + "print(loaded() - before)")).split()[-1]
        == "0"
    )


def test_a_new_process_compiles_nothing_after_warming_and_adds_no_file() -> None:
    warm()
    folder = cache_folder()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert ends_with(start(SCORE_ALL)) == "0"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.slow
def test_processes_that_start_at_once_on_an_empty_cache_agree_and_leave_it_whole(tmp_path: Path) -> None:
    together = [start(SPLIT, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(3)]
    found = [ends_with(process).split() for process in together]
    assert len({total for total, _ in found}) == 1
    assert all(int(compiled) > 0 for _, compiled in found)
    later = ends_with(start(SPLIT, NUMBA_CACHE_DIR=str(tmp_path))).split()
    assert later == [found[0][0], "0"]


def test_machines_with_other_processors_that_share_a_home_have_a_folder_each(monkeypatch: pytest.MonkeyPatch) -> None:
    here = cache_folder()
    assert here == cache_folder()
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_name", lambda: "another")
    assert cache_folder().name != here.name


def split() -> Callable[[int], tuple[str, int]]:
    """What a worker does with an item: it splits a text, and says where its machine code lies and what it compiled."""
    recorder = numba.core.event.RecordingListener()
    numba.core.event.register("numba:compile", recorder)

    def run(item: int) -> tuple[str, int]:
        TextBatch.of([f"Text number {item}."]).words("whitespace")
        return str(vars(numba.core.config)["CACHE_DIR"]), len(recorder.buffer)

    return run


@pytest.mark.parametrize("where", ["local", "ray"])
def test_workers_find_the_folder_for_themselves(where: str, request: pytest.FixtureRequest) -> None:
    TextBatch.of(["Compiled here."]).words("whitespace")
    engine: Engine = request.getfixturevalue("ray_engine") if where == "ray" else LocalEngine()
    outcomes = list(engine.map(split, [1, 2], resources=Resources(workers=2), label="split"))
    assert [each.result for each in outcomes] == [(str(cache_folder()), 0)] * 2
