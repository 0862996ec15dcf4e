from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.dataset import Dataset
from tests.steps.synthesize.recipe_runs import run_every


@pytest.fixture(scope="session")
def made(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Dataset]]:
    """The folder of a run of every recipe, and its datasets."""
    return run_every(tmp_path_factory.mktemp("recipes"), shared)
