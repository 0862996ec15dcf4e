"""Penn Treebank words: punctuation is a word, clitics part from theirs ("do" "n't", "John" "'s").

    batch.words("treebank")

The words are those of NLTK's `word_tokenize` for English, which datatrove and data-prep-kit use, found
in one pass over each sentence rather than by thirty substitutions. A straight double quote becomes two
back-quotes or two apostrophes there, so here it counts two characters and hashes as those, while its span
is the quote's. The order in which the substitutions see each other's work shows in the result; where it
does, the rule says so.

"White space" below is the text's own, or the padding that an earlier rule puts around a word.
"""

from __future__ import annotations

import numpy as np

from curate.text.native import Bytes, Chars, Ints, Keys, Props, inlined, kernel
from curate.text.props import ALNUM, CLASS_MASK, DIGIT, EXTEND, FLAG_SHIFT, FLAGS
from curate.text.sentences import next_sentence
from curate.text.utf8 import (
    BASE,
    decode,
    decode_before,
    hash_bytes,
    is_space,
    next_space,
    skip_space,
    skip_space_back,
)

_PLAIN, _ALONE, _DOT, _COMMA, _HYPHEN, _BACKQUOTE, _QUOTE, _APOSTROPHE = range(8)

_KIND = np.zeros(128, dtype=np.uint8)
for _mark in ";@#$%&?!*[](){}<>":
    _KIND[ord(_mark)] = _ALONE
for _mark, _kind in ((".", _DOT), (":", _COMMA), (",", _COMMA), ("-", _HYPHEN)):
    _KIND[ord(_mark)] = _kind
for _mark, _kind in (("`", _BACKQUOTE), ('"', _QUOTE), ("'", _APOSTROPHE)):
    _KIND[ord(_mark)] = _kind

# Words are noted as pairs, the start and the end with one of these; a call with few arrays is a fast one.
_WORD, _OPENS, _CLOSES = range(3)
_OPENING_KEY = np.uint64((97 * int(BASE) + 97) % (1 << 64))  # of two back-quotes
_CLOSING_KEY = np.uint64((40 * int(BASE) + 40) % (1 << 64))  # of two apostrophes

# Words that are written as one and counted as two, after three letters. "wanna" comes last, as it must end
# the piece.
_FUSED = ("cannot", "gimme", "gonna", "gotta", "lemme", "wanna")
_FUSED_LETTERS = np.frombuffer("".join(f"{word:6}" for word in _FUSED).encode(), dtype=np.uint8)


