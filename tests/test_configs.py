"""What a newcomer starts from works as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curate.config import parse
from curate.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: p.name)
def test_every_config_is_valid(path: Path) -> None:
    assert Pipeline.load(str(path)).nodes


def test_the_pipeline_of_the_readme_is_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert [node.name for node in Pipeline.of(parse(block, "README.md")).nodes][-1] == "out"


@pytest.mark.slow
def test_the_quickstart_keeps_the_good_and_drops_the_spoilt(tmp_path: Path) -> None:
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
