"""The features of texts to a fastText model: its words and their n-grams, and the sum of their rows.

    sum_features(data, offsets, slots, sizes, pruned, settings, table, *room, sums, counts)

What a feature is follows the library's `dictionary.cc`: a known word and its character n-grams (of `<word>`, by code
points), the character n-grams alone of an unknown one, and n-grams of words, known or not, by their hashes. A word
that starts with `__label__` is none. The bytes must be valid UTF-8.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.models.fasttext.words_kernel import (
    BASIS,
    END_HASH,
    END_OTHER,
    END_READ,
    Hashes,
    find_words,
    hashed,
    split_words,
    strip,
)
from curate.text.native import Bytes, Chars, Ints, Keys, inlined, kernel
from curate.text.utf8 import hash_bytes

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

# What stands in `settings`.
WORDS, NGRAMS, BUCKET, MINN, MAXN = range(5)
SETTINGS = 5

BLOCK = 2048  # words at a time; sums do not depend on how texts are cut into batches
_MIX = np.uint64(116049371)
_SCATTER = np.uint32(2654435769)  # 2**32 over the golden ratio
_EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_NUMBER = np.uint64(0x7FFF_FFFF)
_ZERO, _ONE, _32 = np.uint64(0), np.uint64(1), np.uint64(32)
_LABEL = np.frombuffer(b"__label__", np.uint8)


@kernel
def fill_rows(pairs: npt.NDArray[np.int32], pruned: Keys) -> None:
    """The table of the buckets that quantisation has kept: bucket and row of each, in the first free slot."""
    size = np.uint64(len(pruned))
    for i in range(len(pruned)):
        pruned[i] = _EMPTY
    for i in range(pairs.shape[0]):
        at = (np.uint64(np.uint32(np.uint32(pairs[i, 0]) * _SCATTER)) * size) >> _32
        while pruned[at] != _EMPTY:
            at = at + _ONE if at + _ONE < size else _ZERO
        pruned[at] = (np.uint64(pairs[i, 0]) << _32) | np.uint64(pairs[i, 1])


@kernel
def bucket_row(number: np.int64, pruned: Keys, words: np.int64) -> np.int64:
    """The row of a bucket, or -1 where quantisation has thrown it away."""
    size = np.uint64(len(pruned))
    if size == _ZERO:
        return words + number
    at = (np.uint64(np.uint32(np.uint32(number) * _SCATTER)) * size) >> _32
    while pruned[at] != _EMPTY:
        if pruned[at] >> _32 == np.uint64(number):
            return words + np.int64(pruned[at] & _NUMBER)
        at = at + _ONE if at + _ONE < size else _ZERO
    return np.int64(-1)


@inlined
def _add(table: Rows, row: np.int64, sums: Floats, to: int) -> None:
    for k in range(table.shape[1]):
        sums[to, k] += np.float64(table[row, k])


@kernel
def add_subwords(
    data: Bytes, start: int, end: int, settings: Ints, pruned: Keys, table: Rows, sums: Floats, to: int
) -> int:
    """Add the rows of the character n-grams of `<word>` to sums[to]; how many they are."""
    size = end - start + 2
    bucket, words = np.uint32(settings[BUCKET]), settings[WORDS]
    minn, maxn = settings[MINN], settings[MAXN]
    count = 0
    for i in range(size):
        if 0 < i < size - 1 and data[start + i - 1] & 0xC0 == 0x80:
            continue
        key = BASIS
        j = i
        chars = 1
        while j < size and chars <= maxn:
            while True:
                byte = np.uint8(60) if j == 0 else np.uint8(62) if j == size - 1 else data[start + j - 1]
                key = hashed(key, byte)
                j += 1
                if j >= size - 1 or data[start + j - 1] & 0xC0 != 0x80:
                    break
            if chars >= minn and not (chars == 1 and (i == 0 or j == size)):
                row = bucket_row(np.int64(key % bucket), pruned, words)
                if row >= 0:
                    _add(table, row, sums, to)
                    count += 1
            chars += 1
    return count


@kernel
def sum_subwords(
    letters: Bytes, word_offsets: Ints, settings: Ints, pruned: Keys, table: Rows, sizes: Chars, sums: Floats
) -> None:
    """Turn the row of each word into the sum of its own and its n-grams' rows; `sizes` says of how many."""
    for word in range(settings[WORDS]):
        sizes[word] = 1
        start, end = word_offsets[word], word_offsets[word + 1]
        if hash_bytes(letters, start, end) == END_OTHER:
            continue
        for k in range(table.shape[1]):
            sums[0, k] = np.float64(table[word, k])
        sizes[word] += add_subwords(letters, start, end, settings, pruned, table, sums, 0)
        for k in range(table.shape[1]):
            table[word, k] = np.float32(sums[0, k])


