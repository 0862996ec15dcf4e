"""Penn Treebank's clitics and fused words: "do" "n't", "John" "'s", "can" "not".

    count = add_piece(data, start, end, props, spans, count)

Words are noted in `spans` as pairs of numbers, the start, and the end with what kind of word it is: a call with
few arrays is a fast one.
"""

from __future__ import annotations

import numpy as np

from curate.text.native import Bytes, Ints, Props, inlined, kernel
from curate.text.props import ALNUM, CLASS_MASK, EXTEND
from curate.text.utf8 import decode, decode_before

AS_IT_IS, OPENS, CLOSES = range(3)  # the last two are quotes, which are written otherwise than they stand

# Words that are written as one and counted as two, after three letters. "wanna" comes last, as it must end
# the piece.
_FUSED = ("cannot", "gimme", "gonna", "gotta", "lemme", "wanna")
_FUSED_INITIALS = tuple(b"cdglmw")  # also of "d'ye" and "more'n"
_FUSED_LETTERS = np.frombuffer("".join(f"{word:6}" for word in _FUSED).encode(), dtype=np.uint8)


@inlined
def may_be_fused(data: Bytes, start: int, end: int) -> bool:
    """Whether these letters can be "cannot", "gimme", "lemme", "wanna" or the like; nearly none can."""
    return 5 <= end - start <= 6 and data[start] | 32 in (99, 103, 108, 119)


@kernel
def word_char(data: Bytes, at: int, end: int, props: Props) -> bool:
    """Whether a letter, a digit, a mark on one or an underscore stands at `at`."""
    if at >= end:
        return False
    code, _ = decode(data, at, end)
    return code == 95 or props[code] & ALNUM != 0 or props[code] & CLASS_MASK == EXTEND


@kernel
def word_char_before(data: Bytes, begin: int, at: int, props: Props) -> bool:
    """Whether one of those ends at `at`."""
    if at <= begin:
        return False
    code, _ = decode_before(data, begin, at)
    return code == 95 or props[code] & ALNUM != 0 or props[code] & CLASS_MASK == EXTEND


@kernel
def add_piece(data: Bytes, start: int, end: int, props: Props, spans: Ints, count: int) -> int:
    """The words of data[start:end], which has white space on both sides: parts the clitics at its end."""
    if start >= end:
        return count
    cut = end - _short_clitic(data, start, end)
    inner = cut - _long_clitic(data, start, cut)
    count = add_words(data, start, inner, props, spans, count)
    if inner < cut:
        count = add_words(data, inner, cut, props, spans, count)
    if cut < end:
        count = add_words(data, cut, end, props, spans, count)
    return count


@kernel
def _short_clitic(data: Bytes, start: int, end: int) -> int:
    """The length of 's, 'm, 'd or ' at the end, behind anything but an apostrophe; or 0."""
    if end - start >= 2 and data[end - 1] == 39:
        return 1 if data[end - 2] != 39 else 0
    if end - start < 3 or data[end - 2] != 39 or data[end - 3] == 39:
        return 0
    return 2 if data[end - 1] | 32 in (115, 109, 100) else 0


@kernel
def _long_clitic(data: Bytes, start: int, end: int) -> int:
    """The length of 'll, 're, 've or n't at the end, in one case, behind anything but an apostrophe; or 0."""
    if end - start < 4 or data[end - 4] == 39:
        return 0
    one, two, three = data[end - 3], data[end - 2], data[end - 1]
    if one == 39:
        if (two == 108 and three == 108) or (two == 76 and three == 76):
            return 3
        if (two == 114 or two == 118) and three == 101:
            return 3
        if (two == 82 or two == 86) and three == 69:
            return 3
    elif two == 39 and ((one == 110 and three == 116) or (one == 78 and three == 84)):
        return 3
    return 0


@kernel
def add_words(data: Bytes, start: int, end: int, props: Props, spans: Ints, count: int) -> int:
    """The words of data[start:end], nearly always one: parts "cannot", "gonna" and the like."""
    at = start
    while at < end and data[at] < 0x80 and props[data[at]] & ALNUM:
        at += 1
    if at == end and not may_be_fused(data, start, end):
        return add_word(start, end, AS_IT_IS, spans, count)
    from_here = start
    at = start
    while at + 4 <= end:
        if data[at] | 32 not in _FUSED_INITIALS or word_char_before(data, start, at, props):
            at += 1
            continue
        first, second = _fused(data, at, end, props)
        if first == 0:
            at += 1
            continue
        if from_here < at:
            count = add_word(from_here, at, AS_IT_IS, spans, count)
        count = add_word(at, at + first, AS_IT_IS, spans, count)
        count = add_word(at + first, at + first + second, AS_IT_IS, spans, count)
        at += first + second
        from_here = at
    if from_here < end:
        count = add_word(from_here, end, AS_IT_IS, spans, count)
    return count


@kernel
def _fused(data: Bytes, at: int, end: int, props: Props) -> tuple[int, int]:
    """The lengths of the two parts of a fused word at `at`, or (0, 0)."""
    initial = data[at] | 32
    if initial == 100 and _same(data, at + 1, end, 39, 121, 101) and not word_char(data, at + 4, end, props):
        return 1, 3  # d'ye
    if (
        initial == 109
        and _same(data, at + 1, end, 111, 114, 101)
        and at + 5 < end
        and data[at + 4] == 39
        and data[at + 5] | 32 == 110
        and not word_char(data, at + 6, end, props)
    ):
        return 4, 2  # more'n
    for row in range(len(_FUSED_LETTERS) // 6):
        size = 6 if row == 0 else 5
        if at + size > end:
            continue
        same = True
        for k in range(size):
            if data[at + k] | 32 != _FUSED_LETTERS[6 * row + k]:
                same = False
                break
        if same and (at + size == end or (row < 5 and not word_char(data, at + size, end, props))):
            return 3, size - 3
    return 0, 0


@kernel
def _same(data: Bytes, at: int, end: int, one: int, two: int, three: int) -> bool:
    """Whether three letters stand at `at`, in either case."""
    if at + 3 > end:
        return False
    return bool(data[at] | 32 == one | 32 and data[at + 1] | 32 == two and data[at + 2] | 32 == three)


@inlined
def add_word(first: int, last: int, kind: int, spans: Ints, count: int) -> int:
    """Note the word from `first` to `last`."""
    spans[2 * count] = first
    spans[2 * count + 1] = (last << 2) | kind
    return count + 1
