"""Write an n-gram model as an ARPA file.

    write_arpa(stream, ["<unk>", "<s>", "</s>", "a"], [(words, probability, backoff)])

An n-gram is a row of word numbers; the rows stand in the file in the order given. Values have 7 decimals, so
that the file is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from numba import njit

Order = tuple[npt.NDArray[np.uint32], npt.NDArray[np.float64], npt.NDArray[np.float64]]

DECIMALS = 7
_UNIT = 10**DECIMALS
_WIDEST = 16  # of a value: sign, three digits, point, decimals, and a separator
_ROWS = 1 << 16


def write_arpa(out: BinaryIO, words: Sequence[str], orders: Sequence[Order]) -> None:
    """Write all orders, the lowest first: word numbers, log10 probabilities, log10 back-offs.

    The back-offs of the highest order are not written and may be empty.
    """
    out.write(b"\\data\\\n")
    for n, (ngrams, _, _) in enumerate(orders, start=1):
        out.write(f"ngram {n}={len(ngrams)}\n".encode())
    encoded = [word.encode() for word in words]
    data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    offsets = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum([len(word) for word in encoded], out=offsets[1:])
    for n, order in enumerate(orders, start=1):
        out.write(f"\n\\{n}-grams:\n".encode())
        for block in _blocks(order, data, offsets, n < len(orders)):
            out.write(block)
    out.write(b"\n\\end\\\n")


def _blocks(
    order: Order, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], with_backoff: bool
) -> Iterator[bytes]:
    ngrams, probability, backoff = order
    lengths = np.diff(offsets)
    for start in range(0, len(ngrams), _ROWS):
        rows = np.ascontiguousarray(ngrams[start : start + _ROWS])
        room = int(lengths[rows].sum()) + len(rows) * (rows.shape[1] + 2 * _WIDEST)
        left = np.rint(probability[start : start + _ROWS] * _UNIT).astype(np.int64)
        right = np.rint(backoff[start : start + _ROWS] * _UNIT).astype(np.int64) if with_backoff else left
        buffer = np.empty(room, dtype=np.uint8)
        used = _render(rows, left, right, with_backoff, data, offsets, buffer)
        yield buffer[:used].tobytes()


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
