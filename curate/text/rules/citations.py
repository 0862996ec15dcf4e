"""Citations of wiki pages, as C4 removes them: `[12]`, `[]`, `[edit]`, `[citation needed]`.

    data, offsets = without_citations(batch.data, batch.offsets)

Only these forms, in this case, and only ASCII digits.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from curate.text.native import Bytes, Ints, kernel

Number = TypeVar("Number", bound=np.generic)

_EDIT = np.frombuffer(b"[edit", dtype=np.uint8)
_NEEDED = np.frombuffer(b"[citation needed", dtype=np.uint8)


def without_citations(data: Bytes, offsets: Ints) -> tuple[Bytes, Ints]:
    """The documents of a batch without citations; views of the arrays given where no document has one.

    The result holds no citation: one that appears by the removal of another (`[[1]2]`) goes too.
    """
    data, offsets = read_only(data), read_only(offsets)
    first, last = int(offsets[0]), int(offsets[-1])
    closing = np.flatnonzero(data[first:last] == ord("]")) + first
    if not _any(data, offsets, closing):
        return data, offsets
    out = np.empty(last - first, dtype=np.uint8)
    out_offsets = np.zeros(len(offsets), dtype=np.int64)
    _copy(data, offsets, closing, out, out_offsets)
    return read_only(out), read_only(out_offsets)


def read_only(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """A read-only view, as the bytes of a batch are, so that a kernel is compiled for one type."""
    view = array.view()
    view.flags.writeable = False
    return view


@kernel
def _any(data: Bytes, offsets: Ints, closing: Ints) -> bool:
    """Whether any of the closing brackets closes a citation: the first to be removed is one as it stands."""
    row = 0
    for at in closing:
        while offsets[row + 1] <= at:
            row += 1
        if _citation(data, offsets[row], at) < at:
            return True
    return False


@kernel
def _copy(data: Bytes, offsets: Ints, closing: Ints, out: Bytes, out_offsets: Ints) -> None:
    """Copy the documents; at each closing bracket take back what is a citation by then."""
    to = 0
    bracket = 0
    for row in range(len(offsets) - 1):
        begin = to
        at = offsets[row]
        stop = offsets[row + 1]
        while at < stop:
            until = closing[bracket] if bracket < len(closing) and closing[bracket] < stop else stop
            source, target = data[at:until], out[to : to + until - at]
            for k in range(len(source)):
                target[k] = source[k]
            to += until - at
            if until < stop:
                bracket += 1
                opening = _citation(out, begin, to)
                if opening == to:
                    out[to] = 0x5D
                    opening += 1
                to = opening
            at = until + 1
        out_offsets[row + 1] = to


@kernel
def _citation(data: Bytes, low: int, end: int) -> int:
    """Where the citation starts that a bracket at `end` would close; `end` where it would close none.

    No run of digits is looked at twice: behind a bracket that closes no citation stands that bracket.
    """
    opening = end
    while opening > low and 0x30 <= data[opening - 1] <= 0x39:
        opening -= 1
    if opening > low and data[opening - 1] == 0x5B:
        return opening - 1
    if _ends_with(data, low, end, _EDIT):
        return end - len(_EDIT)
    if _ends_with(data, low, end, _NEEDED):
        return end - len(_NEEDED)
    return end


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
