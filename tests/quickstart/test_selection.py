"""The quickstart of selection, small: what was picked for a task is of that task."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.record import ROOT, check_or_keep

# A smaller model that learns less, on a smaller pool.
SMALLER = {
    "model.train.causal_lm.tokens": 30000,
    "pool_gradients.features.gradient.dim": 256,
    "target_gradients.features.gradient.dim": 256,
    **{f"{name}.select.budget": 14 for name in ("by_chance", "longest", "by_words", "by_states", "by_gradients")},
}


@pytest.mark.slow
def test_methods_that_know_the_target_find_its_task_and_the_others_do_not(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    quickstart = "configs/quickstart"
    sets = [word for key, value in SMALLER.items() for word in ("--set", f"steps.{key}={value}")]
    for command in (
        [f"{quickstart}/conversations.py", "build/conversations", "--rows", "160"],
        ["-m", "curate", "run", f"{quickstart}/selection.yaml", "--workers", "1", "--progress", "quiet", *sets],
        [f"{quickstart}/check_selection.py", "runs/quickstart-selection", "arithmetic"],
    ):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    found = {name: int(share) for name, share in re.findall(r"^  (\w+), by \w+ +\d+ +(\d+)%", done.stdout, re.M)}
    assert set(found) == {"by_chance", "longest", "by_words", "by_states", "by_gradients"}
    # About one row in five of the pool is of the task.
    assert max(found["by_chance"], found["longest"]) < 45
    assert min(found["by_words"], found["by_states"], found["by_gradients"]) > 60
    check_or_keep("quickstart-selection", tmp_path)
