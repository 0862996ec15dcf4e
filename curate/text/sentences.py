"""Where sentences end in running text, for the Treebank words and for C4's sentence count.

    count_sentences(data, bits, start, end)
    stop, following = next_sentence(data, bits, start, end)

The decisions are those of Punkt (Kiss and Strunk 2006, "Unsupervised Multilingual Sentence Boundary
Detection") as NLTK applies them to English, with small lists of ours in place of its trained tables:

- `.`, `?` or `!` before white space or a bracket or quote may end a sentence; of several in one stretch
  without white space, the last does;
- closing quotes and brackets after it belong to the sentence that ends;
- an abbreviation, or an ellipsis, ends one only before a capitalised word that often starts sentences;
- an initial ("J. Smith") does so too, and a number with a period not before a lower-case word.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from curate.text.bitmaps import SPACE, STOP, next_clear, next_set, previous_set, trimmed
from curate.text.native import Bytes, Ints, Keys, compiled, kernel
from curate.text.simd import BASE

# Words that newspapers write with a final period inside a sentence; Punkt's English model knows them too,
# and few others ("etc.", "fig." and "e.g." end a sentence there). Letters with periods between them and
# single letters are recognised by their shape.
ABBREVIATIONS = """
    adm ala ariz aug ave bros calif chg cie co col colo conn corp cos ct dec dr feb fla fri ft ga gen
    ill inc jan jr kan ky lt ltd maj messrs mg mich minn mr mrs ms nev nov oct ok okla ore pa ph.d prof
    rep reps sen sep sept sr st sw tenn tues va vs vt w.va wash wed wis yr
"""

# Words that are common in lower case, so that a capital shows the start of a sentence.
STARTERS = """
    a about according after again all also although among an and another any are as at because been
    before both but by can could despite did do does during each even every few finally first for from
    get had has have he her here his how however i if in indeed instead into is it its last later many
    may meanwhile more moreover most much my never nevertheless next no nonetheless nor not now of on
    once one only or other our out over perhaps please read recent see separately several she should
    similarly since so some soon still such that the their them then there therefore these they this
    those though through thus to today two under until up was we well were what when where whether which
    while who why will with without would yes yet you your
