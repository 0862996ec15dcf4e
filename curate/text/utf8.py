"""Small compiled helpers over UTF-8 bytes: decode, hash, white space. None looks at what is past `end`.

    code, length = decode(data, at, end)
    key = hash_bytes(data, start, end)

Invalid bytes decode as Python's `errors="replace"` does: U+FFFD once for each maximal part.
"""

from __future__ import annotations

import numpy as np

from curate.text.native import Bytes, inlined, kernel
from curate.text.simd import BASE, dot, load

_B8 = np.uint64(pow(int(BASE), 8, 1 << 64))
# The hash of as many zero bytes.
_ZEROS = np.array([sum(pow(int(BASE), k, 1 << 64) for k in range(size)) % (1 << 64) for size in range(9)], np.uint64)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_8, _33, _ALL = np.uint64(8), np.uint64(33), np.uint64(0xFFFFFFFFFFFFFFFF)

_EACH = 0x0101010101010101
_CASE, _FROM_A, _PAST_Z, _HIGH = (np.uint64(byte * _EACH) for byte in (0x20, 0x1F, 0x05, 0x80))

REPLACEMENT = 0xFFFD


@inlined
def decode(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The code point at `at` and how many bytes it takes; needs at < end."""
    one: int = data[at]
    if one < 0x80:
        return one, 1
    two: int = data[at + 1] if at + 1 < end else 0
    three: int = data[at + 2] if at + 2 < end else 0
    four: int = data[at + 3] if at + 3 < end else 0
    return decode_bytes(one, two, three, four)


@kernel
def decode_bytes(one: int, two: int, three: int, four: int) -> tuple[int, int]:
    """The code point that starts with `one`, which is not ASCII, and its bytes; 0 stands for no byte.

    It takes numbers, as an array that is handed from call to call costs more than the decoding.
    """
    if one < 0xC2 or one > 0xF4 or two & 0xC0 != 0x80:
        return REPLACEMENT, 1
    if one < 0xE0:
        return ((one & 0x1F) << 6) | (two & 0x3F), 2
    if one < 0xF0:
        if (one == 0xE0 and two < 0xA0) or (one == 0xED and two >= 0xA0):  # overlong, surrogate
            return REPLACEMENT, 1
        if three & 0xC0 != 0x80:
            return REPLACEMENT, 2
        return ((one & 0x0F) << 12) | ((two & 0x3F) << 6) | (three & 0x3F), 3
    if (one == 0xF0 and two < 0x90) or (one == 0xF4 and two >= 0x90):  # overlong, past U+10FFFF
        return REPLACEMENT, 1
    if three & 0xC0 != 0x80:
        return REPLACEMENT, 2
    if four & 0xC0 != 0x80:
        return REPLACEMENT, 3
    return ((one & 0x07) << 18) | ((two & 0x3F) << 12) | ((three & 0x3F) << 6) | (four & 0x3F), 4


@kernel
def decode_before(data: Bytes, start: int, at: int) -> tuple[int, int]:
    """The code point that ends at `at` and how many bytes it takes; needs start < at."""
    last: int = data[at - 1]
    if last < 0x80:
        return last, 1
    for size in range(1, 5):
        if at - size < start:
            break
        if data[at - size] & 0xC0 != 0x80:
            code, length = decode(data, at - size, at)
            if length == size:
                return code, size
            break
    return REPLACEMENT, 1


@inlined
def few(data: Bytes, at: int, size: int) -> np.uint64:
    """data[at:at + size], of one to eight bytes, as a number, the first byte the lowest."""
    part = np.uint64(0)
    if at + 8 <= len(data):
        part = load(data, at)
    else:
        for k in range(at + size - 1, at - 1, -1):
            part = (part << _8) | np.uint64(data[k])
    return part & (_ALL >> np.uint64(64 - 8 * size))


@inlined
def hash_and_kinds(data: Bytes, start: int, end: int) -> tuple[np.uint64, np.uint64, np.uint64]:
    """The hash of data[start:end]; what is not 0 if it has a byte beyond ASCII; the same for a letter of ASCII.

    Needs start < end. The letters are found in eight bytes at once: adding sets the highest bit of those from
    "a", and of those past "z".
    """
    size = ((end - start - 1) & 7) + 1
    part = few(data, start, size) << np.uint64(64 - 8 * size)
    high = part
    lower = (part & ~_HIGH) | _CASE
    letters = (lower + _FROM_A) & ~(lower + _PAST_Z) & ~part
    key = dot(part) + _ZEROS[size]
    for at in range(start + size, end, 8):
        part = load(data, at)
        high |= part
        lower = (part & ~_HIGH) | _CASE
        letters |= (lower + _FROM_A) & ~(lower + _PAST_Z) & ~part
        key = key * _B8 + dot(part) + _ZEROS[8]
    return key, high & _HIGH, letters & _HIGH


@kernel
def hash_bytes(data: Bytes, start: int, end: int) -> np.uint64:
    """The polynomial hash of data[start:end]; 0 where it is empty."""
    if start >= end:
        return np.uint64(0)
    key, _, _ = hash_and_kinds(data, start, end)
    return key


@inlined
def scatter(key: np.uint64) -> np.uint64:
    """A well-mixed permutation of a hash (the end of MurmurHash3), for tables and for sampling."""
    key ^= key >> _33
    key *= _MIX_1
    key ^= key >> _33
    key *= _MIX_2
    key ^= key >> _33
    return key


@inlined
def is_space(code: int) -> bool:
    """Whether a code point has the property White_Space."""
    if code < 0x85:
        return code == 32 or 9 <= code <= 13
    if code < 0x1680:
        return code == 0x85 or code == 0xA0
    if code < 0x2000:
        return code == 0x1680
    if code <= 0x3000:
        return code <= 0x200A or code in (0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
    return False
