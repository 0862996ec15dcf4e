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

from curate.text.bitmaps import SPACE, WORD, runs, trimmed, window
from curate.text.clitics import (
    AS_IT_IS,
    CLOSES,
    OPENS,
    add_piece,
    add_word,
    add_words,
    may_be_fused,
    word_char,
    word_char_before,
)
from curate.text.native import Bytes, Chars, Ints, Keys, Props, inlined, kernel
from curate.text.props import DIGIT
from curate.text.sentences import next_sentence
from curate.text.simd import trailing_zeros
from curate.text.utf8 import decode, decode_before
from curate.text.words import CLOSING_KEY, OPENING_KEY, describe

_PLAIN, _ALONE, _DOT, _COMMA, _HYPHEN, _BACKQUOTE, _QUOTE, _APOSTROPHE = range(8)

_KIND = np.zeros(128, dtype=np.uint8)
for _mark in ";@#$%&?!*[](){}<>":
    _KIND[ord(_mark)] = _ALONE
for _mark, _kind in ((".", _DOT), (":", _COMMA), (",", _COMMA), ("-", _HYPHEN)):
    _KIND[ord(_mark)] = _kind
for _mark, _kind in (("`", _BACKQUOTE), ('"', _QUOTE), ("'", _APOSTROPHE)):
    _KIND[ord(_mark)] = _kind