def treebank_kernel(
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
    """Fill the arrays of `curate.text.split.split` by the splitter `treebank`; return the number of words."""
    spans = np.empty(2 * len(start), dtype=np.int64)
    count = _tokenise(data, offsets, props, word_offsets, spans)
    _describe(data, props, spans, count, start, end, key, chars, flags)
    return count


@kernel
def _tokenise(data: Bytes, offsets: Ints, props: Props, word_offsets: Ints, spans: Ints) -> int:
    count = 0
    for row in range(len(offsets) - 1):
        at = offsets[row]
        stop = offsets[row + 1]
        while at < stop:
            sentence_end, following = next_sentence(data, at, stop)
            count = _sentence(data, at, sentence_end, props, spans, count)
            at = following
        word_offsets[row + 1] = count
    return count


@kernel
def _sentence(data: Bytes, begin: int, end: int, props: Props, spans: Ints, count: int) -> int:
    dot = _final_period(data, begin, end)
    at = skip_space(data, begin, end)
    while at < end:
        stop = at
        while stop < end and data[stop] < 0x80 and props[data[stop]] & ALNUM:
            stop += 1
        if stop == end or (stop > at and data[stop] < 0x80 and is_space(data[stop])):
            count = _words(data, at, stop, props, spans, count)
        else:
            stop = next_space(data, stop, end)
            count = _stretch(data, begin, at, stop, end, dot, props, spans, count)
        at = skip_space(data, stop, end)
    return count


@kernel
def _final_period(data: Bytes, begin: int, end: int) -> int:
    """The period that ends a sentence, before closing brackets, quotes and spaces; or -1."""
    at = skip_space_back(data, begin, end)
    while at > begin:
        code, size = decode_before(data, begin, at)
        at -= size
        if code == 46:
            return at if at > begin and data[at - 1] != 46 else -1
        if code == 34 and _opens(data, begin, at):
            return -1
        if code not in (32, 34, 39, 41, 62, 93, 125, 0xBB, 0x2019, 0x201D):
            return -1
    return -1


@kernel
def _opens(data: Bytes, begin: int, at: int) -> bool:
    """Whether a double quote at `at` opens a quotation: after a space, a bracket, another opening quote."""
    if at == begin:
        return True
    code, _ = decode_before(data, begin, at)
    if code == 34:
        return at - 1 == begin
    return code in (32, 40, 60, 91, 96, 123, 0xAB, 0x2018, 0x201C, 0x201E)


@kernel
def _word_char(data: Bytes, at: int, end: int, props: Props) -> bool:
    """Whether a letter, a digit, a mark on one or an underscore stands at `at`."""
    if at >= end:
        return False
    code, _ = decode(data, at, end)
    return code == 95 or props[code] & ALNUM != 0 or props[code] & CLASS_MASK == EXTEND


@kernel
def _word_char_before(data: Bytes, begin: int, at: int, props: Props) -> bool:
    if at <= begin:
        return False
    code, _ = decode_before(data, begin, at)
    return code == 95 or props[code] & ALNUM != 0 or props[code] & CLASS_MASK == EXTEND


@kernel
def _clitic_follows(data: Bytes, at: int, end: int, props: Props) -> bool:
    """Whether re, ve, ll, m, t, s, d or n stands at `at`, as a whole word."""
    first = data[at] | 32
    if first in (109, 116, 115, 100, 110) and not _word_char(data, at + 1, end, props):
        return True
    if at + 1 >= end:
        return False
    second = data[at + 1] | 32
    if (first in (114, 118) and second == 101) or (first == 108 and second == 108):
        return not _word_char(data, at + 2, end, props)
    return False


@kernel
def _stretch(
    data: Bytes, begin: int, at: int, stop: int, end: int, dot: int, props: Props, spans: Ints, count: int
) -> int:
    """The words of data[at:stop], a stretch without white space of the sentence data[begin:end]."""
    piece = at
    swallowed = -1  # a colon or comma that the one before it has taken as its follower
    while at < stop:
        byte = data[at]
        if byte >= 0x80:
            code, size = decode(data, at, stop)
            if code in (0xAB, 0xBB, 0x2018, 0x2019, 0x201C, 0x201D, 0x201E) or 0x2012 <= code <= 0x2015:
                count = _piece(data, piece, at, props, spans, count)
                count = _add(at, at + size, _WORD, spans, count)
                piece = at + size
            at += size
            continue
        kind = _KIND[byte]
        size = 0  # of a word that stands alone here
        if kind == _PLAIN:
            at += 1
            continue
        if kind == _ALONE:
            size = 1
        elif kind == _DOT:
            size = 1
            while at + size < stop and data[at + size] == 46:
                size += 1
            if size == 1 and at != dot:
                size = 0
        elif kind == _COMMA:
            if at + 1 == end:
                size = 1
            elif at != swallowed and not _digit(data, at + 1, end, props):
                size = 1
                swallowed = at + 1
        elif kind == _HYPHEN:
            size = 2 if at + 1 < stop and data[at + 1] == 45 else 0
        elif kind == _BACKQUOTE:
            size = 2 if at + 1 < stop and data[at + 1] == 96 else 1
        elif kind == _QUOTE or (at + 1 < stop and data[at + 1] == 39):
            count = _piece(data, piece, at, props, spans, count)
            opens = _opens(data, begin, at) and not (kind == _APOSTROPHE and at == begin)
            size = 1 if kind == _QUOTE else 2
            count = _add(at, at + size, _OPENS if opens else _CLOSES, spans, count)
            at += size
            piece = at
            continue
        elif (
            not _word_char_before(data, begin, at, props)
            and _word_char(data, at + 1, stop, props)
            and not _clitic_follows(data, at + 1, stop, props)
        ):
            size = 1
        if size:
            count = _piece(data, piece, at, props, spans, count)
            count = _add(at, at + size, _WORD, spans, count)
            at += size
            piece = at
        else:
            at += 1
    return _piece(data, piece, stop, props, spans, count)


@kernel
def _digit(data: Bytes, at: int, end: int, props: Props) -> bool:
    code, _ = decode(data, at, end)
    return bool(props[code] & DIGIT != 0)


@kernel
def _piece(data: Bytes, start: int, end: int, props: Props, spans: Ints, count: int) -> int:
    """The words of data[start:end], which has white space on both sides: parts the clitics at its end."""
    if start >= end:
        return count
    cut = end - _short_clitic(data, start, end)
    inner = cut - _long_clitic(data, start, cut)
    count = _words(data, start, inner, props, spans, count)
    if inner < cut:
        count = _words(data, inner, cut, props, spans, count)
    if cut < end:
        count = _words(data, cut, end, props, spans, count)
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
def _words(data: Bytes, start: int, end: int, props: Props, spans: Ints, count: int) -> int:
    """The words of data[start:end], nearly always one: parts "cannot", "gonna" and the like."""
    at = start
    while at < end and data[at] < 0x80 and props[data[at]] & ALNUM:
        at += 1
    size = end - start
    if at == end and (size < 5 or size > 6 or data[start] | 32 not in (99, 103, 108, 119)):
        return _add(start, end, _WORD, spans, count)  # cannot be "cannot", "gimme", "lemme" or "wanna"
    from_here = start
    at = start
    while at < end:
        if _word_char_before(data, start, at, props) or not _word_char(data, at, end, props):
            at += 1
            continue
        first, second = _fused(data, at, end, props)
        if first:
            if from_here < at:
                count = _add(from_here, at, _WORD, spans, count)
            count = _add(at, at + first, _WORD, spans, count)
            count = _add(at + first, at + first + second, _WORD, spans, count)
            at += first + second
            from_here = at
        else:
            at += 1
            while at < end and data[at] < 0x80 and (props[data[at]] & ALNUM or data[at] == 95):
                at += 1
    if from_here < end:
        count = _add(from_here, end, _WORD, spans, count)
    return count


@kernel
def _fused(data: Bytes, at: int, end: int, props: Props) -> tuple[int, int]:
    """The lengths of the two parts of a fused word at `at`, or (0, 0)."""
    initial = data[at] | 32
    if initial not in (99, 100, 103, 108, 109, 119):
        return 0, 0
    if initial == 100 and _same(data, at + 1, end, 39, 121, 101) and not _word_char(data, at + 4, end, props):
        return 1, 3  # d'ye
    if (
        initial == 109
        and _same(data, at + 1, end, 111, 114, 101)
        and at + 5 < end
        and data[at + 4] == 39
        and data[at + 5] | 32 == 110
        and not _word_char(data, at + 6, end, props)
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
        if same and (at + size == end or (row < 5 and not _word_char(data, at + size, end, props))):
            return 3, size - 3
    return 0, 0


@kernel
def _same(data: Bytes, at: int, end: int, one: int, two: int, three: int) -> bool:
    """Whether three letters stand at `at`, in either case."""
    if at + 3 > end:
        return False
    return bool(data[at] | 32 == one | 32 and data[at + 1] | 32 == two and data[at + 2] | 32 == three)


@inlined
def _add(first: int, last: int, kind: int, spans: Ints, count: int) -> int:
    """Note the word from `first` to `last`."""
    spans[2 * count] = first
    spans[2 * count + 1] = (last << 2) | kind
    return count + 1


@kernel
def _describe(
    data: Bytes,
    props: Props,
    spans: Ints,
    count: int,
    start: Ints,
    end: Ints,
    key: Keys,
    chars: Chars,
    flags: Bytes,
) -> None:
    """Where the noted words stand, their hashes, lengths and flags."""
    for word in range(count):
        first = spans[2 * word]
        last = spans[2 * word + 1] >> 2
        kind = spans[2 * word + 1] & 3
        start[word], end[word] = first, last
        if kind != _WORD:
            key[word] = _OPENING_KEY if kind == _OPENS else _CLOSING_KEY
            chars[word] = 2
            flags[word] = 0
            continue
        found = 0
        size = 0
        at = first
        while at < last:
            code, step = decode(data, at, last)
            found |= props[code]
            size += 1
            at += step
        key[word] = hash_bytes(data, first, last)
        chars[word] = size
        flags[word] = (found >> FLAG_SHIFT) & FLAGS
