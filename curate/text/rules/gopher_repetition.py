"""Repeated lines, paragraphs and n-grams of words, by the rules of four implementations of Gopher.

    fractions = repetition_fractions(batch, "uax29", DCLM)      # float64, one row a text
    fractions[:, COLUMNS.index("dup_5_gram")]

An n-gram is compared by the hash of its words, which follows from running hashes in constant time. An
n-gram can only repeat where both (n-1)-grams within it do, so that each order looks at what the one
before left, mostly a few per cent of the text.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.batch import TextBatch
from curate.text.native import Bytes, Chars, Floats, Ints, Keys, kernel
from curate.text.rules.marks import DATATROVE, DCLM, DOLMA, NEMO
from curate.text.rules.units import line_units, paragraph_units, repeated
from curate.text.rules.word_ngrams import (
    classes,
    duplicates,
    leads,
    lengthen,
    occurrences,
    pairs,
    scan,
    seen_size,
    survivors,
)

COLUMNS = (
    "dup_lines",
    "dup_paragraphs",
    "dup_line_chars",
    "dup_paragraph_chars",
    *(f"top_{n}_gram" for n in range(2, 5)),
    *(f"dup_{n}_gram" for n in range(5, 11)),
)

_LONGEST = 10


def repetition_fractions(batch: TextBatch, splitter: str, variant: int) -> npt.NDArray[np.float64]:
    """The fractions of every text in the order of `COLUMNS`; 0 where there is nothing to count."""
    words, lines = batch.words(splitter), batch.lines()
    out = np.zeros((len(batch), len(COLUMNS)), dtype=np.float64)
    if len(batch) == 0:
        return out
    most = int(max(np.diff(words.offsets).max(), np.diff(lines.offsets).max())) + 2
    keys, ids = np.empty(most, dtype=np.uint64), np.empty((4, most), dtype=np.int64)
    table = np.empty(1 << (2 * most - 1).bit_length(), dtype=np.int32)
    _units(
        batch.data,
        batch.bits(),
        lines.offsets,
        lines.start,
        lines.end,
        lines.first,
        lines.last,
        lines.hash,
        lines.chars,
        words.offsets,
        words.chars,
        variant,
        keys,
        ids,
        table,
        out,
    )
    reach = np.empty((2, most), dtype=np.int64)
    seen = np.empty(seen_size(most), dtype=np.uint8)
    text_chars = np.empty(len(batch), dtype=np.int64)
    _text_chars(lines.offsets, lines.chars, text_chars)
    _n_grams(
        batch.data,
        batch.offsets,
        words.offsets,
        words.start,
        words.end,
        words.hash,
        words.chars,
        text_chars,
        variant,
        reach,
        seen,
        keys,
        ids,
        table,
        out,
    )
    return out


@kernel
def _text_chars(offsets: Ints, chars: Chars, out: Ints) -> None:
    for row in range(len(out)):
        total = max(offsets[row + 1] - offsets[row] - 1, 0)  # line feeds
        for line in range(offsets[row], offsets[row + 1]):
            total += chars[line]
        out[row] = total


@kernel
def _units(
    data: Bytes,
    bits: Keys,
    offsets: Ints,
    start: Ints,
    end: Ints,
    first: Ints,
    last: Ints,
    key: Keys,
    chars: Chars,
    word_offsets: Ints,
    word_chars: Chars,
    variant: int,
    keys: Keys,
    ids: Ints,
    table: Chars,
    out: Floats,
) -> None:
    """Columns 0 to 3: lines and paragraphs that occur more than once, and their characters."""
    for row in range(len(offsets) - 1):
        begin, stop = offsets[row], offsets[row + 1]
        text_chars = max(stop - begin - 1, 0)
        for line in range(begin, stop):
            text_chars += chars[line]
        words = 0
        if variant == DOLMA:
            for word in range(word_offsets[row], word_offsets[row + 1]):
                words += word_chars[word]
        for kind in range(2):
            if kind == 0:
                units, total = line_units(
                    data, bits, begin, stop, start, end, first, last, key, chars, variant, keys, ids[0]
                )
            else:
                units, total = paragraph_units(data, bits, begin, stop, start, end, first, last, variant, keys, ids[0])
            if units < 2:
                continue
            again, again_chars, every, every_chars = repeated(keys, ids[0], units, ids[1], table)
            if variant in (DATATROVE, NEMO):
                out[row, kind] = again / units
                total = text_chars if variant == DATATROVE else total
                out[row, kind + 2] = again_chars / total if total else 0.0
            else:
                out[row, kind] = every / units
                total = words if variant == DOLMA else total
                out[row, kind + 2] = every_chars / total if total else 0.0


@kernel
def _n_grams(
    data: Bytes,
    text_offsets: Ints,
    offsets: Ints,
    start: Ints,
    end: Ints,
    key: Keys,
    chars: Chars,
    text_chars: Ints,
    variant: int,
    reach: Ints,
    seen: Bytes,
    keys: Keys,
    ids: Ints,
    table: Chars,
    out: Floats,
) -> None:
    """Columns 4 to 12: the most frequent 2- to 4-gram, and 5- to 10-grams that occur more than once."""
    here, found, count = ids[0], ids[1], ids[2]
    at_bytes, at_chars = reach[0], reach[1]
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        words = offsets[row + 1] - begin
        if words < 2:
            continue
        at_bytes[0] = at_chars[0] = 0
        for k in range(words):
            # A Treebank quote is hashed as two bytes, as many as its characters.
            at_bytes[k + 1] = at_bytes[k] + max(end[begin + k] - start[begin + k], chars[begin + k])
            at_chars[k + 1] = at_chars[k] + chars[begin + k]
        total = text_chars[row] if variant in (DATATROVE, NEMO) else at_chars[words]
        left = pairs(begin, words, at_bytes, key, seen, here, keys)
        for n in range(2, 5 if variant == DATATROVE else _LONGEST + 1):
            if words < n:
                break
            best, times = classes(here, left, keys, found, count, table)
            if n < 5:
                if variant == NEMO:
                    size = at_chars[best + n] - at_chars[best] + n - 1
                    part = occurrences(data, text_offsets[row], text_offsets[row + 1], start, end, begin + best, n)
                    out[row, n + 2] = part * size / total
                elif times > 1 or variant != DCLM:
                    size = at_chars[best + n] - at_chars[best]
                    if variant == DATATROVE:
                        size += n - 1
                    out[row, n + 2] = times * size / total
            elif left:
                part = duplicates(at_chars, n, here, left, found, count, variant)
                if variant == DOLMA:
                    total = 0
                    for k in range(words - n + 1):
                        total += at_chars[k + n] - at_chars[k]
                out[row, n + 2] = part / total
            left = survivors(key, begin, n, words - n, here, left, found, count, keys)
        if variant == DATATROVE and words >= 5:
            left = leads(data, begin, words, 5, start, at_bytes, key, seen, here, keys)
            for n in range(5, min(_LONGEST, words) + 1):
                out[row, n + 2] = scan(n, words, at_chars, here, left, keys, table) / total
                lengthen(begin, n, words, at_bytes, key, here, left, keys)
