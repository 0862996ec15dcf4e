"""One pass over the bytes of a line: its bounds, its words, and the phrases that C4 looks for.

    end, following, words, long_word, flags = scan(data, start, high)

White space and line breaks are those of `str.split` and `str.splitlines`. Bytes that are not UTF-8 are
read as letters.
"""

from __future__ import annotations

import numpy as np

from curate.text.batch import Bytes
from curate.text.native import kernel

LONGEST_WORD = 1000  # characters

# What `scan` must know of a byte. A phrase is noticed by the letters on both sides of its space ("privacY
# Policy"): the bit of a pair stands in _AFTER of the second letter, in _BEFORE of the first, in _BETWEEN of a
# space.
_AFTER, _BEFORE, _BETWEEN = 0, 4, 8  # by how much their four bits are shifted
_PAIRS = {"p": "ye", "o": "se", "c": "se", "i": "m"}  # the second letter: the first
_SPACE, _BREAK, _WIDE, _BRACE, _J = 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16
_RARE = _BREAK | _WIDE | _BRACE | _J
_TRAITS = np.zeros(256, dtype=np.int64)
for _bit, (_second, _firsts) in enumerate(_PAIRS.items()):
    for _letter in (_second, _second.upper()):
        _TRAITS[ord(_letter)] |= 1 << (_AFTER + _bit)
    for _letter in _firsts + _firsts.upper():
        _TRAITS[ord(_letter)] |= 1 << (_BEFORE + _bit)
_TRAITS[0x20] = 15 << _BETWEEN
_TRAITS[[0x09, 0x1F, 0x20]] |= _SPACE
_TRAITS[[0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E]] = _BREAK  # what str.splitlines breaks at
_TRAITS[[0xC2, 0xE1, 0xE2, 0xE3]] = _WIDE  # may begin a white space character of two or three bytes
_TRAITS[ord("{")] = _BRACE
_TRAITS[[ord("j"), ord("J")]] = _J

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
def _wide_space(data: Bytes, at: int, high: int) -> int:
    """Bytes of the white space character beyond ASCII at `at`, negative if it breaks a line, else 0."""
    lead = data[at]
    if lead == 0xC2:
        if at + 1 < high:
            if data[at + 1] == 0x85:
                return -2
            if data[at + 1] == 0xA0:
                return 2
        return 0
    if at + 2 >= high:
        return 0
    second, third = data[at + 1], data[at + 2]
    if lead == 0xE2:
        if second == 0x80:
            if third == 0xA8 or third == 0xA9:
                return -3
            if 0x80 <= third <= 0x8A or third == 0xAF:
                return 3
        return 3 if second == 0x81 and third == 0x9F else 0
    if lead == 0xE1:
        return 3 if second == 0x9A and third == 0x80 else 0
    return 3 if second == 0x80 and third == 0x80 else 0  # 0xE3, the ideographic space


@kernel
def _space(data: Bytes, at: int, high: int) -> int:
    """Bytes of the white space character at `at`, or 0."""
    traits = _TRAITS[data[at]]
    if traits & _WIDE:
        size: int = _wide_space(data, at, high)
        return abs(size)
    return 1 if traits & (_SPACE | _BREAK) else 0


@kernel
def count_chars(data: Bytes, start: int, end: int) -> int:
    """The number of characters: of the bytes that do not continue one."""
    chars = 0
    for at in range(start, end):
        chars += (data[at] & 0xC0) != 0x80
    return chars


@kernel
def _has_long_word(data: Bytes, start: int, end: int) -> bool:
    """Whether a word of the line has more than `LONGEST_WORD` characters."""
    word = start
    # A long word fills a stretch of that many bytes, so that it is enough to look for the last space of each
    # stretch, and at few bytes of most lines.
    while end - word > LONGEST_WORD:
        at = word + LONGEST_WORD
        while at >= word and not _TRAITS[data[at]] & _SPACE:
            at -= 1
        if at < word:
            break
        word = at + 1
    else:
        return False
    at = word
    while at < end:
        size = _space(data, at, end)
        if size > 0:
            if at - word > LONGEST_WORD and count_chars(data, word, at) > LONGEST_WORD:
                return True
            word = at + size
        at += max(size, 1)
    return end - word > LONGEST_WORD and count_chars(data, word, end) > LONGEST_WORD


@kernel
def trim(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """The bounds of data[start:end] without the white space at its ends; equal where all is white space."""
    first = start
    while first < end:
        size = _space(data, first, end)
        if size == 0:
            break
        first += size
    last = end
    while last > first:
        back = 1
        while back < 3 and last - back > first and data[last - back] & 0xC0 == 0x80:
            back += 1
        if _space(data, last - back, last) != back:
            break
        last -= back
    return first, last


@kernel
def scan(data: Bytes, start: int, high: int) -> tuple[int, int, int, bool, int]:
    """Read the line at `start` of the document that ends at `high`.

    Returns where the line ends and where the next one starts, how many words it has, whether one of them is
    longer than `LONGEST_WORD`, and the flags of what is in it. A branch at each word would be mispredicted
    and cost more than all the rest, so the loop has none for what is common.
    """
    words = flags = 0
    before = between = 0  # the traits of the last two bytes
    outside = 1  # of a word
    at = start
    following = high
    while at < high:
        traits = _TRAITS[data[at]]
        pair = (traits >> _AFTER) & (before >> _BEFORE) & (between >> _BETWEEN) & 15
        if pair | (traits & _RARE):
            if pair:
                flags |= _phrases_at_space(data, at - 1, start, high)
            if traits & _BREAK:
                following = at + 1
                if data[at] == 0x0D and following < high and data[following] == 0x0A:
                    following += 1
                break
            if traits & _BRACE:
                flags |= HAS_BRACE
            elif traits & _J and _has(data, at, start, high, _JAVASCRIPT_WORD):
                flags |= HAS_JAVASCRIPT
            elif traits & _WIDE:
                size = _wide_space(data, at, high)
                if size < 0:
                    following = at - size
                    break
                if size > 0:
                    at += size
                    outside = 1
                    before = between = 0
                    continue
        space = 1 if traits & _SPACE else 0
        words += outside & (space ^ 1)
        outside = space
        before = between
        between = traits
        at += 1
    return at, following, words, _has_long_word(data, start, at), flags
