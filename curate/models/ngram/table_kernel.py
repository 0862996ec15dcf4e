"""Compiled look-ups in a vocabulary and in a table of n-grams, and the score of a text.

The table is one array of 32-bit numbers in buckets of 16, which is a line of cache. A bucket holds three n-grams:
first their keys, a key being the last word and the context, then for each its values, which are log10 of the
probability, log10 of the back-off weight and the link. The last number has a bit set for each n-gram for which
there was no room, so that nearly every search ends in the bucket where it starts; the others go on to the next.

A context is a *node*: four times the bucket that an n-gram is in, plus its place there. As a node is of one order,
n-grams of all orders share the table, and keys are exact: no two n-grams have one. Single words come before the
first bucket that is searched; the node of a word is its number, and its values are where those of a node are (the
fourth of a bucket lie over the keys of the next, which single words do not need).

The link of an n-gram is the node of its longest proper suffix that the model has, ROOT for a single word. With
links, scoring is the walk of an Aho-Corasick automaton (Aho and Corasick 1975) whose failure costs the back-off
weight: a word that is found makes the context one longer, and each look-up that fails makes it shorter. So a text
of n words takes at most 2 n + 2 look-ups, whatever the order.

An n-gram that starts nothing longer and has a back-off weight of 1 never matters as a context. Its link has the bit
LEAF, and the walk goes to the linked node at once; that of most unknown words is one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.models.ngram.prefetch_kernel import prefetch
from curate.text.native import Bytes, Floats, Ints, Keys, inlined, kernel
from curate.text.utf8 import hash_bytes, scatter

Cells = npt.NDArray[np.uint32]
Values = npt.NDArray[np.float32]

BUCKET = 16  # numbers of 32 bits; the keys are two each
HELD = 3  # n-grams in a bucket
_VALUES = 6  # where the values start
SPILLED = 15
PROBABILITY, BACKOFF, LINK = range(3)
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)  # as a key: no n-gram here
LEAF = 0x80000000  # in a link
ROOT = NODES = 0x7FFFFFFF  # no context; it is past the last node

_AHEAD = 16  # words by which a slot of the vocabulary is asked for before it is needed

_31 = np.uint64(31)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_MIX_1 = np.uint64(0x9E3779B97F4A7C15)
_MIX_2 = np.uint64(0xD6E8FEB86659FD93)

# What a lane of `score_texts` knows: its text, the next word and the end, the context; for a round, word and bucket.
LANE = 6
_TEXT, _AT, _END, _NODE, _WORD, _BUCKET = range(LANE)


@inlined
def values_of(node: int) -> int:
    """Where the values of a node are."""
    return (node >> 2) * BUCKET + _VALUES + (node & 3) * HELD


@inlined
def first_bucket(words: int) -> int:
    """The first bucket behind the single words."""
    return (words >> 2) + 2


@inlined
def mixed_key(key: np.uint64) -> np.uint64:
    """The key as a number of which any part can be taken."""
    mixed = key * _MIX_1
    return (mixed ^ (mixed >> _32)) * _MIX_2


@inlined
def home(mixed: np.uint64, first: int, buckets: int) -> int:
    """The bucket where the search for a key starts."""
    return first + int(np.int64(((mixed >> _32) * np.uint64(buckets - first)) >> _32))


@inlined
def spill_bit(mixed: np.uint64) -> np.uint32:
    """The bit of a full bucket that a key sets."""
    return np.uint32(1) << np.uint32(mixed & _31)


@inlined
def key_of(node: int, word: int) -> np.uint64:
    """The key of a context and a word."""
    return (np.uint64(node) << _32) | np.uint64(word)


@kernel
def find(cells: Cells, keys: Keys, first: int, node: int, word: int) -> int:
    """The node of a context and a word, or -1. `keys` are the same numbers as `cells`, of 64 bits."""
    buckets = len(cells) // BUCKET
    key = key_of(node, word)
    mixed = mixed_key(key)
    bucket = home(mixed, first, buckets)
    while True:
        for k in range(HELD):
            if keys[bucket * (BUCKET // 2) + k] == key:
                return bucket * 4 + k
        if cells[bucket * BUCKET + SPILLED] & spill_bit(mixed) == 0:
            return -1
        bucket = bucket + 1 if bucket + 1 < buckets else first


@kernel
def find_word(data: Bytes, start: int, end: int, key: np.uint64, words: Bytes, offsets: Ints, slots: Keys) -> int:
    """The number of the word data[start:end] with a scattered hash, or -1; equal means equal bytes."""
    mask = np.uint64(len(slots) - 1)
    slot = key & mask
    size = end - start
    while True:
        held = slots[slot]
        if held == 0:
            return -1
        if held >> _32 == key >> _32:
            number = int(np.int64(held & _LOW)) - 1
            begin = offsets[number]
            if offsets[number + 1] - begin == size:
                same = 0
                while same < size and data[start + same] == words[begin + same]:
                    same += 1
                if same == size:
                    return number
        slot = (slot + np.uint64(1)) & mask


@kernel
def number_of(data: Bytes, words: Bytes, offsets: Ints, slots: Keys) -> int:
    """The number of a word, or -1."""
    return find_word(data, 0, len(data), scatter(hash_bytes(data, 0, len(data))), words, offsets, slots)


@kernel
def find_words(data: Bytes, bounds: Ints, hashes: Keys, words: Bytes, offsets: Ints, slots: Keys, ids: Cells) -> None:
    """The numbers of words that stand one after another in `data`; 0, which is `<unk>`, for one not known."""
    mask = np.uint64(len(slots) - 1)
    for i in range(len(hashes)):
        if i + _AHEAD < len(hashes):
            prefetch(slots, int(np.int64(scatter(hashes[i + _AHEAD]) & mask)))
        number = find_word(data, bounds[i], bounds[i + 1], scatter(hashes[i]), words, offsets, slots)
        ids[i] = max(number, 0)


@kernel
def score_texts(
    ids: Cells,
    offsets: Ints,
    cells: Cells,
    keys: Keys,
    values: Values,
    first: int,
    begin: int,
    end: int,
    lanes: Ints,
    sums: Floats,
    out: Floats,
) -> None:
    """log10 P of each text with its end, behind its beginning; 0 for a text without words.

    `keys` and `values` are the numbers of `cells`, as 64-bit ones and as floats. Several texts are walked at once,
    a row of `lanes` and `sums` each, so that the memory is asked for all their buckets before the first is needed.
    Each text is summed on its own, from its first word to its end.
    """
    buckets = len(cells) // BUCKET
    last = len(offsets) - 1
    text = 0
    active = 0
    while True:
        while active < len(lanes) and text < last:
            out[text] = 0.0
            if offsets[text] < offsets[text + 1]:
                lanes[active, _TEXT], lanes[active, _AT], lanes[active, _END] = text, offsets[text], offsets[text + 1]
                lanes[active, _NODE] = begin
                sums[active] = 0.0
                active += 1
            text += 1
        if active == 0:
            break
        for k in range(active):
            at = lanes[k, _AT]
            word: int = ids[at] if at < lanes[k, _END] else end
            lanes[k, _WORD] = word
            if lanes[k, _NODE] != ROOT:
                bucket = home(mixed_key(key_of(lanes[k, _NODE], word)), first, buckets)
                prefetch(cells, bucket * BUCKET)
                lanes[k, _BUCKET] = bucket
        k = 0
        while k < active:
            node: int = lanes[k, _NODE]
            word = lanes[k, _WORD]
            found = word
            if node != ROOT:
                key = key_of(node, word)
                bucket = lanes[k, _BUCKET]
                while True:
                    at = bucket * (BUCKET // 2)
                    if keys[at] == key:
                        found = bucket * 4
                    elif keys[at + 1] == key:
                        found = bucket * 4 + 1
                    elif keys[at + 2] == key:
                        found = bucket * 4 + 2
                    elif cells[bucket * BUCKET + SPILLED] & spill_bit(mixed_key(key)) != 0:
                        bucket = bucket + 1 if bucket + 1 < buckets else first
                        continue
                    else:
                        at = values_of(node)
                        sums[k] += values[at + BACKOFF]
                        node = cells[at + LINK] & NODES
                        lanes[k, _NODE] = node
                        if node == ROOT:
                            break
                        found = -1
                    break
            if found < 0:
                k += 1
                continue
            at = values_of(found)
            sums[k] += values[at + PROBABILITY]
            link: int = cells[at + LINK]
            lanes[k, _NODE] = link & NODES if link & LEAF else found
            lanes[k, _AT] += 1
            if lanes[k, _AT] <= lanes[k, _END]:
                k += 1
                continue
            out[lanes[k, _TEXT]] = sums[k]
            active -= 1
            sums[k] = sums[active]
            for part in range(LANE):
                lanes[k, part] = lanes[active, part]
