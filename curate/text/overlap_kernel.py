"""The kernels of `curate.text.overlap`: longest common subsequences, and what two sets of numbers share.

The length of a longest common subsequence is found 64 words at a time (Crochemore et al. 2001, Hyyro 2004): bit i of
V is 0 where a word of the text has made the subsequence of the first i words one longer, and each word of the text
changes all bits by an addition. Of a longer pattern each 64 words are one pass over the text, and the carry of an
addition is kept for the next pass, so that the memory is that of the vocabulary and of one text.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.native import Bytes, Floats, Ints, Keys, kernel

Ids = npt.NDArray[np.int32]

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_1, _2, _4, _56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_ODD, _PAIRS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_NIBBLES, _BYTES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_WIDTH = 64


@kernel
def _ones(bits: np.uint64) -> int:
    """How many bits are set."""
    bits = bits - ((bits >> _1) & _ODD)
    bits = (bits & _PAIRS) + ((bits >> _2) & _PAIRS)
    bits = (bits + (bits >> _4)) & _NIBBLES
    return int((bits * _BYTES) >> _56)


@kernel
def _set(words: Ids, begin: int, end: int, mask: Keys) -> None:
    for i in range(begin, end):
        mask[words[i]] |= _1 << np.uint64(i - begin)


@kernel
def _clear(words: Ids, begin: int, end: int, mask: Keys) -> None:
    for i in range(begin, end):
        mask[words[i]] = 0


@kernel
def _short(text: Ids, begin: int, end: int, mask: Keys) -> int:
    """The length for a pattern of at most 64 words whose bits are set."""
    v = _ALL
    for j in range(begin, end):
        u = v & mask[text[j]]
        v = (v + u) | (v - u)
    return _ones(~v)


@kernel
def _long(words: Ids, start: int, stop: int, text: Ids, begin: int, end: int, mask: Keys, carry: Bytes) -> int:
    """The length for a pattern of any length; `mask` is all 0 before and after."""
    length = 0
    carry[: end - begin] = 0
    for block in range(start, stop, _WIDTH):
        last = min(block + _WIDTH, stop)
        _set(words, block, last, mask)
        v = _ALL
        for j in range(begin, end):
            u = v & mask[text[j]]
            half = v + u
            total = half + np.uint64(carry[j - begin])
            carry[j - begin] = (half < v) | (total < half)
            v = total | (v - u)
        _clear(words, block, last, mask)
        # Bits past the pattern's end have no words and stay 1, whatever is carried into them.
        length += _ones(~v)
    return length


@kernel
def common_lengths(
    a: Ids, a_at: Ints, b: Ids, b_at: Ints, row: Ints, other: Ints, mask: Keys, carry: Bytes, out: Ints
) -> None:
    """Fill in `out[k]`, the length of a longest common subsequence of text `row[k]` of a and text `other[k]` of b.

    Args:
        a, b: words by their numbers in one vocabulary, all texts after one another; text i ends at `at[i + 1]`.
        mask: zeros, as many as words in the vocabulary.
        carry: as many as the longest text of a or b has words.
    """
    for k in range(len(row)):
        start, stop = a_at[row[k]], a_at[row[k] + 1]
        begin, end = b_at[other[k]], b_at[other[k] + 1]
        # The shorter one is the pattern: fewer passes.
        if stop - start <= end - begin:
            out[k] = _long(a, start, stop, b, begin, end, mask, carry)
        else:
            out[k] = _long(b, begin, end, a, start, stop, mask, carry)


@kernel
def closest(
    query: Ids, words: Ids, at: Ints, texts: int, floor: float, first: bool, mask: Keys, carry: Bytes, best: Floats
) -> int:
    """The text with the highest 2 * common / (words of both) above `floor`, the first of equals; -1 where none is.

    Args:
        query: the words of one text.
        words: those of the others; text i ends at `at[i + 1]`.
        texts: how many others there are.
        first: stop at the first text above the floor.
        mask: as in `common_lengths`.
        carry: as many as the longest of the others has words.
        best: one number, which becomes the highest value.
    """
    size = len(query)
    found = -1
    best[0] = floor
    if size <= _WIDTH:
        _set(query, 0, size, mask)
    for i in range(texts):
        begin, end = at[i], at[i + 1]
        both = size + end - begin
        # No subsequence is longer than the shorter text.
        if both == 0 or 2.0 * min(size, end - begin) / both <= best[0]:
            continue
        if size <= _WIDTH:
            length = _short(words, begin, end, mask)
        else:
            length = _long(query, 0, size, words, begin, end, mask, carry)
        value = 2.0 * length / both
        if value > best[0]:
            best[0] = value
            found = i
            if first:
                break
    if size <= _WIDTH:
        _clear(query, 0, size, mask)
    return found


@kernel
def shared(a: Keys, a_at: Ints, b: Keys, b_at: Ints, row: Ints, other: Ints, out: Ints) -> None:
    """Fill in `out[k]`, how many numbers are both in set `row[k]` of a and in set `other[k]` of b; sets are sorted."""
    for k in range(len(row)):
        i, stop = a_at[row[k]], a_at[row[k] + 1]
        j, end = b_at[other[k]], b_at[other[k] + 1]
        count = 0
        while i < stop and j < end:
            x, y = a[i], b[j]
            count += x == y
            i += x <= y
            j += y <= x
        out[k] = count
