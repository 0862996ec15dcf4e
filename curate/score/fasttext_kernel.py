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
from curate.text.utf8 import BASE, decode, decode_before, hash_bytes, is_space

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint32]

# What stands in `settings`.
WORDS, NGRAMS, BUCKET, MINN, MAXN = range(5)
SETTINGS = 5

BLOCK = 2048  # words at a time; sums do not depend on how texts are cut into batches
_EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_NUMBER = np.uint64(0x7FFF_FFFF)
_ZERO, _ONE, _32 = np.uint64(0), np.uint64(1), np.uint64(32)
_BASIS = np.uint32(2166136261)
_PRIME = np.uint32(16777619)
_MIX = np.uint64(116049371)
_SPACE, _PERHAPS = 1, 2
_LABEL = np.frombuffer(b"__label__", np.uint8)
END_READ = -1
_END_HASH = np.uint32(3617362777)
_END_OTHER = np.uint64(sum((byte + 1) * pow(int(BASE), 3 - i) for i, byte in enumerate(b"</s>")) % 2**64)


def _kinds() -> npt.NDArray[np.uint8]:
    """For each byte: is it part of a word, a separator, or perhaps the first of one (U+0085, U+2028, U+2029)?"""
    kinds = np.zeros(256, np.uint8)
    kinds[[0, 9, 10, 11, 12, 13, 28, 29, 30, 32]] = _SPACE
    kinds[[0xC2, 0xE2]] = _PERHAPS
    return kinds


_KINDS = _kinds()


@kernel
def _separator(data: Bytes, at: int, end: int) -> int:
    """How many bytes the separator takes that begins, if one does, with the byte at `at`; 0 where none is."""
    if _KINDS[data[at]] == _SPACE:
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
    data: Bytes, at: int, end: int, starts: Ints, ends: Ints, hashes: Hashes, others: Keys, count: int, stop: int
) -> tuple[int, int]:
    """Write words from number `count` up to `stop`; the number of words then, and where the next begins.

    The word `</s>` is the last of a text, and added where there is none; then END_READ stands for where the next begins.
    """
    while at < end and count < stop:
        if _KINDS[data[at]] != 0:
            skip = _separator(data, at, end)
            if skip > 0:
                at += skip
                continue
        key, other = _BASIS, _ZERO
        starts[count] = at
        while at < end:
            byte = data[at]
            if _KINDS[byte] != 0 and _separator(data, at, end) > 0:
                break
            key, other = _hashed(key, byte), other * BASE + (np.uint64(byte) + _ONE)
            at += 1
        ends[count], hashes[count], others[count] = at, key, other
        count += 1
        if key == _END_HASH and other == _END_OTHER:
            return count, END_READ
    if count == stop:
        return count, at
    starts[count], ends[count], hashes[count], others[count] = end, end, _END_HASH, _END_OTHER
    return count + 1, END_READ


@kernel
def fill_slots(letters: Bytes, word_offsets: Ints, slots: Keys) -> None:
    """The table of words: two numbers a slot, in the first free one from the place that fastText's hash has among them.

    The first holds that hash and the word's number, the second another hash of 64 bits. A word is known by the 96
    bits, in place of its bytes: one access to memory finds it, and the bytes need not be kept.
    """
    size = np.uint64(slots.shape[0])
    for i in range(slots.shape[0]):
        slots[i, 0] = _EMPTY
    for i in range(len(word_offsets) - 1):
        key = _BASIS
        for j in range(word_offsets[i], word_offsets[i + 1]):
            key = _hashed(key, letters[j])
        at = (np.uint64(key) * size) >> _32
        while slots[at, 0] != _EMPTY:
            at = at + _ONE if at + _ONE < size else _ZERO
        slots[at, 0] = (np.uint64(key) << _32) | np.uint64(i)
        slots[at, 1] = hash_bytes(letters, word_offsets[i], word_offsets[i + 1])


@kernel
def find_words(hashes: Hashes, others: Keys, first: int, count: int, slots: Keys, found: Ints) -> None:
    """The number of each word from `first` up to `count`, or -1."""
    size = np.uint64(slots.shape[0])
    seen = _ZERO
    for i in range(first, count):  # many words wait for memory at once, while none depends on what it finds
        seen ^= slots[(np.uint64(hashes[i]) * size) >> _32, 0]
    found[first] = np.int64(seen)  # or the loop would be thrown out as useless
    for i in range(first, count):
        key, other = np.uint64(hashes[i]), others[i]
        at = (key * size) >> _32
        word = -1
        while slots[at, 0] != _EMPTY:
            slot = slots[at, 0]
            if slot >> _32 == key and slots[at, 1] == other:
                word = np.int64(slot & _NUMBER)
                break
            at = at + _ONE if at + _ONE < size else _ZERO
        found[i] = word


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
        start, end = word_offsets[word], word_offsets[word + 1]
        if hash_bytes(letters, start, end) == _END_OTHER:
            continue
        for k in range(table.shape[1]):
            sums[0, k] = np.float64(table[word, k])
        sizes[word] += add_subwords(letters, start, end, settings, pruned, table, sums, 0)
        for k in range(table.shape[1]):
            table[word, k] = np.float32(sums[0, k])


@kernel
def _is_label(data: Bytes, start: int, end: int) -> bool:
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
    pruned: Chars,
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
        word = found[i]
        if word >= words or (word < 0 and _is_label(data, starts[i], ends[i])):
            continue
        hashes[there] = hashes[i]
        there += 1
        if word >= 0:
            features += np.int64(sizes[word]) if characters else 1
            if single:
                total += np.float64(table[word, 0])
            else:
                _add(table, word, sums, to)
        elif characters and (hashes[i] != _END_HASH or others[i] != _END_OTHER):
            features += add_subwords(data, starts[i], ends[i], settings, pruned, table, sums, to)
    if single:
        sums[to, 0] += total
    return features, there


@kernel
def add_ngrams(
    hashes: Hashes, count: int, kept: int, settings: Ints, pruned: Chars, keys: Keys, table: Rows, sums: Floats, to: int
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
                row = _row(np.int64(keys[i] % bucket), pruned, words)
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
    pruned: Chars,
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
