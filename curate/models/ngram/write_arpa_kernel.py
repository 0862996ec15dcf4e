"""The lines of n-grams in an ARPA file.

    for block in lines(Lines(ngrams, probability, backoff), data, offsets):
        out.write(block)

An n-gram is a row of word numbers; the rows stand in the file in the order given. Values have 7 decimals, so
that the file is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.text.native import compiled

DECIMALS = 7
_UNIT = 10**DECIMALS
_WIDEST = 16  # of a value: sign, three digits, point, decimals, and a separator
_ROWS = 1 << 16


@dataclass(frozen=True)
class Lines:
    """N-grams of one order, a row each: word numbers, log10 probabilities, log10 back-offs or none."""

    ngrams: npt.NDArray[np.uint32]
    probability: npt.NDArray[np.float64]
    backoff: npt.NDArray[np.float64] | None


def lines(order: Lines, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> Iterator[bytes]:
    """The lines in blocks.

    Args:
        order: the n-grams.
        data: the words one after another, as UTF-8.
        offsets: where each word begins in `data`, and the end.
    """
    lengths = np.diff(offsets)
    for start in range(0, len(order.ngrams), _ROWS):
        rows = np.ascontiguousarray(order.ngrams[start : start + _ROWS])
        room = int(lengths[rows].sum()) + len(rows) * (rows.shape[1] + 2 * _WIDEST)
        left = np.rint(order.probability[start : start + _ROWS] * _UNIT).astype(np.int64)
        right = left
        if order.backoff is not None:
            right = np.rint(order.backoff[start : start + _ROWS] * _UNIT).astype(np.int64)
        buffer = np.empty(room, dtype=np.uint8)
        used = _render(rows, left, right, order.backoff is not None, data, offsets, buffer)
        yield buffer[:used].tobytes()


@compiled()
def _render(
    rows: npt.NDArray[np.uint32],
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    with_backoff: bool,
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
) -> int:
    """Lines of `probability <tab> words <tab> back-off`; the number of bytes written."""
    at = 0
    for i in range(len(rows)):
        at = _number(left[i], out, at)
        out[at] = 9
        at += 1
        for k in range(rows.shape[1]):
            if k:
                out[at] = 32
                at += 1
            for b in range(offsets[rows[i, k]], offsets[rows[i, k] + 1]):
                out[at] = data[b]
                at += 1
        if with_backoff:
            out[at] = 9
            at = _number(right[i], out, at + 1)
        out[at] = 10
        at += 1
    return at


@compiled()
def _number(value: int, out: npt.NDArray[np.uint8], at: int) -> int:
    """A fixed-point number with DECIMALS decimals; the place after it."""
    if value < 0:
        out[at] = 45
        at += 1
        value = -value
    whole = value // _UNIT
    digits = 1
    while whole >= 10**digits:
        digits += 1
    for d in range(digits):
        out[at + digits - 1 - d] = 48 + whole % 10
        whole //= 10
    at += digits
    out[at] = 46
    rest = value % _UNIT
    for d in range(DECIMALS):
        out[at + DECIMALS - d] = 48 + rest % 10
        rest //= 10
    return at + DECIMALS + 1