def treebank_kernel(
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
    """Fill the arrays of `curate.text.split.split` by the splitter `treebank`; return the number of words."""
    most = int(np.diff(offsets).max()) if len(offsets) > 1 else 0
    stretches = np.empty((2, most // 2 + 2), dtype=np.int64)
    spans = np.empty(2 * most, dtype=np.int64)
    return _tokenise(data, bits, offsets, props, word_offsets, stretches, spans, start, end, key, chars, flags)


@kernel
def _tokenise(
    data: Bytes,
    bits: Keys,
    offsets: Ints,
    props: Props,
    word_offsets: Ints,
    stretches: Ints,
    spans: Ints,
    start: Ints,
    end: Ints,
    key: Keys,
    chars: Chars,
    flags: Bytes,
) -> int:
    """Note where the words of each text stand, then what they are."""
    total = 0
    for row in range(len(offsets) - 1):
        at = offsets[row]
        stop = offsets[row + 1]
        left = runs(bits, SPACE, at, stop, stretches[0], stretches[1], 0)
        stretch = 0
        count = 0
        while stretch < left:
            begin = at
            sentence_end, at = next_sentence(data, bits, begin, stop)
            count = _sentence(data, bits, begin, sentence_end, props, stretches, stretch, left, spans, count)
            while stretch < left and stretches[1, stretch] <= at:
                stretch += 1
            if stretch < left and stretches[0, stretch] < at:  # the sentence ended within a stretch
                stretches[0, stretch] = at
        _describe(data, bits, props, spans, count, total, start, end, key, chars, flags)
        total += count
        word_offsets[row + 1] = total
    return total


@kernel
def _sentence(
    data: Bytes,
    bits: Keys,
    begin: int,
    end: int,
    props: Props,
    stretches: Ints,
    stretch: int,
    left: int,
    spans: Ints,
    count: int,
) -> int:
    """The words of the sentence data[begin:end]; its stretches without white space start with number `stretch`."""
    dot = _final_period(data, bits, begin, end)
    for here in range(stretch, left):
        at, behind = stretches[0, here], min(stretches[1, here], end)
        if at >= end:
            break
        stop = at + trailing_zeros(~window(bits, WORD, at))
        if stop >= behind and behind - at < 64:
            if may_be_fused(data, at, behind):
                count = add_words(data, at, behind, props, spans, count)
            else:
                count = add_word(at, behind, AS_IT_IS, spans, count)
            continue
        kind = _PLAIN
        if stop + 1 == behind and stop > at and data[stop] < 0x80:
            kind = _KIND[data[stop]]
        if kind in (_ALONE, _COMMA) or (kind == _DOT and stop == dot):  # a word and a mark
            if may_be_fused(data, at, stop):
                count = add_words(data, at, stop, props, spans, count)
            else:
                count = add_word(at, stop, AS_IT_IS, spans, count)
            count = add_word(stop, behind, AS_IT_IS, spans, count)
        else:
            count = _stretch(data, bits, begin, at, behind, end, dot, props, spans, count)
    return count


@kernel
def _final_period(data: Bytes, bits: Keys, begin: int, end: int) -> int:
    """The period that ends a sentence, before closing brackets, quotes and spaces; or -1."""
    at = trimmed(bits, SPACE, begin, end)
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
def _clitic_follows(data: Bytes, at: int, end: int, props: Props) -> bool:
    """Whether re, ve, ll, m, t, s, d or n stands at `at`, as a whole word."""
    first = data[at] | 32
    if first in (109, 116, 115, 100, 110) and not word_char(data, at + 1, end, props):
        return True
    if at + 1 >= end:
        return False
    second = data[at + 1] | 32
    if (first in (114, 118) and second == 101) or (first == 108 and second == 108):
        return not word_char(data, at + 2, end, props)
    return False


@inlined
def _stretch(
    data: Bytes, bits: Keys, begin: int, at: int, stop: int, end: int, dot: int, props: Props, spans: Ints, count: int
) -> int:
    """The words of data[at:stop], a stretch without white space of the sentence data[begin:end]."""
    piece = at
    swallowed = -1  # a colon or comma that the one before it has taken as its follower
    while True:
        size = 0  # of the next word that stands alone
        form = AS_IT_IS
        while at < stop:
            at += trailing_zeros(~window(bits, WORD, at))
            if at >= stop:
                at = stop
                break
            byte = data[at]
            if byte >= 0x80:
                code, step = decode(data, at, stop)
                if code in (0xAB, 0xBB, 0x2018, 0x2019, 0x201C, 0x201D, 0x201E) or 0x2012 <= code <= 0x2015:
                    size = step
                    break
                at += step
                continue
            kind = _KIND[byte]
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
                opens = _opens(data, begin, at) and not (kind == _APOSTROPHE and at == begin)
                size = 1 if kind == _QUOTE else 2
                form = OPENS if opens else CLOSES
            elif (
                not word_char_before(data, begin, at, props)
                and word_char(data, at + 1, stop, props)
                and not _clitic_follows(data, at + 1, stop, props)
            ):
                size = 1
            if size:
                break
            at += 1
        if piece < at:
            if at - piece <= trailing_zeros(~window(bits, WORD, piece)) and not may_be_fused(data, piece, at):
                count = add_word(piece, at, AS_IT_IS, spans, count)
            else:
                count = add_piece(data, piece, at, props, spans, count)
        if size == 0:
            return count
        count = add_word(at, at + size, form, spans, count)
        at += size
        piece = at


@kernel
def _digit(data: Bytes, at: int, end: int, props: Props) -> bool:
    code, _ = decode(data, at, end)
    return bool(props[code] & DIGIT != 0)


@kernel
def _describe(
    data: Bytes,
    bits: Keys,
    props: Props,
    spans: Ints,
    count: int,
    total: int,
    start: Ints,
    end: Ints,
    key: Keys,
    chars: Chars,
    flags: Bytes,
) -> None:
    """Where the words noted stand and what they are, for word `total` and those after it."""
    for noted in range(count):
        word = total + noted
        first = spans[2 * noted]
        last = spans[2 * noted + 1] >> 2
        kind = spans[2 * noted + 1] & 3
        start[word], end[word] = first, last
        if kind == AS_IT_IS:
            describe(data, bits, props, first, last, word, key, chars, flags)
        else:
            key[word] = OPENING_KEY if kind == OPENS else CLOSING_KEY
            chars[word] = 2
            flags[word] = 0
