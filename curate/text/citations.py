"""Citations of wiki pages, as C4 removes them: `[12]`, `[]`, `[edit]`, `[citation needed]`.

    data, offsets = without_citations(batch.data, batch.offsets)

Only these forms, in this case, and only ASCII digits.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from curate.text.batch import Bytes, Ints
from curate.text.native import kernel

Number = TypeVar("Number", bound=np.generic)

_EDIT = np.frombuffer(b"[edit", dtype=np.uint8)
_NEEDED = np.frombuffer(b"[citation needed", dtype=np.uint8)


def without_citations(data: Bytes, offsets: Ints) -> tuple[Bytes, Ints]:
    """The documents of a batch without citations; views of the arrays given where no document has a `]`.

    The result holds no citation: one that appears by the removal of another (`[[1]2]`) goes too.
    """
    data, offsets = read_only(data), read_only(offsets)
    first, last = int(offsets[0]), int(offsets[-1])
    if not (data[first:last] == ord("]")).any():
        return data, offsets
    out = np.empty(last - first, dtype=np.uint8)
    out_offsets = np.zeros(len(offsets), dtype=np.int64)
    _copy(data, offsets, out, out_offsets)
    return read_only(out), read_only(out_offsets)


def read_only(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """A read-only view, as the bytes of a batch are, so that a kernel is compiled for one type."""
    view = array.view()
    view.flags.writeable = False
    return view


@kernel
def _copy(data: Bytes, offsets: Ints, out: Bytes, out_offsets: Ints) -> None:
    """Copy the documents; at each closing bracket take back what is a citation by then.

    No run of digits is looked at twice: behind a bracket that closes no citation stands that bracket.
    """
    to = 0
    for row in range(len(offsets) - 1):
        begin = to
        for at in range(offsets[row], offsets[row + 1]):
            byte = data[at]
            if byte != 0x5D:
                out[to] = byte
                to += 1
                continue
            opening = to
            while opening > begin and 0x30 <= out[opening - 1] <= 0x39:
                opening -= 1
            if opening > begin and out[opening - 1] == 0x5B:
                to = opening - 1
            elif _ends_with(out, begin, to, _EDIT):
                to -= len(_EDIT)
            elif _ends_with(out, begin, to, _NEEDED):
                to -= len(_NEEDED)
            else:
                out[to] = byte
                to += 1
        out_offsets[row + 1] = to


@kernel
def _ends_with(data: Bytes, low: int, end: int, phrase: Bytes) -> bool:
    """Whether data[low:end] ends with the phrase."""
    size = len(phrase)
    if end - low < size:
        return False
    at = end - size
    for k in range(size):  # noqa: SIM110  # numba compiles no generator expression
        if data[at + k] != phrase[k]:
            return False
    return True
