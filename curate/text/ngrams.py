"""n-grams of words by running hashes: which are the same, which is the most frequent, what repeats.

    run(running, reach, chars_reach, begin, words, start, end, key, chars, gap=1)
    best, times = classes(running, reach, n, here, left, keys, found, count, table)

The hash of an n-gram follows from the running hash at its two ends. A table of open addressing serves every
text and every order; it is cleared as far as it is used.
"""

from __future__ import annotations

import numpy as np

from curate.text.marks import DCLM, DOLMA
from curate.text.native import Bytes, Chars, Ints, Keys, kernel
from curate.text.utf8 import BASE

_POWERS = np.array([pow(int(BASE), k, 1 << 64) for k in range(256)], dtype=np.uint64)
_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)


@kernel
def _power(exponent: int) -> np.uint64:
    """BASE to the exponent, modulo 2^64."""
    result: np.uint64 = _POWERS[exponent & 255]
    exponent >>= 8
    if exponent:
        square = _POWERS[255] * _POWERS[1]
        while exponent:
            if exponent & 1:
                result *= square
            square *= square
            exponent >>= 1
    return result


@kernel
def run(
    running: Keys,
    reach: Ints,
    chars_reach: Ints,
    begin: int,
    count: int,
    start: Ints,
    end: Ints,
    key: Keys,
    chars: Chars,
    gap: int,
) -> None:
    """Running hashes, bytes and characters over words, each followed by `gap` separators."""
    running[0] = 0
    reach[0] = 0
    chars_reach[0] = 0
    for k in range(count):
        word = begin + k
        # A Treebank quote is hashed as two bytes, as many as its characters.
        size = max(end[word] - start[word], chars[word])
        mine = key[word] * BASE if gap else key[word]
        running[k + 1] = running[k] * _power(size + gap) + mine
        reach[k + 1] = reach[k] + size + gap
        chars_reach[k + 1] = chars_reach[k] + chars[word]


@kernel
def _gram(running: Keys, reach: Ints, at: int, n: int) -> np.uint64:
    """The hash of the n-gram that starts with word `at`."""
    gram: np.uint64 = running[at + n] - running[at] * _power(reach[at + n] - reach[at])
    return gram


@kernel
def classes(
    running: Keys,
    reach: Ints,
    n: int,
    here: Ints,
    left: int,
    keys: Keys,
    found: Ints,
    count: Ints,
    table: Chars,
) -> tuple[int, int]:
    """For each candidate the first one that is the same n-gram, and for that one how many there are.

    Returns the word at which the most frequent n-gram starts, the first of them in the text where several
    are, and how often it occurs: word 0 and once where no candidate repeats.
    """
    bits = 1
    while (1 << bits) < 2 * left:
        bits += 1
    mask = (1 << bits) - 1
    shift = np.uint64(64 - bits)
    table[: mask + 1] = -1
    for k in range(left):
        mine = _gram(running, reach, here[k], n)
        keys[k] = mine
        slot = np.int64((mine * _FIBONACCI) >> shift)
        while table[slot] >= 0 and keys[table[slot]] != mine:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = k
            count[k] = 0
        found[k] = table[slot]
        count[table[slot]] += 1
    best = 0
    times = 1
    for k in range(left):
        if found[k] == k and count[k] > times:
            best, times = here[k], count[k]
    return best, times


@kernel
def survivors(here: Ints, left: int, found: Ints, count: Ints, most: int) -> int:
    """Keep the candidates at which the n-gram and the one a word later repeat; `most` is the last start."""
    kept = 0
    for k in range(left - 1):
        if here[k + 1] != here[k] + 1 or here[k] >= most:
            continue
        if count[found[k]] > 1 and count[found[k + 1]] > 1:
            here[kept] = here[k]
            kept += 1
    return kept


@kernel
def duplicates(at_chars: Ints, n: int, here: Ints, left: int, found: Ints, count: Ints, variant: int) -> int:
    """The characters in n-grams that occur more than once, as DCLM, Dolma or NeMo Curator count them."""
    part = 0
    covered = 0  # words before this one are counted
    for k in range(left):
        if count[found[k]] < 2:
            continue
        begin = here[k]
        stop = begin + n
        if variant == DOLMA:
            part += at_chars[stop] - at_chars[begin]
        elif variant == DCLM:
            part += at_chars[stop] - at_chars[max(begin, covered)]
            covered = stop
        elif found[k] != k:
            fresh = max(begin, covered)
            part += at_chars[stop] - at_chars[fresh] + min(stop - fresh, n - 1)
            covered = stop
    return part


@kernel
def scan(running: Keys, reach: Ints, at_chars: Ints, n: int, words: int, keys: Keys, table: Chars) -> int:
    """The characters of n-grams seen before, in a scan that jumps over each; joined words are compared."""
    bits = 1
    while (1 << bits) < 2 * words:
        bits += 1
    mask = (1 << bits) - 1
    shift = np.uint64(64 - bits)
    table[: mask + 1] = -1
    part = 0
    at = 0
    while at + n <= words:
        mine = _gram(running, reach, at, n)
        slot = np.int64((mine * _FIBONACCI) >> shift)
        while table[slot] >= 0 and keys[table[slot]] != mine:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = at
            keys[at] = mine
            at += 1
        else:
            part += at_chars[at + n] - at_chars[at]
            at += n
    return part


@kernel
def occurrences(data: Bytes, at: int, stop: int, start: Ints, end: Ints, first: int, n: int) -> int:
    """How often the words, with one space between them, occur in the text, as `str.replace` finds them."""
    times = 0
    lead = data[start[first]]
    while at < stop:
        if data[at] != lead:
            at += 1
            continue
        here = at
        for word in range(first, first + n):
            size = end[word] - start[word]
            if word > first:
                if here >= stop or data[here] != 32:
                    break
                here += 1
            if here + size > stop:
                break
            same = True
            for k in range(size):
                if data[here + k] != data[start[word] + k]:
                    same = False
                    break
            if not same:
                break
            here += size
            if word == first + n - 1:
                times += 1
                at = here - 1
        at += 1
    return times
