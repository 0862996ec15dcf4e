"""The packages, the device and the threads that a neural model runs with.

require()
with threads(1):
    model.to(choose("auto"))
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Literal

from curate.errors import ModelError

Device = Literal["auto", "cpu", "cuda"]


def require() -> None:
    """See that the packages of the extra `neural` are here.

    Raises:
        ModelError: one is not.
    """
    # The tokenizers' own threads compete with the workers, and warn at every process that starts later.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in ("torch", "transformers"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise ModelError(
                f"neural models need the package `{name}`, which is not here: pip install 'curate-data[neural]'"
            ) from None


def choose(device: Device) -> str:
    """`cpu` or `cuda`: with `auto` the GPU where there is one.

    Raises:
        ModelError: a GPU was asked for and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise ModelError("no GPU here; set `device:` to cpu or auto")
    return "cuda" if device != "cpu" and there else "cpu"


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads for the length of the block: sums may depend on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def deterministic(count: int) -> Iterator[None]:
    """Train with so many threads and with algorithms that give the same bits every time, for the block."""
    import torch

    # cuBLAS needs a workspace of fixed size for it, named before the first call.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with threads(count):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
