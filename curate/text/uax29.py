"""The segments of Unicode's annex 29 (word boundaries) that hold a letter or a digit.

    count = uax29_kernel(...)       # as `curate.text.split` calls it

A run of Thai, Lao, Khmer or Burmese letters is one segment, which the annex leaves to a dictionary.
"""

from __future__ import annotations

from curate.text import props as p
from curate.text.bitmaps import WORD, is_set, next_clear
from curate.text.native import Bytes, Chars, Ints, Keys, Props, kernel
from curate.text.props import ALNUM
from curate.text.utf8 import decode
from curate.text.words import describe

_UNDERSCORE = 95


@kernel
def uax29_kernel(
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
    """Fill the arrays of `curate.text.split.split` by the splitter `uax29`; return the number of words."""
    count = 0
    for row in range(len(offsets) - 1):
        at = offsets[row]
        stop = offsets[row + 1]
        while at < stop:
            first = at
            found = 0
            if is_set(bits, WORD, at):
                at = next_clear(bits, WORD, at, stop)
                found = ALNUM
            elif data[at] < 0x80 and data[at] != _UNDERSCORE and (at + 1 == stop or data[at + 1] < 0x80):
                at += 1  # ASCII that neither is a word nor takes a mark
                continue
            if at == first or (at < stop and not _splits(data, at, stop, props)):
                at, found = _segment(data, first, stop, props)
            if found & ALNUM:
                start[count], end[count] = first, at
                describe(data, bits, props, first, at, count, key, chars, flags)
                count += 1
        word_offsets[row + 1] = count
    return count


@kernel
def _splits(data: Bytes, at: int, stop: int, props: Props) -> bool:
    """Whether a word of letters and digits surely ends before the character at `at`; false where more must be seen."""
    byte = data[at]
    if byte >= 0x80:
        code, _ = decode(data, at, stop)
        return bool(props[code] & p.CLASS_MASK == p.OTHER)
    if byte == 39 or byte == 44 or byte == 46 or byte == 58 or byte == 59:  # may stand within a word
        return at + 1 == stop or (data[at + 1] <= 47)
    return bool(byte != _UNDERSCORE)


@kernel
def _word_like(kind: int) -> bool:
    return kind == p.ALETTER or kind == p.NUMERIC or kind == p.EXTEND_NUM_LET or kind == p.HEBREW


@kernel
def _joins(left: int, right: int, plain: bool, regional: int) -> bool:
    """Whether two classes join whatever follows (rules WB3d, 5, 8 to 10, 13 and 15)."""
    if _word_like(left):
        return _word_like(right) or (left == p.EXTEND_NUM_LET and right == p.KATAKANA)
    if left == p.KATAKANA:
        return right == p.KATAKANA or right == p.EXTEND_NUM_LET
    if left != right:
        return False
    return left == p.COMPLEX or (left == p.SPACE and plain) or (left == p.REGIONAL and regional % 2 == 1)


@kernel
def _bridges(left: int, mark: int, right: int) -> bool:
    """Whether a mark between two classes joins them (rules WB6, 7, 7b, 7c, 11 and 12)."""
    if left == p.NUMERIC:
        return right == p.NUMERIC and (mark == p.MID_NUM or mark == p.MID_NUM_LET or mark == p.SINGLE_QUOTE)
    if mark == p.DOUBLE_QUOTE:
        return left == p.HEBREW and right == p.HEBREW
    if left not in (p.ALETTER, p.HEBREW) or right not in (p.ALETTER, p.HEBREW):
        return False
    return mark == p.MID_LETTER or mark == p.MID_NUM_LET or mark == p.SINGLE_QUOTE


@kernel
def _segment(data: Bytes, at: int, stop: int, props: Props) -> tuple[int, int]:
    """Where the segment that starts at `at` ends, and the properties found in it."""
    code, size = decode(data, at, stop)
    found = 0  # signed from the start: numba would make a float of signed and unsigned
    found |= props[code]
    left = found & p.CLASS_MASK
    at += size
    if left == p.CR or left == p.LF or left == p.NEWLINE:
        return at, found  # CR LF is one segment, but neither is a word
    joiner = left == p.ZWJ
    plain = True
    regional = 1 if left == p.REGIONAL else 0
    while at < stop:
        code, size = decode(data, at, stop)
        here = props[code]
        kind = here & p.CLASS_MASK
        if kind == p.EXTEND or kind == p.ZWJ or kind == p.FORMAT:  # WB4
            joiner = kind == p.ZWJ
            plain = False
        elif (joiner and here & p.PICTOGRAPH) or _joins(left, kind, plain, regional):  # WB3c and others
            left = kind
            joiner = False
            plain = True
            regional = regional + 1 if kind == p.REGIONAL else 0
        elif kind < p.SINGLE_QUOTE or kind > p.MID_NUM:
            break
        else:
            beyond = at + size
            other = 0
            right = 0
            while beyond < stop:
                code, other = decode(data, beyond, stop)
                right = props[code] & p.CLASS_MASK
                if right != p.EXTEND and right != p.ZWJ and right != p.FORMAT:
                    break
                beyond += other
            if beyond < stop and _bridges(left, kind, right):
                found |= here | props[code]
                left = right
                at = beyond + other
                joiner = False
                plain = True
                continue
            if left != p.HEBREW or kind != p.SINGLE_QUOTE:  # WB7a
                break
            left = kind
            joiner = False
        found |= here
        at += size
    return at, found
