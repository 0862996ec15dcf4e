"""Words and lines of a batch, by compiled kernels over its bytes.

    words = split(batch.data, batch.bits(), batch.offsets, "uax29")
    lines = split_lines(batch.data, batch.bits(), batch.offsets)

Scorers ask a `TextBatch` instead, which keeps the answer. The splitters:

- `whitespace`: runs of what is not White_Space;
- `uax29`: the segments of Unicode's annex 29 that hold a letter or a digit, except that a run of
  Thai, Lao, Khmer or Burmese letters is one segment. An ideograph is a word, a kana that is not
  katakana too;
- `treebank`: Penn Treebank words, see `curate.text.treebank`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from curate.core.errors import ConfigError, nearest
from curate.text.bitmaps import BREAK, SPACE, START, count_set, next_clear, next_set, runs, trimmed
from curate.text.native import Bools, Bytes, Chars, Ints, Keys, Props, kernel
from curate.text.props import PROPS
from curate.text.spans import Lines, Words
from curate.text.treebank import treebank_kernel
from curate.text.uax29 import uax29_kernel
from curate.text.utf8 import hash_bytes
from curate.text.words import HAS_ALNUM, HAS_DICTIONARY, HAS_LETTER, HAS_NON_PUNCTUATION, describe

Splitter = Literal["whitespace", "uax29", "treebank"]

__all__ = ["HAS_ALNUM", "HAS_DICTIONARY", "HAS_LETTER", "HAS_NON_PUNCTUATION", "Splitter", "split", "split_lines"]

_Kernel = Callable[..., int]


def split(data: Bytes, bits: Keys, offsets: Ints, splitter: str) -> Words:
    """The words of every text by the splitter of that name."""
    if splitter not in _KERNELS:
        raise ConfigError(f"no splitter {splitter!r}; {nearest(splitter, get_args(Splitter))}")
    texts = len(offsets) - 1
    most = int(offsets[-1] - offsets[0])  # a word has at least a byte; memory that is not touched is free
    at = np.zeros(texts + 1, dtype=np.int64)
    start, end = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    key, chars = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.int32)
    flags: npt.NDArray[np.uint8] = np.empty(most, dtype=np.uint8)
    count = _KERNELS[splitter](data, bits, offsets, PROPS, at, start, end, key, chars, flags)
    reliable = np.empty(texts, dtype=np.bool_)
    _reliable(at, chars, flags, reliable)
    return Words(at, start[:count], end[:count], key[:count], chars[:count], flags[:count], reliable)


def split_lines(data: Bytes, bits: Keys, offsets: Ints) -> Lines:
    """The lines of every text."""
    at = np.zeros(len(offsets), dtype=np.int64)
    most = _most_lines(bits, offsets)
    start, end = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    first, last = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    key, chars = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.int32)
    count = _lines(data, bits, offsets, at, start, end, first, last, key, chars)
    return Lines(at, start[:count], end[:count], first[:count], last[:count], key[:count], chars[:count])


@kernel
def _reliable(offsets: Ints, chars: Chars, flags: Bytes, out: Bools) -> None:
    """False where more than half of the letters are of scripts whose words need a dictionary."""
    for row in range(len(out)):
        letters = 0
        dictionary = 0
        for word in range(offsets[row], offsets[row + 1]):
            if flags[word] & HAS_LETTER:
                letters += chars[word]
                if flags[word] & HAS_DICTIONARY:
                    dictionary += chars[word]
        out[row] = 2 * dictionary <= letters


@kernel
def _whitespace(
    data: Bytes,
    bits: Keys,
    offsets: Ints,
    props: Props,
    word_offsets: Ints,
    start: Ints,
    end: Ints,
    key: Keys,
    chars: Chars,
    flags: Bytes,
) -> int:
    count = 0
    for row in range(len(offsets) - 1):
        found = runs(bits, SPACE, offsets[row], offsets[row + 1], start, end, count)
        for word in range(count, found):
            describe(data, bits, props, start[word], end[word], word, key, chars, flags)
        count = found
        word_offsets[row + 1] = count
    return count


@kernel
def _most_lines(bits: Keys, offsets: Ints) -> int:
    return len(offsets) - 1 + count_set(bits, BREAK, offsets[0], offsets[-1])


@kernel
def _lines(
    data: Bytes,
    bits: Keys,
    offsets: Ints,
    line_offsets: Ints,
    start: Ints,
    end: Ints,
    first: Ints,
    last: Ints,
    key: Keys,
    chars: Chars,
) -> int:
    count = 0
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        stop = offsets[row + 1]
        while begin <= stop and offsets[row] < stop:
            at = next_set(bits, BREAK, begin, stop)
            while at < stop and data[at] != 10:
                at = next_set(bits, BREAK, at + 1, stop)
            start[count], end[count] = begin, at
            head = next_clear(bits, SPACE, begin, at)
            first[count], last[count] = head, trimmed(bits, SPACE, head, at)
            key[count] = hash_bytes(data, begin, at)
            chars[count] = count_set(bits, START, begin, at)
            count += 1
            begin = at + 1
        line_offsets[row + 1] = count
    return count


_KERNELS: dict[str, _Kernel] = {
    "whitespace": _whitespace,
    "uax29": uax29_kernel,
    "treebank": treebank_kernel,
}
