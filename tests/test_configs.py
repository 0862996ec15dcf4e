"""What a newcomer starts from works as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curate.core.config import parse
from curate.generate.prices import load_prices
from curate.pipeline import Pipeline, open_run
from tests.golden.record import PIPELINES, ROOT, check_or_keep


@pytest.mark.parametrize("path", PIPELINES, ids=lambda p: p.name)
def test_every_config_is_valid(path: Path) -> None:
    assert Pipeline.load(str(path)).nodes


def test_the_prices_that_come_along_can_be_read() -> None:
    assert load_prices(str(ROOT / "configs" / "prices.yaml"))["gpt-4o-mini"].prompt == 150_000


def test_the_pipeline_of_the_readme_is_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert [node.name for node in Pipeline.of(parse(block, "README.md")).nodes][-1] == "out"


@pytest.mark.slow
def test_the_quickstart_keeps_the_good_and_drops_the_corrupted(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    quickstart = "configs/quickstart"
    for command in (
        [f"{quickstart}/generate.py", "build/quickstart"],
        ["-m", "curate", "run", f"{quickstart}/pipeline.yaml"],
        [f"{quickstart}/check.py", "runs/quickstart"],
    ):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    found = re.search(r"precision ([\d.]+), recall ([\d.]+)", done.stdout)
    assert found
    assert float(found[1]) > 0.92 and float(found[2]) > 0.96
    check_or_keep("quickstart", tmp_path)


@pytest.mark.slow
def test_the_quickstart_of_synthesis_asks_nobody_and_the_student_learns(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    command = [sys.executable, "-m", "curate", "run", "configs/quickstart/questions.yaml", "--replay"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    student = open_run(str(tmp_path / "runs" / "quickstart-questions"))["student"]
    table: Any = student.manifest.details["table"]
    alone, made, _ = (line["accuracy"] for line in table)
    assert made > alone + 0.15
    check_or_keep("quickstart-questions", tmp_path)
