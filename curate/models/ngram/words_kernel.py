"""Compiled: the words of texts after a normaliser and a tokeniser, by a table of what each character becomes.

What a character becomes is a run of bytes of a pool in which a space ends a word. The table's entry for a code point is

    0                                   not worked out yet
    CONTEXT                             it depends on its neighbours
    1 + (length << 1) + (start << 8)    those bytes of the pool

and for ASCII there is a shorter table: the one byte that a character becomes, GONE, or ALONE for one that is a word.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.native import Bytes, Ints, Keys, inlined, kernel
from curate.text.simd import BASE
from curate.text.utf8 import decode, hash_bytes

CONTEXT = 2
GONE, ALONE = -1, -2
MOST = 3  # bytes that a byte of text can become
DONE, UNKNOWN, LEFT = range(3)  # all texts; a character is not in the table; a text has one with CONTEXT

_ONE = np.uint64(1)

Codes = npt.NDArray[np.uint32]
Ascii = npt.NDArray[np.int16]


@inlined
def _special(out: Bytes, start: int, end: int) -> bool:
    """Whether a word is <s>, </s> or <unk>."""
    size = end - start
    if size < 3 or size > 5 or out[start] != 60 or out[end - 1] != 62:
        return False
    one, two, three = out[start + 1], out[start + 2], out[start + 3]
    if size == 3:
        special = one == 115
    elif size == 4:
        special = one == 47 and two == 115
    else:
        special = one == 117 and two == 110 and three == 107
    return bool(special)


@kernel
def form_words(
    data: Bytes,
    offsets: Ints,
    codes: Codes,
    pool: Bytes,
    ascii_table: Ascii,
    here: Ints,
    out: Bytes,
    bounds: Ints,
    hashes: Keys,
    firsts: Ints,
) -> int:
    """Go on with the texts from `here`: text, position, bytes of words so far, words so far.

    Word i becomes out[bounds[i] : bounds[i + 1]], and those of text k are `firsts[k]` up to `firsts[k + 1]`. It
    stops where a character is not in the table, to be called again when it is, and at a text with a character that
    depends on its neighbours, of which nothing is left then.
    """
    text, at, to, count = here[0], here[1], here[2], here[3]
    begin = bounds[count]
    key = hash_bytes(out, begin, to)
    while text < len(offsets) - 1:
        end = offsets[text + 1]
        while at < end:
            byte = np.int64(data[at])
            if byte < 128:
                at += 1
                made = np.int64(ascii_table[byte])
                if made >= 0 and made != 32:
                    out[to] = made
                    to += 1
                    key = key * BASE + np.uint64(made) + _ONE
                elif made != GONE:
                    if to > begin:
                        if _special(out, begin, to):
                            to = begin
                        else:
                            hashes[count] = key
                            count += 1
                            bounds[count] = to
                            begin = to
                        key = np.uint64(0)
                    if made == ALONE:
                        out[to] = byte
                        to += 1
                        hashes[count] = np.uint64(byte) + _ONE
                        count += 1
                        bounds[count] = to
                        begin = to
                continue
            code, size = decode(data, at, end)
            entry = np.int64(codes[code])
            if entry & 1 == 0:
                if entry == CONTEXT:
                    count = firsts[text]
                    to = bounds[count]
                    at = offsets[text]
                here[0], here[1], here[2], here[3] = text, at, to, count
                return LEFT if entry == CONTEXT else UNKNOWN
            at += size
            start = entry >> 8
            for k in range(start, start + ((entry >> 1) & 127)):
                made = pool[k]
                if made != 32:
                    out[to] = made
                    to += 1
                    key = key * BASE + np.uint64(made) + _ONE
                elif to > begin:
                    if _special(out, begin, to):
                        to = begin
                    else:
                        hashes[count] = key
                        count += 1
                        bounds[count] = to
                        begin = to
                    key = np.uint64(0)
        if to > begin:
            if _special(out, begin, to):
                to = begin
            else:
                hashes[count] = key
                count += 1
                bounds[count] = to
                begin = to
            key = np.uint64(0)
        text += 1
        firsts[text] = count
        if text < len(offsets) - 1:
            at = offsets[text]
    here[0], here[1], here[2], here[3] = text, at, to, count
    return DONE


@kernel
def hash_words(out: Bytes, bounds: Ints, hashes: Keys, first: int, last: int) -> None:
    """The hashes of words that are in place."""
    for i in range(first, last):
        hashes[i] = hash_bytes(out, bounds[i], bounds[i + 1])
