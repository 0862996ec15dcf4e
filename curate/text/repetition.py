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
from curate.text.quality import DATATROVE, DCLM, DOLMA, NEMO
from curate.text.units import line_units, paragraph_units, repeated
from curate.text.utf8 import BASE

COLUMNS = (
    "dup_lines",
    "dup_paragraphs",
    "dup_line_chars",
    "dup_paragraph_chars",
    *(f"top_{n}_gram" for n in range(2, 5)),
    *(f"dup_{n}_gram" for n in range(5, 11)),
)

_LONGEST = 10
_POWERS = np.array([pow(int(BASE), k, 1 << 64) for k in range(256)], dtype=np.uint64)
_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)


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
    running = np.empty((2, most), dtype=np.uint64)
    reach = np.empty((3, most), dtype=np.int64)
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
        running,
        reach,
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
                units, total = line_units(data, begin, stop, start, end, first, last, key, chars, variant, keys, ids[0])
            else:
                units, total = paragraph_units(data, begin, stop, start, end, first, last, variant, keys, ids[0])
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
def _power(exponent: int) -> np.uint64:
    """BASE to the exponent, modulo 2^64."""
    result: np.uint64 = _POWERS[exponent & 255]
    exponent >>= 8
    if exponent:
        square = _POWERS[255] * _POWERS[1]
        while exponent:
            if exponent & 1:
                result *= square
            square *= square
            exponent >>= 1
    return result


@kernel
def _run(
    running: Keys,
    reach: Ints,
    chars_reach: Ints,
    begin: int,
    count: int,
    start: Ints,
    end: Ints,
    key: Keys,
    chars: Chars,
    gap: int,
) -> None:
    """Running hashes, bytes and characters over words, each followed by `gap` separators."""
    running[0] = 0
    reach[0] = 0
    chars_reach[0] = 0
    for k in range(count):
        word = begin + k
        # A Treebank quote is hashed as two bytes, as many as its characters.
        size = max(end[word] - start[word], chars[word])
        mine = key[word] * BASE if gap else key[word]
        running[k + 1] = running[k] * _power(size + gap) + mine
        reach[k + 1] = reach[k] + size + gap
        chars_reach[k + 1] = chars_reach[k] + chars[word]


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
    running: Keys,
    reach: Ints,
    keys: Keys,
    ids: Ints,
    table: Chars,
    out: Floats,
) -> None:
    """Columns 4 to 12: the most frequent 2- to 4-gram, and 5- to 10-grams that occur more than once."""
    here, found, count = ids[0], ids[1], ids[2]
    at_chars = reach[1]
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        words = offsets[row + 1] - begin
        if words < 2:
            continue
        _run(running[0], reach[0], at_chars, begin, words, start, end, key, chars, 1)
        total = text_chars[row] if variant in (DATATROVE, NEMO) else at_chars[words]
        left = words - 1
        for k in range(left):
            here[k] = k
        for n in range(2, 5 if variant == DATATROVE else _LONGEST + 1):
            if words < n:
                break
            best, times = _classes(running[0], reach[0], n, here, left, keys, found, count, table)
            if n < 5:
                if variant == NEMO:
                    size = at_chars[best + n] - at_chars[best] + n - 1
                    part = _occurrences(data, text_offsets[row], text_offsets[row + 1], start, end, begin + best, n)
                    out[row, n + 2] = part * size / total
                elif times > 1 or variant != DCLM:
                    size = at_chars[best + n] - at_chars[best]
                    if variant == DATATROVE:
                        size += n - 1
                    out[row, n + 2] = times * size / total
            elif left:
                part = _duplicates(at_chars, n, here, left, found, count, variant)
                if variant == DOLMA:
                    total = 0
                    for k in range(words - n + 1):
                        total += at_chars[k + n] - at_chars[k]
                out[row, n + 2] = part / total
            left = _survivors(here, left, found, count, words - n)
        if variant == DATATROVE:
            _run(running[1], reach[2], at_chars, begin, words, start, end, key, chars, 0)
            for n in range(5, min(_LONGEST, words) + 1):
                part = _scan(running[1], reach[2], at_chars, n, words, keys, table)
                out[row, n + 2] = part / total


