"""Counts behind the Gopher quality rules, over words and lines that are already found.

    counts = quality_counts(batch, "uax29", DCLM)
    counts.words, counts.bullet_lines

What a bullet, an ellipsis and a word are depends on whose code is followed: see `curate.steps.score.gopher`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.text.batch import TextBatch
from curate.text.bitmaps import BREAK, SPACE, SYMBOL, next_clear, next_set, trimmed
from curate.text.native import Bytes, Chars, Floats, Ints, Keys, inlined, kernel
from curate.text.rules.marks import (
    DATATROVE,
    DCLM,
    DOLMA,
    NEMO,
    break_size,
    bullet,
    ellipsis_sign,
    ends_in_dots,
    ends_in_spaced_dots,
    nemo_ellipsis,
    nemo_ends,
)
from curate.text.simd import ones
from curate.text.split import HAS_LETTER, HAS_NON_PUNCTUATION
from curate.text.utf8 import decode, few

_HASH, _DOT = 35, 46

# Gopher's stop words as numbers, the first letter the lowest byte and the length the highest, each where the
# highest three bits of its product with _SPREAD say.
_SPREAD = np.uint64(0xB85544CAEF0756B9)
_STOP_WORDS = np.zeros(8, dtype=np.uint64)
for _word in ("the", "be", "to", "of", "and", "that", "have", "with"):
    _number = int.from_bytes(_word.encode(), "little") | len(_word) << 56
    _STOP_WORDS[(_number * int(_SPREAD)) % (1 << 64) >> 61] = _number
_LOWER = 0x2020202020202020
_56, _61 = np.uint64(56), np.uint64(61)


@dataclass(frozen=True, slots=True)
class QualityCounts:
    """One value a text; fractions are of all words or of all lines, and 0 where there are none."""

    words: npt.NDArray[np.int32]
    stop_words: npt.NDArray[np.int32]
    mean_word_length: npt.NDArray[np.float64]
    hash_ratio: npt.NDArray[np.float64]
    ellipsis_ratio: npt.NDArray[np.float64]
    bullet_lines: npt.NDArray[np.float64]
    ellipsis_lines: npt.NDArray[np.float64]
    alpha_words: npt.NDArray[np.float64]


def quality_counts(batch: TextBatch, splitter: str, variant: int) -> QualityCounts:
    """The counts of every text by a splitter and a variant."""
    words = batch.words(splitter)
    whole = np.empty((2, len(batch)), dtype=np.int32)
    ratios = np.empty((6, len(batch)), dtype=np.float64)
    _word_ratios(batch.data, words.offsets, words.start, words.end, words.chars, words.flags, variant, whole, ratios)
    if variant in (DATATROVE, DCLM):
        _symbol_ratios(batch.data, batch.bits(), batch.offsets, words.offsets, variant, ratios)
    if variant == DATATROVE:
        _python_line_ratios(batch.data, batch.bits(), batch.offsets, ratios)
    else:
        lines = batch.lines()
        _line_ratios(batch.data, lines.offsets, lines.start, lines.end, lines.first, lines.last, variant, ratios)
    return QualityCounts(whole[0], whole[1], *ratios)


@inlined
def _stop_word(data: Bytes, start: int, end: int, fold: np.uint64) -> np.uint64:
    """Which of Gopher's stop words stands here, as a bit, or 0; `fold` is set to ignore case."""
    size = min(end - start, 7)
    word = few(data, start, size) | (fold >> np.uint64(64 - 8 * size)) | (np.uint64(size) << _56)
    slot = (word * _SPREAD) >> _61
    return np.uint64(_STOP_WORDS[slot] == word) << slot


@kernel
def _word_ratios(
    data: Bytes,
    offsets: Ints,
    start: Ints,
    end: Ints,
    chars: Chars,
    flags: Bytes,
    variant: int,
    whole: Chars,
    ratios: Floats,
) -> None:
    fold = np.uint64(_LOWER if variant == DCLM else 0)
    for row in range(len(offsets) - 1):
        words = offsets[row + 1] - offsets[row]
        counted = 0
        letters = 0
        length = 0
        stops = 0
        seen = np.uint64(0)
        hashes = 0
        ellipses = 0
        for word in range(offsets[row], offsets[row + 1]):
            counts = variant != DATATROVE or flags[word] & HAS_NON_PUNCTUATION != 0
            counted += counts
            length += counts * chars[word]
            letters += (flags[word] & HAS_LETTER) != 0
            stop = _stop_word(data, start[word], end[word], fold)
            stops += stop != 0
            seen |= stop
            if variant == DOLMA:
                hashes += _holds(data, start[word], end[word], _HASH)
                ellipses += _holds(data, start[word], end[word], 0x2026)
            elif variant == NEMO:
                hashes += 2 * _hash_runs(data, start[word], end[word]) > chars[word]
                ellipses += nemo_ellipsis(data, start[word], end[word])
        if variant == DATATROVE:  # distinct ones
            stops = ones(seen)
        whole[0, row] = counted
        whole[1, row] = stops
        ratios[0, row] = length / counted if counted else 0.0
        ratios[1, row] = hashes / words if words else 0.0
        ratios[2, row] = ellipses / words if words else 0.0
        ratios[5, row] = letters / words if words else 0.0


