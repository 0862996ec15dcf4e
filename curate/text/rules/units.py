"""Lines and paragraphs as the implementations of Gopher's repetition rules cut them.

    units, chars = line_units(...)              # fills `keys` and `sizes`
    again, again_chars, every, every_chars = repeated(keys, sizes, units, count, table)

| | a line | a paragraph |
| --- | --- | --- |
| `datatrove` | between runs of line feeds; at an end of the text an empty one | between empty lines |
| `dclm`, for paragraphs also `dolma` | stripped, not blank | the same, stripped, not blank |
| `dolma` | between line feeds, blank ones too | |
| `nemo` | between line feeds, not blank | between two line feeds |
"""

from __future__ import annotations

import numpy as np

from curate.text.bitmaps import START, count_set
from curate.text.native import Bytes, Chars, Ints, Keys, kernel
from curate.text.rules.marks import DATATROVE, DCLM, DOLMA, NEMO
from curate.text.utf8 import hash_bytes

_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)


@kernel
def line_units(
    data: Bytes,
    bits: Keys,
    begin: int,
    stop: int,
    start: Ints,
    end: Ints,
    first: Ints,
    last: Ints,
    key: Keys,
    chars: Chars,
    variant: int,
    keys: Keys,
    sizes: Ints,
) -> tuple[int, int]:
    """Write hash and characters of each line of a text; return how many, and their characters."""
    units = 0
    total = 0
    for line in range(begin, stop):
        if variant == DATATROVE:
            if start[line] == end[line] and begin < line < stop - 1:
                continue
        elif variant != DOLMA and first[line] == last[line]:
            continue
        if variant == DCLM and (first[line] != start[line] or last[line] != end[line]):
            keys[units] = hash_bytes(data, first[line], last[line])
            sizes[units] = count_set(bits, START, first[line], last[line])
        else:
            keys[units] = key[line]
            sizes[units] = chars[line]
        total += sizes[units]
        units += 1
    return units, total


@kernel
def paragraph_units(
    data: Bytes,
    bits: Keys,
    begin: int,
    stop: int,
    start: Ints,
    end: Ints,
    first: Ints,
    last: Ints,
    variant: int,
    keys: Keys,
    sizes: Ints,
) -> tuple[int, int]:
    """Write hash and characters of each paragraph of a text; return how many, and their characters."""
    if variant == NEMO:
        return _blocks(data, bits, begin, stop, start, end, keys, sizes)
    while begin < stop and first[begin] == last[begin]:
        begin += 1
    while stop > begin and first[stop - 1] == last[stop - 1]:
        stop -= 1
    units = 0
    total = 0
    line = begin
    while line < stop:
        while line < stop and start[line] == end[line]:
            line += 1
        if line == stop:
            break
        from_here = start[line]
        to_here = end[line]
        blank_from = -1  # without white space at the ends
        blank_to = -1
        outer = line == begin
        while line < stop and start[line] < end[line]:
            if first[line] < last[line]:
                if blank_from < 0:
                    blank_from = first[line]
                blank_to = last[line]
            to_here = end[line]
            line += 1
        if variant != DATATROVE:
            if blank_from < 0:
                continue
            from_here, to_here = blank_from, blank_to
        else:
            if outer:
                from_here = blank_from
            if line == stop:
                to_here = blank_to
        keys[units] = hash_bytes(data, from_here, to_here)
        sizes[units] = count_set(bits, START, from_here, to_here)
        total += sizes[units]
        units += 1
    return units, total


@kernel
def _blocks(
    data: Bytes, bits: Keys, begin: int, stop: int, start: Ints, end: Ints, keys: Keys, sizes: Ints
) -> tuple[int, int]:
    r"""What `text.split("\n\n")` gives."""
    units = 0
    total = 0
    line = begin
    while line < stop:
        from_here = start[line]
        while line + 1 < stop and not (line + 2 < stop and start[line + 1] == end[line + 1]):
            line += 1
        keys[units] = hash_bytes(data, from_here, end[line])
        sizes[units] = count_set(bits, START, from_here, end[line])
        total += sizes[units]
        units += 1
        line += 2
    return units, total


@kernel
def repeated(keys: Keys, sizes: Ints, units: int, count: Ints, table: Chars) -> tuple[int, int, int, int]:
    """Units seen before and their characters; units that occur more than once and their characters."""
    bits = 1
    while (1 << bits) < 2 * units:
        bits += 1
    mask = (1 << bits) - 1
    shift = np.uint64(64 - bits)
    table[: mask + 1] = -1
    again = 0
    again_chars = 0
    for k in range(units):
        slot = np.int64((keys[k] * _FIBONACCI) >> shift)
        while table[slot] >= 0 and keys[table[slot]] != keys[k]:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = k
            count[k] = 1
        else:
            count[table[slot]] += 1
            count[k] = 0
            again += 1
            again_chars += sizes[k]
    every = again
    every_chars = again_chars
    for k in range(units):
        if count[k] > 1:
            every += 1
            every_chars += sizes[k]
    return again, again_chars, every, every_chars
