"""Classes of characters as bitmaps, a bit for each byte, in which kernels look for the next of a class.

    bits = bitmaps(data, offsets)               # eight numbers for each 64 bytes, one a class
    stop = next_set(bits, SPACE, at, end)       # the first byte from `at` that is white space, or `end`

| class | what it marks |
| --- | --- |
| `START` | the first byte of each character; an invalid sequence is one where Python's "replace" makes it one |
| `WORD` | letters and digits of the word-break classes ALetter and Numeric, which all join, but none of `DICTIONARY` |
| `SPACE` | White_Space |
| `BLANK` | what `str.split` takes for white space: `SPACE` and four separators of ASCII |
| `BREAK` | the first byte of what `str.splitlines` takes for the end of a line |
| `STOP` | `.`, `?` and `!` |
| `SYMBOL` | where `#`, `...`, `. . .` or U+2026 may stand |
| `PHRASE` | where C4 may find a word or a character that it looks for |

All bytes of a character are marked, but for `START` and `BREAK`. The last two classes are wider than their rules:
whoever uses them looks at the text too.
"""

from __future__ import annotations

import numpy as np

from curate.text.native import Bytes, Ints, Keys, Props, inlined, kernel
from curate.text.props import ALETTER, ALNUM, CLASS_MASK, DICTIONARY, NUMERIC, PROPS
from curate.text.simd import (
    AHEAD,
    BLANK,
    BLOCK,
    BREAK,
    CLASSES,
    PHRASE,
    SPACE,
    START,
    STOP,
    SYMBOL,
    WORD,
    block,
    leading_zeros,
    ones,
    trailing_zeros,
)
from curate.text.utf8 import decode, is_space

__all__ = [
    "BLANK", "BREAK", "PHRASE", "SPACE", "START", "STOP", "SYMBOL", "WORD",
    "bitmaps", "count_runs", "count_set", "is_set", "next_clear", "next_set", "previous_set", "runs", "trimmed",
    "window",
]  # fmt: skip

_WORD = ALNUM | DICTIONARY
_ONE, _6, _63 = np.uint64(1), np.uint64(6), np.uint64(63)
_CLASSES = np.uint64(CLASSES)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


