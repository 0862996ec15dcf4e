"""n-grams of words by their hashes: which are the same, which is the most frequent, what repeats.

    left = pairs(begin, words, reach, key, seen, here, keys)
    best, times = classes(here, left, keys, found, count, table)
    left = survivors(key, begin, n, words - n, here, left, found, count, keys)

Most n-grams occur once. A first pass over all positions, without a branch, counts small hashes in a table of bytes and
leaves the positions whose n-gram may occur again; only those are looked up in a table of open addressing. Both
tables serve every text and order, and are cleared as far as they are used.
"""

from __future__ import annotations

import numpy as np

from curate.text.native import Bytes, Chars, Ints, Keys, inlined, kernel
from curate.text.rules.marks import DCLM, DOLMA
from curate.text.simd import BASE
from curate.text.utf8 import few
from curate.text.words import CLOSING_KEY, OPENING_KEY

_POWERS = np.array([pow(int(BASE), k, 1 << 64) for k in range(256)], dtype=np.uint64)
_FIBONACCI = np.uint64(0x9E3779B97F4A7C15)
_SEQUENCE = np.uint64(0xD1342543DE82EF95)  # of a hash of words, as BASE is of a hash of bytes
_64, _FOUR_BYTES = np.uint64(64), np.uint64(0xFFFFFFFF)
_BACKQUOTES, _APOSTROPHES = np.uint64(0x6060), np.uint64(0x2727)

_MOST_SEEN = 24  # bits of the size of the table of bytes, beyond which it would only fill the memory
_LEAD = 12  # bytes of joined words by which a repeated n-gram is noticed


def seen_size(words: int) -> int:
    """The size of the table of bytes for a text of so many words: mostly more than sixteen for each."""
    return 1 << min((16 * words).bit_length(), _MOST_SEEN)


@inlined
def table_bits(entries: int, most: int) -> int:
    """The number of bits that counts at least as many as there are entries, up to a most."""
    bits = 1
    while (1 << bits) < entries and bits < most:
        bits += 1
    return bits


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
def _seen_again(keys: Keys, count: int, seen: Bytes, here: Ints, reach: Ints, n: int, least: int) -> int:
    """Write the positions whose key may occur twice among the first `count` to `here`; return how many.

    Those whose n words have fewer than `least` bytes are written too.
    """
    bits = table_bits(16 * count, _MOST_SEEN)
    shift = np.uint64(64 - bits)
    seen[: 1 << bits] = 0
    for k in range(count):
        keys[k] = (keys[k] * _FIBONACCI) >> shift
        times = seen[keys[k]]
        seen[keys[k]] = times + (times < 2)
    left = 0
    for k in range(count):
        here[left] = k
        left += (seen[keys[k]] > 1) | (reach[k + n] - reach[k] < least)
    return left


@kernel
def pairs(begin: int, words: int, reach: Ints, key: Keys, seen: Bytes, here: Ints, keys: Keys) -> int:
    """Write the positions whose two words may occur again to `here`, their hashes to `keys`; return how many."""
    for k in range(words - 1):
        keys[k] = key[begin + k] * _SEQUENCE + key[begin + k + 1]
    left = _seen_again(keys, words - 1, seen, here, reach, 2, 0)
    for k in range(left):
        first = begin + here[k]
        keys[k] = key[first] * _SEQUENCE + key[first + 1]
    return left


