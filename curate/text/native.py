"""The decorator of the kernels that walk over bytes.

    @kernel
    def count_bytes(data, wanted): ...

Numba counts references to arrays with atomic instructions at nearly every call, which makes helpers that
take an array up to three times slower. A kernel borrows its arrays and allocates none, so that it
can do without (`_nrt=False`); a function that does allocate uses `numba.njit` itself. Two kernels that call
each other crash when they are read back from numba's cache, so none do.

The annotations of a kernel are for its readers: numba compiles it for the arguments of the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Chars = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Props = npt.NDArray[np.uint16]

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile a function that borrows its arrays, at its first call; the result is cached on disk."""
    # numba's types leave out _nrt
    compiled: Function = njit(cache=True, nogil=True, _nrt=False)(function)  # type: ignore[call-overload]
    return compiled


def inlined(function: Function) -> Function:
    """The same, copied into the functions that call it."""
    # numba's types leave out _nrt
    decorator = njit(cache=True, nogil=True, _nrt=False, inline="always")  # type: ignore[call-overload]
    compiled: Function = decorator(function)
    return compiled