def bitmaps(data: Bytes, offsets: Ints) -> Keys:
    """The bitmaps of the texts that `offsets` bounds; what lies outside them is left undefined."""
    out = np.empty((len(data) // BLOCK + 2) * CLASSES, dtype=np.uint64)
    _ascii(data, int(offsets[0]), int(offsets[-1]), np.zeros(BLOCK + 1 + AHEAD, dtype=np.uint8), out)
    _beyond_ascii(data, offsets, PROPS, out)
    return out


@kernel
def _ascii(data: Bytes, start: int, end: int, edge: Bytes, out: Keys) -> None:
    """Every byte by itself: those beyond ASCII are of no class, not even `START`."""
    for row in range(start // BLOCK, (end + BLOCK - 1) // BLOCK):
        at = row * BLOCK
        if at > 0 and at + BLOCK + AHEAD <= len(data):
            found = block(data, at)
        else:  # a copy has bytes around the block
            for k in range(len(edge)):
                here = at + k - 1
                edge[k] = data[here] if 0 <= here < len(data) else 0
            found = block(edge, 1)
        for k in range(CLASSES):
            out[row * CLASSES + k] = found[k]


@kernel
def _beyond_ascii(data: Bytes, offsets: Ints, props: Props, out: Keys) -> None:
    """The characters of several bytes, one by one."""
    for row in range(len(offsets) - 1):
        stop = offsets[row + 1]
        at = next_clear(out, START, offsets[row], stop)
        while at < stop:
            while at < stop and data[at] >= 0x80:
                code, size = decode(data, at, stop)
                _mark(out, START, at)
                kind = props[code] & CLASS_MASK
                if kind in (ALETTER, NUMERIC) and props[code] & _WORD == ALNUM:
                    for k in range(at, at + size):
                        _mark(out, WORD, k)
                elif is_space(code):
                    for k in range(at, at + size):
                        _mark(out, SPACE, k)
                        _mark(out, BLANK, k)
                    if code == 0x85 or code == 0x2028 or code == 0x2029:
                        _mark(out, BREAK, at)
                at += size
            at = next_clear(out, START, at, stop)


@inlined
def _row(kind: int, at: int) -> np.uint64:
    """Where the bits of a class are for the block of `at`; unsigned, as Numba looks at the sign of an index."""
    return (np.uint64(at) >> _6) * _CLASSES + np.uint64(kind)


@inlined
def _mark(bits: Keys, kind: int, at: int) -> None:
    bits[_row(kind, at)] |= _ONE << np.uint64(at & 63)


@inlined
def is_set(bits: Keys, kind: int, at: int) -> bool:
    """Whether the byte at `at` is of the class."""
    return bool((bits[_row(kind, at)] >> np.uint64(at & 63)) & _ONE != 0)


@inlined
def window(bits: Keys, kind: int, at: int) -> np.uint64:
    """The bits of the class for the 64 bytes from `at`, the first the lowest."""
    row = _row(kind, at)
    shift = np.uint64(at & 63)
    found: np.uint64 = (bits[row] >> shift) | ((bits[row + _CLASSES] << _ONE) << (_63 ^ shift))
    return found


@inlined
def next_set(bits: Keys, kind: int, at: int, end: int) -> int:
    """The first byte of the class in [at, end), or `end`."""
    found = window(bits, kind, at)
    while found == 0 and at + 64 < end:
        at += 64
        found = window(bits, kind, at)
    return min(at + trailing_zeros(found), end)


@inlined
def next_clear(bits: Keys, kind: int, at: int, end: int) -> int:
    """The first byte in [at, end) that is not of the class, or `end`."""
    found = ~window(bits, kind, at)
    while found == 0 and at + 64 < end:
        at += 64
        found = ~window(bits, kind, at)
    return min(at + trailing_zeros(found), end)


@inlined
def trimmed(bits: Keys, kind: int, start: int, end: int) -> int:
    """The end of what is before `end` once bytes of the class are taken off, or `start`."""
    while end > start and is_set(bits, kind, end - 1):
        end -= 1
    return end


@kernel
def runs(bits: Keys, kind: int, start: int, end: int, first: Ints, last: Ints, count: int) -> int:
    """Append the bounds of the stretches of [start, end) that have no byte of the class; return the new count.

    One word of bits after the other, as the words of a text follow each other too fast for a search for each.
    """
    outside = _ONE  # whether the byte before is of the class, or none is
    at = start & ~63
    edge = 2 * count
    while at < end:
        here = bits[_row(kind, at)]
        if at < start:
            here |= ~(_ALL << np.uint64(start - at))
        if end - at < 64:
            here |= _ALL << np.uint64(end - at)
        edges = here ^ ((here << _ONE) | outside)
        outside = here >> _63
        while edges != 0:
            if edge & 1:
                last[edge >> 1] = at + trailing_zeros(edges)
            else:
                first[edge >> 1] = at + trailing_zeros(edges)
            edge += 1
            edges &= edges - _ONE
        at += 64
    if edge & 1:
        last[edge >> 1] = end
        edge += 1
    return edge >> 1


@kernel
def previous_set(bits: Keys, kind: int, start: int, at: int) -> int:
    """Behind the last byte of the class in [start, at), or `start`."""
    while at > start:
        last = at - 1
        found = bits[_row(kind, last)] << np.uint64(63 - (last & 63))
        if found != 0:
            return max(at - leading_zeros(found), start)
        at = last & ~63
    return start


@inlined
def count_set(bits: Keys, kind: int, start: int, end: int) -> int:
    """How many bytes of [start, end) are of the class."""
    count = 0
    while start + 64 < end:
        count += ones(window(bits, kind, start))
        start += 64
    if start < end:
        count += ones(window(bits, kind, start) << np.uint64(64 - (end - start)))
    return count


@kernel
def count_runs(bits: Keys, kind: int, start: int, end: int) -> int:
    """How many stretches of [start, end) have no byte of the class, as words are between white space."""
    count = 0
    carry = np.uint64(0)  # whether the byte before is of a stretch
    while start < end:
        inside = ~window(bits, kind, start)
        if end - start < 64:
            inside &= _ALL >> np.uint64(64 - (end - start))
        count += ones(inside & ~((inside << _ONE) | carry))
        carry = inside >> _63
        start += 64
    return count
