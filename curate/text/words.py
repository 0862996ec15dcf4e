"""What is noted of each word: its hash, its length in characters, and flags.

describe(data, bits, props, first, last, word, key, chars, flags)     # fills key[word], chars[word], flags[word]
"""

from __future__ import annotations

import numpy as np

from curate.text import props as p
from curate.text.bitmaps import START, WORD, count_set, next_clear
from curate.text.native import Bytes, Chars, Keys, Props, inlined, kernel
from curate.text.props import FLAG_SHIFT, FLAGS
from curate.text.simd import BASE
from curate.text.utf8 import decode, hash_and_kinds

# What `Words.flags` is a sum of: true of any character of the word.
HAS_LETTER = p.LETTER >> FLAG_SHIFT
HAS_ALNUM = p.ALNUM >> FLAG_SHIFT
HAS_NON_PUNCTUATION = p.NOT_PUNCTUATION >> FLAG_SHIFT
HAS_DICTIONARY = p.DICTIONARY >> FLAG_SHIFT

# The hashes of two back-quotes and of two apostrophes, as which a straight double quote counts in Treebank words.
OPENING_KEY = np.uint64((97 * int(BASE) + 97) % (1 << 64))
CLOSING_KEY = np.uint64((40 * int(BASE) + 40) % (1 << 64))

_LETTERS = HAS_LETTER | HAS_ALNUM | HAS_NON_PUNCTUATION  # what a letter of ASCII is


@inlined
def describe(
    data: Bytes,
    bits: Keys,
    props: Props,
    first: int,
    last: int,
    word: int,
    key: Keys,
    chars: Chars,
    flags: Bytes,
) -> None:
    """Note what data[first:last] is, which is not empty."""
    mine, high, letters = hash_and_kinds(data, first, last)
    key[word] = mine
    chars[word] = last - first
    flags[word] = _LETTERS
    if high != 0:
        if letters != 0 and next_clear(bits, WORD, first, last) == last:
            chars[word] = count_set(bits, START, first, last)
        else:
            _describe_characters(data, props, first, last, word, chars, flags)
    elif letters == 0:
        found = props[data[first]]
        for at in range(first + 1, last):
            found |= props[data[at]]
        flags[word] = (found >> FLAG_SHIFT) & FLAGS


@kernel
def _describe_characters(
    data: Bytes, props: Props, first: int, last: int, word: int, chars: Chars, flags: Bytes
) -> None:
    found = 0
    size = 0
    at = first
    while at < last:
        code, step = decode(data, at, last)
        found |= props[code]
        size += 1
        at += step
    chars[word] = size
    flags[word] = (found >> FLAG_SHIFT) & FLAGS
