"""Words and lines of a batch, by compiled kernels over its bytes.

    words = split(batch.data, batch.offsets, "uax29")
    lines = split_lines(batch.data, batch.offsets)

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

from curate.errors import ConfigError, nearest
from curate.text import props as p
from curate.text.batch import Lines, Words
from curate.text.native import Bools, Bytes, Chars, Ints, Keys, Props, kernel
from curate.text.props import FLAG_SHIFT, FLAGS, PROPS
from curate.text.treebank import treebank_kernel
from curate.text.utf8 import count_chars, decode, hash_bytes, is_space, skip_space, skip_space_back

Splitter = Literal["whitespace", "uax29", "treebank"]

# What `Words.flags` is a sum of: true of any character of the word.
HAS_LETTER = p.LETTER >> FLAG_SHIFT
HAS_ALNUM = p.ALNUM >> FLAG_SHIFT
HAS_NON_PUNCTUATION = p.NOT_PUNCTUATION >> FLAG_SHIFT
HAS_DICTIONARY = p.DICTIONARY >> FLAG_SHIFT

_ALNUM = p.ALNUM
_UNDERSCORE = 95

_Kernel = Callable[..., int]


def split(data: Bytes, offsets: Ints, splitter: str) -> Words:
    """The words of every text by the splitter of that name."""
    if splitter not in _KERNELS:
        raise ConfigError(f"no splitter {splitter!r}; {nearest(splitter, get_args(Splitter))}")
    texts = len(offsets) - 1
    most = int(offsets[-1] - offsets[0])  # a word has at least a byte; memory that is not touched is free
    at = np.zeros(texts + 1, dtype=np.int64)
    start, end = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    key, chars = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.int32)
    flags: npt.NDArray[np.uint8] = np.empty(most, dtype=np.uint8)
    count = _KERNELS[splitter](data, offsets, PROPS, at, start, end, key, chars, flags)
    reliable = np.empty(texts, dtype=np.bool_)
    _reliable(at, chars, flags, reliable)
    return Words(at, start[:count], end[:count], key[:count], chars[:count], flags[:count], reliable)


def split_lines(data: Bytes, offsets: Ints) -> Lines:
    """The lines of every text."""
    texts = len(offsets) - 1
    at = np.zeros(texts + 1, dtype=np.int64)
    count = _count_lines(data, offsets, at)
    start, end = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    first, last = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    key, chars = np.empty(count, dtype=np.uint64), np.empty(count, dtype=np.int32)
    _lines(data, offsets, start, end, first, last, key, chars)
    return Lines(at, start, end, first, last, key, chars)


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
        at = offsets[row]
        stop = offsets[row + 1]
        while at < stop:
            first = at
            found = 0
            length = 0
            while at < stop:
                code, size = decode(data, at, stop)
                if is_space(code):
                    break
                found |= props[code]
                length += 1
                at += size
            if length == 0:
                at += size
                continue
            start[count], end[count] = first, at
            key[count] = hash_bytes(data, first, at)
            chars[count] = length
            flags[count] = (found >> FLAG_SHIFT) & FLAGS
            count += 1
        word_offsets[row + 1] = count
    return count


@kernel
def _uax29(
    data: Bytes,
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
        at = offsets[row]
        stop = offsets[row + 1]
        while at < stop:
            first = at
            found = 0
            # ASCII letters, digits and underscores all join; most words are nothing else.
            while at < stop and data[at] < 0x80:
                kind = props[data[at]]
                if kind & _ALNUM == 0 and data[at] != _UNDERSCORE:
                    break
                found |= kind
                at += 1
            length = at - first
            if at == first and data[at] < 0x80 and (at + 1 == stop or data[at + 1] < 0x80):
                at += 1  # ASCII that neither is a word nor takes a mark
                continue
            if at == first or (at < stop and not _splits(data, at, stop)):
                at, found, length = _segment(data, first, stop, props)
            if found & _ALNUM:
                start[count], end[count] = first, at
                key[count] = hash_bytes(data, first, at)
                chars[count] = length
                flags[count] = (found >> FLAG_SHIFT) & FLAGS
                count += 1
        word_offsets[row + 1] = count
    return count


@kernel
def _splits(data: Bytes, at: int, stop: int) -> bool:
    """Whether a word surely ends before the character at `at`; false where more must be seen."""
    byte = data[at]
    if byte >= 0x80:
        return False
    if byte == 39 or byte == 44 or byte == 46 or byte == 58 or byte == 59:  # may stand within a word
        return at + 1 == stop or (data[at + 1] <= 47)
    return True


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
def _segment(data: Bytes, at: int, stop: int, props: Props) -> tuple[int, int, int]:
    """Where the segment that starts at `at` ends, the properties found in it, its code points."""
    code, size = decode(data, at, stop)
    found = 0  # signed from the start: numba would make a float of signed and unsigned
    found |= props[code]
    left = found & p.CLASS_MASK
    at += size
    length = 1
    if left == p.CR or left == p.LF or left == p.NEWLINE:
        return at, found, length  # CR LF is one segment, but neither is a word
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
            marks = 0
            other = 0
            right = 0
            while beyond < stop:
                code, other = decode(data, beyond, stop)
                right = props[code] & p.CLASS_MASK
                if right != p.EXTEND and right != p.ZWJ and right != p.FORMAT:
                    break
                beyond += other
                marks += 1
            if beyond < stop and _bridges(left, kind, right):
                found |= here | props[code]
                left = right
                at = beyond + other
                length += marks + 2
                joiner = False
                plain = True
                continue
            if left != p.HEBREW or kind != p.SINGLE_QUOTE:  # WB7a
                break
            left = kind
            joiner = False
        found |= here
        at += size
        length += 1
    return at, found, length


@kernel
def _count_lines(data: Bytes, offsets: Ints, out: Ints) -> int:
    count = 0
    for row in range(len(offsets) - 1):
        if offsets[row + 1] > offsets[row]:
            count += 1
            for at in range(offsets[row], offsets[row + 1]):
                count += data[at] == 10
        out[row + 1] = count
    return count


@kernel
def _lines(data: Bytes, offsets: Ints, start: Ints, end: Ints, first: Ints, last: Ints, key: Keys, chars: Chars) -> int:
    count = 0
    for row in range(len(offsets) - 1):
        at = offsets[row]
        stop = offsets[row + 1]
        if at == stop:
            continue
        while True:
            begin = at
            high = np.uint8(0)
            while at < stop and data[at] != 10:
                high |= data[at]
                at += 1
            start[count], end[count] = begin, at
            first[count] = skip_space(data, begin, at)
            last[count] = skip_space_back(data, first[count], at)
            key[count] = hash_bytes(data, begin, at)
            chars[count] = at - begin if high < 0x80 else count_chars(data, begin, at)
            count += 1
            if at == stop:
                break
            at += 1
    return count


_KERNELS: dict[str, _Kernel] = {
    "whitespace": _whitespace,
    "uax29": _uax29,
    "treebank": treebank_kernel,
}
