r"""The pass of a fastText model over the bytes of texts: words, look-ups, n-grams, and the sum of their rows.

    sum_features(data, offsets, *vocabulary, settings, table, *scratch, sums, counts)

What a word and a feature are is fastText's (`dictionary.cc` of the library): words lie between space, `\n`, `\r`,
`\t`, `\v`, `\f` and NUL; a word's hash is 32-bit FNV-1a over signed bytes; `</s>` ends the text, and a
word that starts with `__label__` is not part of it. A text is one line, as `" ".join(text.strip().splitlines())`
makes it, so that Python's other line breaks separate words too and its white space is cut off at both ends.

The bytes must be valid UTF-8.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.native import Bytes, Chars, Ints, Keys, inlined, kernel
from curate.text.utf8 import decode, decode_before, is_space

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint32]

# What stands in `settings`.
WORDS, NGRAMS, BUCKET, MINN, MAXN, EOS = range(6)
SETTINGS = 6

BLOCK = 2048  # words at a time; sums do not depend on how texts are cut into batches
_EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_LOW = np.uint64(0xFFFF_FFFF)
_32 = np.uint64(32)
_BASIS = np.uint32(2166136261)
_PRIME = np.uint32(16777619)
_MIX = np.uint64(116049371)
_SPACE, _PERHAPS = 1, 2


def _kinds() -> npt.NDArray[np.uint8]:
    """For each byte: is it part of a word, a separator, or perhaps the first of one (U+0085, U+2028, U+2029)?"""
    kinds = np.zeros(256, np.uint8)
    kinds[[0, 9, 10, 11, 12, 13, 28, 29, 30, 32]] = _SPACE
    kinds[[0xC2, 0xE2]] = _PERHAPS
    return kinds


_KINDS = _kinds()


@inlined
def _separator(data: Bytes, at: int, end: int) -> int:
    """How many bytes the separator at `at` takes; 0 where none is."""
    kind = _KINDS[data[at]]
    if kind == 0:
        return 0
    if kind == _SPACE:
        return 1
    if data[at] == 0xC2:
        return 2 if at + 1 < end and data[at + 1] == 0x85 else 0
    return 3 if at + 2 < end and data[at + 1] == 0x80 and (data[at + 2] & 0xFE) == 0xA8 else 0


@inlined
def _hashed(key: np.uint32, byte: np.uint8) -> np.uint32:
    return np.uint32((key ^ np.uint32(np.int8(byte))) * _PRIME)


@inlined
def _stripped(code: int) -> bool:
    return is_space(code) or 0x1C <= code <= 0x1F


@kernel
def strip(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """Where a text begins and ends after `str.strip`."""
    while start < end:
        code, size = decode(data, start, end)
        if not _stripped(code):
            break
        start += size
    while end > start:
        code, size = decode_before(data, start, end)
        if not _stripped(code):
            break
        end -= size
    return start, end


@kernel
def split_words(
    data: Bytes, at: int, end: int, starts: Ints, ends: Ints, hashes: Hashes, count: int, stop: int
) -> tuple[int, int]:
    """Write words from number `count` up to `stop`; the number of words then, and where the next begins."""
    while at < end and count < stop:
        skip = _separator(data, at, end)
        if skip:
            at += skip
            continue
        key = _BASIS
        starts[count] = at
        while at < end and _separator(data, at, end) == 0:
            key = _hashed(key, data[at])
            at += 1
        ends[count] = at
        hashes[count] = key
        count += 1
    return count, at


@kernel
def hash_word(data: Bytes, start: int, end: int) -> np.uint32:
    """FastText's hash of data[start:end]."""
    key = _BASIS
    for at in range(start, end):
        key = _hashed(key, data[at])
    return key


@kernel
def fill_slots(letters: Bytes, word_offsets: Ints, slots: Keys) -> None:
    """The table of words: hash and number of each, in the first free slot from the hash; a power of two of them."""
    mask = np.uint64(len(slots) - 1)
    for i in range(len(slots)):
        slots[i] = _EMPTY
    for i in range(len(word_offsets) - 1):
        key = np.uint64(hash_word(letters, word_offsets[i], word_offsets[i + 1]))
        at = key & mask
        while slots[at] != _EMPTY:
            at = (at + np.uint64(1)) & mask
        slots[at] = (key << _32) | np.uint64(i)


@kernel
def find_word(
    data: Bytes, start: int, end: int, key: np.uint32, slots: Keys, letters: Bytes, word_offsets: Ints
) -> int:
    """The number of a word, or -1."""
    mask = np.uint64(len(slots) - 1)
    wide = np.uint64(key)
    at = wide & mask
    slot = slots[at]
    while slot != _EMPTY:
        if slot >> _32 == wide:
            found = np.int64(slot & _LOW)
            first = word_offsets[found]
            if word_offsets[found + 1] - first == end - start:
                same = True
                for i in range(end - start):
                    if letters[first + i] != data[start + i]:
                        same = False
                        break
                if same:
                    return found
        at = (at + np.uint64(1)) & mask
        slot = slots[at]
    return -1


@inlined
def _row(number: int, pruned: Chars, words: int) -> int:
    """The row of a bucket, or -1 where quantisation has thrown it away."""
    if len(pruned) == 0:
        return words + number
    kept = np.int64(pruned[number])
    return words + kept if kept >= 0 else -1


@inlined
def _add(table: Rows, row: int, sums: Floats, to: int) -> None:
    for k in range(table.shape[1]):
        sums[to, k] += np.float64(table[row, k])


