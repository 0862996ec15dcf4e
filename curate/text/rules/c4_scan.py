"""What C4 looks for in a line: long words, phrases, a curly bracket.

    flags = phrases(data, bits, start, end)

White space and line breaks are those of `str.split` and `str.splitlines`. Bytes that are not UTF-8 are
read as letters.
"""

from __future__ import annotations

import numpy as np

from curate.text.bitmaps import BLANK, PHRASE, next_set, previous_set
from curate.text.native import Bytes, Keys, kernel

LONGEST_WORD = 1000  # characters

# Flags of a line.
HAS_LOREM, HAS_BRACE, HAS_JAVASCRIPT, HAS_POLICY = 1, 2, 4, 8


def _phrase(text: str) -> Bytes:
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8)


_JAVASCRIPT_WORD = _phrase("javascript")
_LOREM, _IPSUM = _phrase("lorem"), _phrase(" ipsum")
_PRIVACY, _COOKIE, _POLICY_WORD = _phrase("privacy"), _phrase("cookie"), _phrase(" policy")
_TERMS, _OF_USE = _phrase("terms"), _phrase(" of use")
_USES, _USE, _COOKIES, _OF_COOKIES = (
    _phrase("uses"),
    _phrase("use"),
    _phrase(" cookies"),
    _phrase(" of cookies"),
)


@kernel
def _has(data: Bytes, at: int, low: int, high: int, phrase: Bytes) -> bool:
    """Whether the phrase stands at `at` within data[low:high], in either case of the ASCII letters."""
    if at < low or at + len(phrase) > high:
        return False
    for k in range(len(phrase)):
        byte = data[at + k]
        if 0x41 <= byte <= 0x5A:
            byte |= 0x20
        if byte != phrase[k]:
            return False
    return True


@kernel
def _phrases_at_space(data: Bytes, at: int, low: int, high: int) -> int:
    """Flags of the phrases whose inner space stands at `at`; all but "javascript" have one."""
    letter = data[at + 1] | 0x20
    if letter == 0x70:  # p
        if _has(data, at, low, high, _POLICY_WORD) and (
            _has(data, at - 7, low, high, _PRIVACY) or _has(data, at - 6, low, high, _COOKIE)
        ):
            return HAS_POLICY
    elif letter == 0x6F:  # o
        if _has(data, at - 5, low, high, _TERMS) and _has(data, at, low, high, _OF_USE):
            return HAS_POLICY
        if _has(data, at - 3, low, high, _USE) and _has(data, at, low, high, _OF_COOKIES):
            return HAS_POLICY
    elif letter == 0x63:  # c
        if _has(data, at, low, high, _COOKIES) and (
            _has(data, at - 3, low, high, _USE) or _has(data, at - 4, low, high, _USES)
        ):
            return HAS_POLICY
    elif letter == 0x69 and _has(data, at, low, high, _IPSUM) and _has(data, at - 5, low, high, _LOREM):  # i
        return HAS_LOREM
    return 0


@kernel
def count_chars(data: Bytes, start: int, end: int) -> int:
    """The number of characters: of the bytes that do not continue one."""
    chars = 0
    for at in range(start, end):
        chars += (data[at] & 0xC0) != 0x80
    return chars


@kernel
def has_long_word(data: Bytes, bits: Keys, start: int, end: int) -> bool:
    """Whether a word of the line has more than `LONGEST_WORD` characters."""
    word = start
    while end - word > LONGEST_WORD:
        last = previous_set(bits, BLANK, word, word + LONGEST_WORD + 1)
        if last == word:
            last = next_set(bits, BLANK, word, end)
            if count_chars(data, word, last) > LONGEST_WORD:
                return True
        word = last
    return False


@kernel
def phrases(data: Bytes, bits: Keys, start: int, end: int) -> int:
    """Flags of what C4 looks for in the line data[start:end]."""
    flags = 0
    at = next_set(bits, PHRASE, start, end)
    while at < end:
        if data[at] == 0x7B:
            flags |= HAS_BRACE
        elif data[at] != 0x20:
            if _has(data, at, start, end, _JAVASCRIPT_WORD):
                flags |= HAS_JAVASCRIPT
        elif at + 1 < end:
            flags |= _phrases_at_space(data, at, start, end)
        at += 1
        if at < end:
            at = next_set(bits, PHRASE, at, end)
    return flags
