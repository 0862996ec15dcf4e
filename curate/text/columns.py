"""Arrow columns of NumPy values, without pandas.

    column(np.array([0.5, 1.0]))        # a pa.DoubleArray over the same memory

`pyarrow.array` imports pandas where it is installed, which takes longer than the start of a worker may.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def column(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """The values of one dimension, numbers or booleans; null where they are not valid."""
    mask = None if valid is None else _bits(valid)
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(pa.bool_(), len(values), [mask, _bits(values)])
    whole = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(whole.dtype), len(whole), [mask, pa.py_buffer(whole)])


def names(strings: Sequence[str]) -> pa.Array:
    """A string array of a few names, to `take` from."""
    raw = [each.encode() for each in strings]
    offsets = np.cumsum([0, *map(len, raw)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(raw), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(raw))])


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