@kernel
def add_subwords(
    data: Bytes, start: int, end: int, settings: Ints, pruned: Chars, table: Rows, sums: Floats, to: int
) -> int:
    """Add the rows of the character n-grams of `<word>` to sums[to]; how many they are."""
    size = end - start + 2
    bucket, words = np.uint32(settings[BUCKET]), settings[WORDS]
    minn, maxn = settings[MINN], settings[MAXN]
    count = 0
    for i in range(size):
        if 0 < i < size - 1 and data[start + i - 1] & 0xC0 == 0x80:
            continue
        key = _BASIS
        j = i
        chars = 1
        while j < size and chars <= maxn:
            while True:
                byte = np.uint8(60) if j == 0 else np.uint8(62) if j == size - 1 else data[start + j - 1]
                key = _hashed(key, byte)
                j += 1
                if j >= size - 1 or data[start + j - 1] & 0xC0 != 0x80:
                    break
            if chars >= minn and not (chars == 1 and (i == 0 or j == size)):
                row = _row(np.int64(key % bucket), pruned, words)
                if row >= 0:
                    _add(table, row, sums, to)
                    count += 1
            chars += 1
    return count


@kernel
def sum_subwords(
    letters: Bytes, word_offsets: Ints, settings: Ints, pruned: Chars, table: Rows, sizes: Chars, sums: Floats
) -> None:
    """Turn the row of each word into the sum of its own and its n-grams' rows; `sizes` says of how many."""
    for word in range(settings[WORDS]):
        sizes[word] = 1
        if word == settings[EOS]:
            continue
        for k in range(table.shape[1]):
            sums[0, k] = np.float64(table[word, k])
        start, end = word_offsets[word], word_offsets[word + 1]
        sizes[word] += add_subwords(letters, start, end, settings, pruned, table, sums, 0)
        for k in range(table.shape[1]):
            table[word, k] = np.float32(sums[0, k])


@inlined
def _is_eos(data: Bytes, start: int, end: int) -> bool:
    return (
        end - start == 4
        and data[start] == 60
        and data[start + 1] == 47
        and data[start + 2] == 115
        and data[start + 3] == 62
    )


@kernel
def _is_label(data: Bytes, start: int, end: int) -> bool:
    """Whether a word starts with `__label__`."""
    if end - start < 9 or data[start] != 95 or data[start + 1] != 95 or data[start + 7] != 95 or data[start + 8] != 95:
        return False
    low, high = (np.int64(data[start + 2]) << 8) | data[start + 3], np.int64(data[start + 4])
    return low == 0x6C61 and high == 98 and data[start + 5] == 101 and data[start + 6] == 108


@kernel
def add_ngrams(
    hashes: Hashes, count: int, kept: int, settings: Ints, pruned: Chars, table: Rows, sums: Floats, to: int
) -> int:
    """Add the rows of the word n-grams that end at word `kept` or later; how many they are."""
    bucket, words, longest = np.uint64(settings[BUCKET]), settings[WORDS], settings[NGRAMS]
    single = table.shape[1] == 1
    total = 0.0
    found = 0
    for i in range(count):
        key = np.uint64(np.int64(np.int32(hashes[i])))
        for j in range(i + 1, min(count, i + longest)):
            key = key * _MIX + np.uint64(np.int64(np.int32(hashes[j])))
            if j >= kept:
                row = _row(np.int64(np.int32(key % bucket)), pruned, words)
                if row >= 0:
                    found += 1
                    if single:
                        total += np.float64(table[row, 0])
                    else:
                        _add(table, row, sums, to)
    if single:
        sums[to, 0] += total
    return found


@kernel
def sum_features(
    data: Bytes,
    offsets: Ints,
    slots: Keys,
    letters: Bytes,
    word_offsets: Ints,
    sizes: Chars,
    pruned: Chars,
    settings: Ints,
    table: Rows,
    starts: Ints,
    ends: Ints,
    hashes: Hashes,
    sums: Floats,
    counts: Ints,
) -> None:
    """The sum of the rows of each text's features, and how many features it has (0 for an empty text).

    `starts`, `ends` and `hashes` have room for BLOCK + NGRAMS + 1 words.
    """
    words, longest, eos = settings[WORDS], settings[NGRAMS], settings[EOS]
    for text in range(len(offsets) - 1):
        for k in range(table.shape[1]):
            sums[text, k] = 0.0
        counts[text] = 0
        at, end = strip(data, offsets[text], offsets[text + 1])
        if at == end:
            continue
        kept = 0  # words of the block before, of which n-grams begin
        features = 0
        more = True
        while more:
            count, at = split_words(data, at, end, starts, ends, hashes, kept, kept + BLOCK)
            if count < kept + BLOCK:
                starts[count] = ends[count] = end
                hashes[count] = hash_word(_END, 0, 4)
                count += 1
                more = False
            there = kept
            for i in range(kept, count):
                start, stop = starts[i], ends[i]
                if start == end or _is_eos(data, start, stop):
                    hashes[there] = hashes[i]
                    there += 1
                    if eos >= 0:
                        _add(table, eos, sums, text)
                        features += 1
                    more = False
                    break
                word = find_word(data, start, stop, hashes[i], slots, letters, word_offsets)
                if word >= words or (word < 0 and _is_label(data, start, stop)):
                    continue
                hashes[there] = hashes[i]
                there += 1
                if word >= 0:
                    _add(table, word, sums, text)
                    features += np.int64(sizes[word])
                elif settings[MAXN] > 0:
                    features += add_subwords(data, start, stop, settings, pruned, table, sums, text)
            if longest > 1:
                features += add_ngrams(hashes, there, kept, settings, pruned, table, sums, text)
                shift = max(0, there - (longest - 1))
                for i in range(shift, there):
                    hashes[i - shift] = hashes[i]
                kept = there - shift
            else:
                kept = 0
        counts[text] = features


_END = np.frombuffer(b"</s>", np.uint8)