@kernel
def _gram(running: Keys, reach: Ints, at: int, n: int) -> np.uint64:
    """The hash of the n-gram that starts with word `at`."""
    gram: np.uint64 = running[at + n] - running[at] * _power(reach[at + n] - reach[at])
    return gram


@kernel
def _classes(
    running: Keys,
    reach: Ints,
    n: int,
    here: Ints,
    left: int,
    keys: Keys,
    found: Ints,
    count: Ints,
    table: Chars,
) -> tuple[int, int]:
    """For each candidate the first one that is the same n-gram, and for that one how many there are.

    Returns the word at which the most frequent n-gram starts, the first of them in the text where several
    are, and how often it occurs: word 0 and once where no candidate repeats.
    """
    bits = 1
    while (1 << bits) < 2 * left:
        bits += 1
    mask = (1 << bits) - 1
    shift = np.uint64(64 - bits)
    table[: mask + 1] = -1
    for k in range(left):
        mine = _gram(running, reach, here[k], n)
        keys[k] = mine
        slot = np.int64((mine * _FIBONACCI) >> shift)
        while table[slot] >= 0 and keys[table[slot]] != mine:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = k
            count[k] = 0
        found[k] = table[slot]
        count[table[slot]] += 1
    best = 0
    times = 1
    for k in range(left):
        if found[k] == k and count[k] > times:
            best, times = here[k], count[k]
    return best, times


@kernel
def _survivors(here: Ints, left: int, found: Ints, count: Ints, most: int) -> int:
    """Keep the candidates at which the n-gram and the one a word later repeat; `most` is the last start."""
    kept = 0
    for k in range(left - 1):
        if here[k + 1] != here[k] + 1 or here[k] >= most:
            continue
        if count[found[k]] > 1 and count[found[k + 1]] > 1:
            here[kept] = here[k]
            kept += 1
    return kept


@kernel
def _duplicates(at_chars: Ints, n: int, here: Ints, left: int, found: Ints, count: Ints, variant: int) -> int:
    """The characters in n-grams that occur more than once, as DCLM, Dolma or NeMo Curator count them."""
    part = 0
    covered = 0  # words before this one are counted
    for k in range(left):
        if count[found[k]] < 2:
            continue
        begin = here[k]
        stop = begin + n
        if variant == DOLMA:
            part += at_chars[stop] - at_chars[begin]
        elif variant == DCLM:
            part += at_chars[stop] - at_chars[max(begin, covered)]
            covered = stop
        elif found[k] != k:
            fresh = max(begin, covered)
            part += at_chars[stop] - at_chars[fresh] + min(stop - fresh, n - 1)
            covered = stop
    return part


@kernel
def _scan(running: Keys, reach: Ints, at_chars: Ints, n: int, words: int, keys: Keys, table: Chars) -> int:
    """The characters of n-grams seen before, in a scan that jumps over each; joined words are compared."""
    bits = 1
    while (1 << bits) < 2 * words:
        bits += 1
    mask = (1 << bits) - 1
    shift = np.uint64(64 - bits)
    table[: mask + 1] = -1
    part = 0
    at = 0
    while at + n <= words:
        mine = _gram(running, reach, at, n)
        slot = np.int64((mine * _FIBONACCI) >> shift)
        while table[slot] >= 0 and keys[table[slot]] != mine:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = at
            keys[at] = mine
            at += 1
        else:
            part += at_chars[at + n] - at_chars[at]
            at += n
    return part


@kernel
def _occurrences(data: Bytes, at: int, stop: int, start: Ints, end: Ints, first: int, n: int) -> int:
    """How often the words, with one space between them, occur in the text, as `str.replace` finds them."""
    times = 0
    lead = data[start[first]]
    while at < stop:
        if data[at] != lead:
            at += 1
            continue
        here = at
        for word in range(first, first + n):
            size = end[word] - start[word]
            if word > first:
                if here >= stop or data[here] != 32:
                    break
                here += 1
            if here + size > stop:
                break
            same = True
            for k in range(size):
                if data[here + k] != data[start[word] + k]:
                    same = False
                    break
            if not same:
                break
            here += size
            if word == first + n - 1:
                times += 1
                at = here - 1
        at += 1
    return times
