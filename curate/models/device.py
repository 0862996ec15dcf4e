"""The packages, the device and the threads that a neural model runs with.

require()
with threads(1):
    model.to(choose("auto"))
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from curate.core import bits
from curate.core.errors import ModelError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
_COMPATIBLE, _STRICT = 3, 0x10000  # MKL_CBWR_COMPATIBLE, MKL_CBWR_STRICT
# Shapes of products, inputs and outputs, at which libraries change their kernels, and numbers of rows.
_SHAPES = ((16, 16), (33, 37), (64, 256), (100, 37), (384, 64), (384, 384), (96, 1000), (1536, 384), (500, 3))
_ROWS = (1, 2, 3, 5, 7, 8, 13, 24, 40, 240)
_TOTAL = 480


def require() -> None:
    """See that the packages of the extra `neural` are here, and compute the same bits in any company.

    Raises:
        ModelError: a package is not here.
    """
    # The tokenizers' own threads compete with the workers, and warn at every process that starts later.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    bits.settle()
    for name in ("torch", "transformers"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise ModelError(
                f"neural models need the package `{name}`, which is not here: pip install 'curate-data[neural]'"
            ) from None


def choose(device: Device) -> str:
    """`cpu` or `cuda`: with `auto` the GPU where there is one, and bits are not to be portable.

    Raises:
        ModelError: a GPU was asked for and there is none, or bits are to be portable and cannot be.
    """
    import torch

    portable = bits.mode() == "portable"
    there = torch.cuda.is_available()
    if device == "cuda" and portable:
        raise ModelError("bits are portable on a CPU alone; set `device:` to cpu or auto, or leave out --bits portable")
    if device == "cuda" and not there:
        raise ModelError("no GPU here; set `device:` to cpu or auto")
    if device != "cpu" and there and not portable:
        bits.use(torch.cuda.get_device_name())
        return "cuda"
    if portable:
        _check_portable()
    bits.use(f"{bits.processor()} MKL not strict" if _used_first() else None)
    return "cpu"


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


def square_root_(values: torch.Tensor) -> torch.Tensor:
    """The square root in place, correctly rounded on a CPU: MKL's is not, and differs between processors."""
    if values.device.type != "cpu":
        return values.sqrt_()
    np.sqrt(values.numpy(), out=values.numpy())
    return values


@functools.cache
def product_rows() -> int:
    """Of what the number of rows must be a multiple for a matrix product to give each the bits that it gets alone.

    1 for any number; 8, and then only of matrices that are not tiny and have a multiple of four outputs, as others go
    through other code; or 0: no number will do. That is found out by some thousand small products.
    Where MKL was asked to be strict and is not, as torch was used before a model was loaded, a warning says so, once.
    """
    if _used_first():
        warnings.warn(
            "torch was used before curate loaded a model, so that MKL is not strict: rows may have to be computed one"
            " at a time, which takes longer, and their last bits may be others than in a process that loaded its model"
            " first. Set MKL_CBWR=AUTO,STRICT before Python starts, or load a model first",
            RuntimeWarning,
            stacklevel=2,
        )
    return next((unit for unit in (1, 8) if _invariant(unit)), 0)


def _invariant(unit: int) -> bool:
    import torch

    linear, random = torch.nn.functional.linear, torch.Generator().manual_seed(0)
    with threads(1):
        for inputs, outputs in _SHAPES if unit == 1 else [each for each in _SHAPES if not each[1] % 4]:
            weight, bias, every = (
                torch.randn(*shape, generator=random) for shape in ((outputs, inputs), (outputs,), (_TOTAL, inputs))
            )
            for added in (None, bias):
                found = linear(every, weight, added)
                for rows in (each for each in _ROWS if not each % unit):
                    for at in range(0, _TOTAL - rows + 1, max(rows, 24)):
                        if not torch.equal(linear(every[at : at + rows], weight, added), found[at : at + rows]):
                            return False
    return True


def _used_first() -> bool:
    """Whether torch multiplied before MKL was asked to be strict, so that it is not."""
    found = reproducibility()
    return found is not None and not found & _STRICT and "STRICT" in os.environ.get("MKL_CBWR", "")


def reproducibility() -> int | None:
    """The mode of reproducibility that MKL is in, a branch and flags as its mkl_cbwr_get has them; None without MKL."""
    import torch

    try:
        library = ctypes.CDLL(os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so"))
        return int(library.mkl_serv_cbwr_get(-1))
    except (OSError, AttributeError):
        return None


def _check_portable() -> None:
    """See that MKL and torch compute as asked.

    Raises:
        ModelError: they do not, as the processor has no AVX2 or torch no MKL.
    """
    import torch

    found = reproducibility()
    if found is None or found & 0xFFFF != _COMPATIBLE or torch.backends.cpu.get_cpu_capability() != "AVX2":
        raise ModelError(
            "bits are portable on x86-64 processors with AVX2 and builds of torch with MKL, and this is none"
            " (or torch was used before); leave out --bits portable"
        )
    features: dict[str, bool] = getattr(
        importlib.import_module("numpy._core._multiarray_umath"), "__cpu_features__", {}
    )
    if features.get("AVX512_SKX") or features.get("X86_V4"):
        raise ModelError(
            "bits are to be portable, and numpy was imported before it could know: set curate.core.bits.PORTABLE in the"
            " environment before numpy is imported, or use `curate run --bits portable`"
        )