@kernel
def classes(here: Ints, left: int, keys: Keys, found: Ints, count: Ints, table: Chars) -> tuple[int, int]:
    """For each candidate the first one that is the same n-gram, and for that one how many there are.

    Returns the word at which the most frequent n-gram starts, the first of them in the text where several
    are, and how often it occurs: word 0 and once where no candidate repeats.
    """
    bits = table_bits(2 * left, 63)
    mask = (1 << bits) - 1
    shift = np.uint64(64 - bits)
    table[: mask + 1] = -1
    for k in range(left):
        mine = keys[k]
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
def survivors(
    key: Keys, begin: int, n: int, most: int, here: Ints, left: int, found: Ints, count: Ints, keys: Keys
) -> int:
    """Keep the candidates at which the n-gram and the one a word later repeat, with their hashes of a word more.

    `most` is the last start of an n-gram.
    """
    kept = 0
    for k in range(left - 1):
        follows = (here[k + 1] == here[k] + 1) & (here[k] < most)
        here[kept] = here[k]
        keys[kept] = keys[k]
        kept += follows & (count[found[k]] > 1) & (count[found[k + 1]] > 1)
    for k in range(kept):
        keys[k] = keys[k] * _SEQUENCE + key[begin + here[k] + n]
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
def leads(
    data: Bytes,
    begin: int,
    words: int,
    n: int,
    start: Ints,
    reach: Ints,
    key: Keys,
    seen: Bytes,
    here: Ints,
    keys: Keys,
) -> int:
    """Write the positions whose n words or more, joined, may occur again to `here`, their hashes to `keys`.

    `reach` is where the words lie when they are joined, in bytes. Joined words can be the same where the words
    are not, so that their first bytes are looked at. Returns how many.
    """
    low = high = np.uint64(0)  # the bytes from the word on
    for k in range(words - 1, -1, -1):
        at = start[begin + k]
        size = reach[k + 1] - reach[k]
        if size < 8:
            mine = key[begin + k]
            if size == 2 and mine in (OPENING_KEY, CLOSING_KEY):  # not written as they count
                word = _BACKQUOTES if mine == OPENING_KEY else _APOSTROPHES
            else:
                word = few(data, at, size)
            bits = np.uint64(8 * size)
            high = (high << bits) | (low >> (_64 - bits))
            low = (low << bits) | word
        else:
            rest = min(size - 8, 8)
            if rest == 8:
                high = few(data, at + 8, 8)
            elif rest > 0:
                high = (low << np.uint64(8 * rest)) | few(data, at + 8, rest)
            else:
                high = low
            low = few(data, at, 8)
        keys[k] = low * _SEQUENCE + (high & _FOUR_BYTES)
    left = _seen_again(keys, words - n + 1, seen, here, reach, n, _LEAD)
    for k in range(left):
        joined = np.uint64(0)
        for place in range(here[k], here[k] + n):
            joined = joined * _power(reach[place + 1] - reach[place]) + key[begin + place]
        keys[k] = joined
    return left


@kernel
def lengthen(begin: int, n: int, words: int, reach: Ints, key: Keys, here: Ints, left: int, keys: Keys) -> None:
    """Make the hashes of n joined words those of a word more, where there is one."""
    for k in range(left):
        word = here[k] + n
        if word < words:
            keys[k] = keys[k] * _power(reach[word + 1] - reach[word]) + key[begin + word]


@kernel
def scan(n: int, words: int, at_chars: Ints, here: Ints, left: int, keys: Keys, table: Chars) -> int:
    """The characters of n-grams seen before, in a scan that jumps over each; joined words are compared."""
    bits = table_bits(2 * left, 63)
    mask = (1 << bits) - 1
    shift = np.uint64(64 - bits)
    table[: mask + 1] = -1
    part = 0
    at = 0
    for k in range(left):
        first = here[k]
        if first + n > words:
            break
        if first < at:
            continue
        slot = np.int64((keys[k] * _FIBONACCI) >> shift)
        while table[slot] >= 0 and keys[table[slot]] != keys[k]:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = k
        else:
            at = first + n
            part += at_chars[at] - at_chars[first]
    return part


@kernel
def occurrences(data: Bytes, at: int, stop: int, start: Ints, end: Ints, first: int, n: int) -> int:
    """How often the words, with one space between them, occur in the text, as `str.replace` finds them.

    Needs two words or more. Behind the first there must be a space, and it is compared from there backwards, the
    others forwards: as hardly a word holds a space, no byte is looked at more often than there are words.
    """
    times = 0
    lead = data[start[first]]
    length = end[first] - start[first]
    while at + length < stop:
        if data[at] != lead or data[at + length] != 32:
            at += 1
            continue
        same = True
        for k in range(length - 1, 0, -1):
            if data[at + k] != data[start[first] + k]:
                same = False
                break
        if not same:
            at += 1
            continue
        here = at + length
        for word in range(first + 1, first + n):
            size = end[word] - start[word]
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
