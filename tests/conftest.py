from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from curate.core import bits
from curate.core.engine import Engine

# As a process that loads a model does, before a test can use torch.
bits.settle()
# As many tests run at once as there are cores: threads of two that share a core wait for each other, and busily.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says nothing: the first call of a kernel compiles it, and machines are busy.
settings.register_profile("curate", deadline=None)
settings.load_profile("curate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What neural models stand on is tested first: where that is at fault, many others are for the same reason.

    The other files that need Ray are next, so that of several processes that share the tests only the first starts it.
    """
    ray = {item.path for item in items if "ray_engine" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: (item.path.name != "test_products.py", item.path not in ray))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real test data, beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        if os.environ.get("CI"):
            pytest.fail("the real test data is missing: CI needs ../shared")
        pytest.skip("the real test data is not here (../shared)")
    return folder


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[Engine]:
    """Ray on this machine, for as long as the tests run."""
    pythonpath = os.environ.get("PYTHONPATH", "")
    # Workers import test modules by name, as this process does.
    os.environ["PYTHONPATH"] = os.pathsep.join([p for p in (pythonpath, *sys.path) if p])
    engine = importlib.import_module("curate.core.engine.ray").RayEngine()
    yield engine
    engine.close()
    os.environ["PYTHONPATH"] = pythonpath
