r"""The words of texts as fastText sees them, and the table in which their numbers are found.

    count, at = split_words(data, start, end, starts, ends, hashes, others, 0, room)
    find_words(hashes, others, 0, count, slots, found)

Words lie between space, `\n`, `\r`, `\t`, `\v`, `\f` and NUL; `</s>` ends the text; a word's hash is 32-bit FNV-1a over
signed bytes (the library's `dictionary.cc`). A text is one line, as `" ".join(text.strip().splitlines())` makes it,
so that Python's other line breaks separate words too, and its white space is cut off at both ends.

The bytes must be valid UTF-8.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.native import Bytes, Ints, Keys, inlined, kernel
from curate.text.simd import BASE
from curate.text.utf8 import decode, decode_before, hash_bytes, is_space

Hashes = npt.NDArray[np.uint32]

END_READ = -1
BASIS = np.uint32(2166136261)
_PRIME = np.uint32(16777619)
_EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_NUMBER = np.uint64(0x7FFF_FFFF)
_ZERO, _ONE, _32 = np.uint64(0), np.uint64(1), np.uint64(32)
_SPACE, _PERHAPS = 1, 2
# The two hashes of `</s>`.
END_HASH = np.uint32(3617362777)
END_OTHER = np.uint64(sum((byte + 1) * pow(int(BASE), 3 - i) for i, byte in enumerate(b"</s>")) % 2**64)


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
def hashed(key: np.uint32, byte: np.uint8) -> np.uint32:
    """FNV-1a over one more byte, which counts as signed."""
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

    The word `</s>` is a text's last, and added where there is none; then END_READ stands for where the next begins.
    """
    while at < end and count < stop:
        if _KINDS[data[at]] != 0:
            skip = _separator(data, at, end)
            if skip > 0:
                at += skip
                continue
        key, other = BASIS, _ZERO
        starts[count] = at
        while at < end:
            byte = data[at]
            if _KINDS[byte] != 0 and _separator(data, at, end) > 0:
                break
            key, other = hashed(key, byte), other * BASE + (np.uint64(byte) + _ONE)
            at += 1
        ends[count], hashes[count], others[count] = at, key, other
        count += 1
        if key == END_HASH and other == END_OTHER:
            return count, END_READ
    if count == stop:
        return count, at
    starts[count], ends[count], hashes[count], others[count] = end, end, END_HASH, END_OTHER
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
        key = BASIS
        for j in range(word_offsets[i], word_offsets[i + 1]):
            key = hashed(key, letters[j])
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
        word = np.int64(-1)
        while slots[at, 0] != _EMPTY:
            slot = slots[at, 0]
            if slot >> _32 == key and slots[at, 1] == other:
                word = np.int64(slot & _NUMBER)
                break
            at = at + _ONE if at + _ONE < size else _ZERO
        found[i] = word