@kernel
def _holds(data: Bytes, start: int, end: int, wanted: int) -> bool:
    at = start
    while at < end:
        code, size = decode(data, at, end)
        if code == wanted:
            return True
        at += size
    return False


@kernel
def _hash_runs(data: Bytes, start: int, end: int) -> int:
    runs = 0
    for at in range(start, end):
        if data[at] == _HASH and (at == start or data[at - 1] != _HASH):
            runs += 1
    return runs


@kernel
def _symbol_ratios(
    data: Bytes, bits: Keys, text_offsets: Ints, word_offsets: Ints, variant: int, ratios: Floats
) -> None:
    """Hashes and ellipses in the text, as often as Python's `str.count` finds them, over its words."""
    for row in range(len(text_offsets) - 1):
        words = word_offsets[row + 1] - word_offsets[row]
        start, stop = text_offsets[row], text_offsets[row + 1]
        hashes = 0
        ellipses = 0
        dots = start  # behind the last `...`
        spaced = start  # behind the last `. . .`
        at = next_set(bits, SYMBOL, start, stop)
        while at < stop:
            byte = data[at]
            if byte == _HASH:
                hashes += 1
            elif byte == _DOT:
                if at >= dots and at + 3 <= stop and ends_in_dots(data, at, at + 3):
                    ellipses += 1
                    dots = at + 3
                if variant == DCLM and at >= spaced and at + 5 <= stop and ends_in_spaced_dots(data, at, at + 5):
                    ellipses += 1
                    spaced = at + 5
            elif ellipsis_sign(data, start, at + 1):
                ellipses += 1
            at = next_set(bits, SYMBOL, at + 1, stop)
        ratios[1, row] = hashes / words if words else 0.0
        ratios[2, row] = ellipses / words if words else 0.0


@kernel
def _line_ratios(
    data: Bytes, offsets: Ints, start: Ints, end: Ints, first: Ints, last: Ints, variant: int, ratios: Floats
) -> None:
    for row in range(len(offsets) - 1):
        lines = 0
        bullets = 0
        ellipses = 0
        for line in range(offsets[row], offsets[row + 1]):
            if variant == DOLMA:  # blank lines count, and white space is part of a line
                begin, stop = start[line], end[line]
            else:
                begin, stop = first[line], last[line]
                if begin == stop:
                    continue
            lines += 1
            if begin == stop:
                continue
            code, _ = decode(data, begin, stop)
            bullets += bullet(code, variant)
            if variant == NEMO:
                ellipses += nemo_ends(data, begin, stop)
            elif ellipsis_sign(data, begin, stop):
                ellipses += 1
            elif variant == DCLM:
                ellipses += ends_in_dots(data, begin, stop) or ends_in_spaced_dots(data, begin, stop)
        ratios[3, row] = bullets / lines if lines else 0.0
        ratios[4, row] = ellipses / lines if lines else 0.0


@kernel
def _python_line_ratios(data: Bytes, bits: Keys, offsets: Ints, ratios: Floats) -> None:
    """The ratios over the lines of `str.splitlines`, blank ones too, without their outer white space."""
    for row in range(len(offsets) - 1):
        lines = 0
        bullets = 0
        ellipses = 0
        begin = offsets[row]
        stop = offsets[row + 1]
        while begin < stop:
            at = next_set(bits, BREAK, begin, stop)
            lines += 1
            first = next_clear(bits, SPACE, begin, at)
            if first < at:
                last = trimmed(bits, SPACE, first, at)
                code, _ = decode(data, first, last)
                bullets += bullet(code, DATATROVE)
                ellipses += ends_in_dots(data, first, last) or ellipsis_sign(data, first, last)
            begin = at + break_size(data, at, stop)
        ratios[3, row] = bullets / lines if lines else 0.0
        ratios[4, row] = ellipses / lines if lines else 0.0