"""


def _keys(words: Iterable[str]) -> Keys:
    """The hashes of words, sorted; the same polynomial as `curate.text.utf8.hash_bytes`."""
    keys = []
    for word in words:
        key = 0
        for byte in word.encode():
            key = (key * int(BASE) + byte + 1) % (1 << 64)
        keys.append(key)
    return np.array(sorted(keys), dtype=np.uint64)


_ABBREVIATION_KEYS = _keys(ABBREVIATIONS.split())
_STARTER_KEYS = _keys(STARTERS.split())
_ONE = np.uint64(1)

# A longer word is judged by as many bytes at its end, or a text without white space would take time squared. It is odd
# as the length of "u.s" is.
_LONGEST_WORD = 257

_DOT, _QUESTION, _EXCLAMATION, _HYPHEN = 46, 63, 33, 45
_QUOTE, _APOSTROPHE = 34, 39


@kernel
def _lower_key(data: Bytes, start: int, end: int) -> np.uint64:
    """The hash of the bytes with ASCII capitals in lower case."""
    key = np.uint64(0)
    for at in range(start, end):
        byte = data[at]
        if 65 <= byte <= 90:
            byte += np.uint8(32)
        key = key * BASE + np.uint64(byte) + _ONE
    return key


@kernel
def _among(keys: Keys, key: np.uint64) -> bool:
    at = np.searchsorted(keys, key)
    return bool(at < len(keys) and keys[at] == key)


@kernel
def _curly(data: Bytes, at: int, end: int) -> bool:
    """Whether a curly quote or a guillemet stands here."""
    if at + 2 < end and data[at] == 0xE2 and data[at + 1] == 0x80:
        return data[at + 2] in (0x98, 0x99, 0x9C, 0x9D)
    return at + 1 < end and data[at] == 0xC2 and data[at + 1] in (0xAB, 0xBB)


@kernel
def _outside_words(data: Bytes, at: int, end: int) -> bool:
    """Whether the character here cannot be part of a word: a bracket, a quote, `? ! ; : * @`."""
    byte = data[at]
    if byte >= 0x80:
        return _curly(data, at, end)
    return byte in (33, 34, 39, 40, 41, 42, 58, 59, 63, 64, 91, 93, 123, 125)


@kernel
def _closer(data: Bytes, at: int, end: int) -> int:
    """The size of a closing quote or bracket here, or 0."""
    byte = data[at]
    if byte in (34, 39, 41, 93, 125):
        return 1
    if byte >= 0x80 and _curly(data, at, end):
        return 2 if byte == 0xC2 else 3
    return 0


@kernel
def _starts_sentence(data: Bytes, start: int, end: int) -> bool:
    """Whether the word here is capitalised and common in lower case."""
    if start >= end or not 65 <= data[start] <= 90:
        return False
    stop = start
    while stop < end and (65 <= data[stop] <= 90 or 97 <= data[stop] <= 122):
        stop += 1
    return _among(_STARTER_KEYS, _lower_key(data, start, stop))


@kernel
def _number(data: Bytes, start: int, end: int) -> bool:
    digits = 0
    for at in range(start, end):
        byte = data[at]
        if 48 <= byte <= 57:
            digits += 1
        elif byte not in (44, 45, 46):
            return False
    return digits > 0


@kernel
def _dotted_letters(data: Bytes, start: int, end: int) -> bool:
    """Whether single letters with periods between them stand here, as in "u.s" and "p.m"."""
    if (end - start) % 2 == 0 or end - start < 3:
        return False
    if end - start == 3 and (data[start] | 32, data[end - 1] | 32) in ((101, 103), (105, 101)):
        return False  # "e.g." and "i.e."
    for at in range(start, end):
        byte = data[at] | 32
        if (at - start) % 2 == 0:
            if not 97 <= byte <= 122:
                return False
        elif data[at] != _DOT:
            return False
    return True


@kernel
def _period_ends(data: Bytes, bits: Keys, begin: int, dot: int, after: int, end: int) -> bool:
    """Whether the period at `dot`, in the sentence from `begin`, ends it before `after`."""
    if dot > begin and data[dot - 1] == _DOT:
        return _starts_sentence(data, after, end)
    start = previous_set(bits, SPACE, max(begin, dot - _LONGEST_WORD), dot)
    word = dot
    while word > start and not (data[word - 1] < 0x80 and _outside_words(data, word - 1, dot)):
        word -= 1
    while word < dot and data[word] in (35, 38, 44, 45, 96):  # these start no word
        word += 1
    if _number(data, word, dot):
        return not (97 <= data[after] <= 122 or data[after] in (44, 46, 58, 59))
    if dot - word == 1 and (65 <= data[word] <= 90 or 97 <= data[word] <= 122):
        if data[word] in (73, 105) and not 65 <= data[after] <= 90:
            return not 97 <= data[after] <= 122
        return _starts_sentence(data, after, end)
    tail = dot
    while tail > word and data[tail - 1] != _HYPHEN:
        tail -= 1
    abbreviation = _dotted_letters(data, word, dot) or _among(_ABBREVIATION_KEYS, _lower_key(data, word, dot))
    if abbreviation or _among(_ABBREVIATION_KEYS, _lower_key(data, tail, dot)):
        return _starts_sentence(data, after, end)
    return True


@kernel
def next_sentence(data: Bytes, bits: Keys, start: int, end: int) -> tuple[int, int]:
    """Where the sentence that starts at `start` stops, and where the following one starts.

    The last sentence stops before the white space at its end and is followed by `end`.
    """
    at = next_set(bits, STOP, start, end)
    while at < end:
        stretch_end = next_set(bits, SPACE, at, end)
        after = next_clear(bits, SPACE, stretch_end, end)
        last = -1
        ends = False
        mark = at
        while mark < stretch_end:
            follower = mark + 1
            if follower == stretch_end:
                if after == end:
                    break
                follower = after
            if follower == after or _outside_words(data, follower, stretch_end):
                last = mark
                ends = ends or data[mark] != _DOT or _period_ends(data, bits, start, mark, follower, end)
            mark = next_set(bits, STOP, mark + 1, stretch_end)
        if ends:
            following = after if last + 1 == stretch_end else last + 1
            return _with_closers(data, bits, last + 1, following, end)
        at = next_set(bits, STOP, after, end)
    return trimmed(bits, SPACE, start, end), end


@kernel
def _with_closers(data: Bytes, bits: Keys, stop: int, following: int, end: int) -> tuple[int, int]:
    """The same boundary, moved behind closing quotes and brackets that no word follows at once."""
    at = following
    while at < end:
        size = _closer(data, at, end)
        if size == 0:
            break
        at += size
        after = next_clear(bits, SPACE, at, end)
        if after > at or at == end:
            return at, after
        if at + 1 < end and data[at] == _HYPHEN and data[at + 1] == _HYPHEN:
            return at, at
    return stop, following


@kernel
def count_sentences(data: Bytes, bits: Keys, start: int, end: int) -> int:
    """The number of sentences in data[start:end]; none in white space."""
    count = 0
    at = next_clear(bits, SPACE, start, end)
    while at < end:
        _, at = next_sentence(data, bits, at, end)
        count += 1
    return count


@compiled()
def sentence_ends(data: Bytes, bits: Keys, start: int, end: int) -> Ints:
    """Where each sentence of data[start:end] stops, as positions in `data`."""
    ends = np.empty(count_sentences(data, bits, start, end), dtype=np.int64)
    at = next_clear(bits, SPACE, start, end)
    for row in range(len(ends)):
        ends[row], at = next_sentence(data, bits, at, end)
    return ends