@kernel
def is_label(data: Bytes, start: int, end: int) -> bool:
    """Whether a word starts with `__label__`."""
    if end - start < len(_LABEL):
        return False
    same = True
    for i in range(len(_LABEL)):
        same &= data[start + i] == _LABEL[i]
    return same


@kernel
def add_words(
    data: Bytes,
    starts: Ints,
    ends: Ints,
    hashes: Hashes,
    others: Keys,
    found: Ints,
    first: int,
    count: int,
    settings: Ints,
    sizes: Chars,
    pruned: Keys,
    table: Rows,
    sums: Floats,
    to: int,
) -> tuple[int, int]:
    """Add the rows of the words from `first` up to `count`; of how many features they are, and how many words stay.

    Labels go: the hashes behind them move up.
    """
    words, characters, single = settings[WORDS], settings[MAXN] > 0, table.shape[1] == 1
    features, there = 0, first
    total = 0.0
    for i in range(first, count):
        word: np.int64 = found[i]
        if word >= words or (word < 0 and is_label(data, starts[i], ends[i])):
            continue
        hashes[there] = hashes[i]
        there += 1
        if word >= 0:
            features += int(sizes[word]) if characters else 1
            if single:
                total += np.float64(table[word, 0])
            else:
                _add(table, word, sums, to)
        elif characters and (hashes[i] != END_HASH or others[i] != END_OTHER):
            features += add_subwords(data, starts[i], ends[i], settings, pruned, table, sums, to)
    if single:
        sums[to, 0] += total
    return features, there


@kernel
def add_ngrams(
    hashes: Hashes, count: int, kept: int, settings: Ints, pruned: Keys, keys: Keys, table: Rows, sums: Floats, to: int
) -> int:
    """Add the rows of the word n-grams that end at word `kept` or later; how many they are. `keys` is room."""
    bucket, words, single = np.uint64(settings[BUCKET]), settings[WORDS], table.shape[1] == 1 and len(pruned) == 0
    found = 0
    for i in range(count):
        keys[i] = np.uint64(np.int64(np.int32(hashes[i])))
    for size in range(2, min(settings[NGRAMS], count) + 1):
        last = count - size + 1
        for i in range(last):
            keys[i] = keys[i] * _MIX + np.uint64(np.int64(np.int32(hashes[i + size - 1])))
        first = max(0, kept - size + 1)
        if single:
            total = 0.0
            for i in range(first, last):
                total += np.float64(table[words + np.int64(keys[i] % bucket), 0])
            sums[to, 0] += total
            found += last - first
        else:
            for i in range(first, last):
                row = bucket_row(np.int64(keys[i] % bucket), pruned, words)
                if row >= 0:
                    _add(table, row, sums, to)
                    found += 1
    return found


@kernel
def sum_features(
    data: Bytes,
    offsets: Ints,
    slots: Keys,
    sizes: Chars,
    pruned: Keys,
    settings: Ints,
    table: Rows,
    starts: Ints,
    ends: Ints,
    hashes: Hashes,
    others: Keys,
    found: Ints,
    sums: Floats,
    counts: Ints,
) -> None:
    """The sum of the rows of each text's features, and how many features it has (0 for an empty text).

    `starts`, `ends`, `hashes`, `others` and `found` have room for BLOCK + NGRAMS + 1 words.
    """
    longest = settings[NGRAMS]
    for text in range(len(offsets) - 1):
        for k in range(table.shape[1]):
            sums[text, k] = 0.0
        counts[text] = 0
        at, end = strip(data, offsets[text], offsets[text + 1])
        if at == end:
            continue
        kept = 0  # words of the block before, of which n-grams begin
        while at != END_READ:
            count, at = split_words(data, at, end, starts, ends, hashes, others, kept, kept + BLOCK)
            find_words(hashes, others, kept, count, slots, found)
            features, count = add_words(
                data, starts, ends, hashes, others, found, kept, count, settings, sizes, pruned, table, sums, text
            )
            counts[text] += features
            if longest > 1:
                counts[text] += add_ngrams(hashes, count, kept, settings, pruned, others, table, sums, text)
                shift = max(0, count - (longest - 1))
                for i in range(shift, count):
                    hashes[i - shift] = hashes[i]
                kept = count - shift
