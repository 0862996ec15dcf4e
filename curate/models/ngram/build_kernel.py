"""Compiled filling of the tables that `curate.models.ngram.table_kernel` describes."""

from __future__ import annotations

import numpy as np

from curate.models.ngram.prefetch_kernel import prefetch
from curate.models.ngram.table_kernel import (
    BACKOFF,
    BUCKET,
    EMPTY,
    HELD,
    LEAF,
    LINK,
    NODES,
    PROBABILITY,
    ROOT,
    SPILLED,
    Cells,
    Values,
    find,
    find_word,
    first_bucket,
    home,
    key_of,
    mixed_key,
    spill_bit,
    values_of,
)
from curate.text.native import Bytes, Floats, Ints, Keys, kernel
from curate.text.utf8 import hash_bytes, scatter

_32 = np.uint64(32)


@kernel
def add(cells: Cells, keys: Keys, first: int, node: int, word: int) -> int:
    """Make room for an n-gram that is not there: its node."""
    buckets = len(cells) // BUCKET
    key = key_of(node, word)
    mixed = mixed_key(key)
    bucket = home(mixed, first, buckets)
    while True:
        for k in range(HELD):
            if keys[bucket * (BUCKET // 2) + k] == EMPTY:
                keys[bucket * (BUCKET // 2) + k] = key
                return bucket * 4 + k
        cells[bucket * BUCKET + SPILLED] |= spill_bit(mixed)
        bucket = bucket + 1 if bucket + 1 < buckets else first


@kernel
def clear(cells: Cells, keys: Keys, first: int, words: int) -> None:
    """A table of zeros becomes one without n-grams, in which every word is a leaf."""
    for bucket in range(first, len(cells) // BUCKET):
        for k in range(HELD):
            keys[bucket * (BUCKET // 2) + k] = EMPTY
    for word in range(words):
        cells[values_of(word) + LINK] = ROOT | LEAF


@kernel
def put_words(cells: Cells, values: Values, probability: Values, backoff: Values) -> None:
    """The values of the single words."""
    for word in range(len(probability)):
        at = values_of(word)
        values[at + PROBABILITY] = probability[word]
        values[at + BACKOFF] = backoff[word]
        if backoff[word] != 0.0:
            cells[at + LINK] = ROOT


@kernel
def skip_leaves(cells: Cells, keys: Keys, first: int) -> None:
    """Let each link name a node that matters."""
    for bucket in range(first, len(cells) // BUCKET):
        for k in range(HELD):
            if keys[bucket * (BUCKET // 2) + k] != EMPTY:
                at = values_of(bucket * 4 + k) + LINK
                node: int = cells[at] & NODES
                while node != ROOT and cells[values_of(node) + LINK] & LEAF:
                    node = cells[values_of(node) + LINK] & NODES
                cells[at] = node | (cells[at] & LEAF)


@kernel
def index_words(words: Bytes, offsets: Ints, slots: Keys) -> int:
    """Fill the slots of a vocabulary; the number of a word that is there twice, or -1.

    A slot is 32 bits of the hash and the number plus one; 0 is free. There is a power of two of them.
    """
    mask = np.uint64(len(slots) - 1)
    for i in range(len(offsets) - 1):
        start, end = offsets[i], offsets[i + 1]
        key = scatter(hash_bytes(words, start, end))
        if find_word(words, start, end, key, words, offsets, slots) >= 0:
            return i
        slot = key & mask
        while slots[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = ((key >> _32) << _32) | np.uint64(i + 1)
    return -1


@kernel
def insert(
    block: Ints, numbers: Floats, size: int, order: int, words: int, cells: Cells, keys: Keys, values: Values
) -> tuple[int, bool]:
    """Put in the first n-grams of a block, all of one order, after those of the orders below.

    A row of `block` has the numbers of the words, and at `order` room for the context; one of `numbers` log10 of the
    probability and of the back-off weight. Each step is taken for the whole block, so that the memory is asked
    for what all rows need before the first needs it.

    Returns:
        The row that cannot be put in, or -1; and whether its context is what is missing: else it is there already.
    """
    first = first_bucket(words)
    for i in range(size):
        block[i, order] = block[i, 0]
    for k in range(1, order):
        for i in range(size):
            prefetch(cells, BUCKET * home(mixed_key(key_of(block[i, order], block[i, k])), first, len(cells) // BUCKET))
        if k == order - 1:
            break
        for i in range(size):
            node = find(cells, keys, first, block[i, order], block[i, k])
            if node < 0:
                return i, True
            block[i, order] = node
    for i in range(size):
        link: int = cells[values_of(block[i, order]) + LINK] & NODES
        if link != ROOT:
            prefetch(cells, BUCKET * home(mixed_key(key_of(link, block[i, order - 1])), first, len(cells) // BUCKET))
    for i in range(size):
        node, word = block[i, order], block[i, order - 1]
        if find(cells, keys, first, node, word) >= 0:
            return i, False
        to = values_of(add(cells, keys, first, node, word))
        values[to + PROBABILITY] = numbers[i, 0]
        values[to + BACKOFF] = numbers[i, 1]
        cells[values_of(node) + LINK] &= NODES  # it is the context of something
        suffix = -1
        while suffix < 0:
            node = cells[values_of(node) + LINK] & NODES
            suffix = word if node == ROOT else find(cells, keys, first, node, word)
        cells[to + LINK] = suffix if numbers[i, 1] != 0.0 else suffix | LEAF
    return -1, False
