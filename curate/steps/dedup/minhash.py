"""The words of conversations as hashes: which say the same, which nearly, and which runs of words they share.

words = Wording.of(batch.column("messages"), "text")
words.whole()            # one hash a conversation: equal ones differ in case, marks and white space at most
words.runs(13)           # the hash of every run of 13 words, and whose it is
near = alike(words.signatures())
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.chat.messages import ANSWERS, MESSAGES, Part
from curate.text.batch import TextBatch

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Signatures = npt.NDArray[np.uint32]

SHINGLE = 3  # words
NEAR = 0.8  # of the shingles of two texts together
_PERMUTATIONS, _BAND = 128, 4
_CHUNK = 1 << 21  # shingles that are permuted at a time
_BASE = np.uint64(0x9E3779B97F4A7C15)
_SEEDS = np.cumsum(np.full(_PERMUTATIONS, _BASE))
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True)
class Wording:
    """The words of some conversations in order; those of conversation i are `offsets[i]` up to `offsets[i + 1]`."""

    hashes: Hashes
    offsets: Ints

    @classmethod
    def of(cls, messages: pa.Array, which: Part) -> Wording:
        """The words (Unicode's annex 29, lower case) of a part of every conversation."""
        turns = Turns.of(messages)
        kept = np.ones(len(turns.owner), np.bool_) if which == "text" else turns.answers == (which == "answer")
        texts = pc.utf8_lower(pc.fill_null(turns.content.filter(pa.array(kept)), ""))
        words = TextBatch(texts).words("uax29")
        ends = np.concatenate([[0], np.cumsum(np.bincount(turns.owner[kept], minlength=len(messages)))])
        return cls(_mixed(words.hash), words.offsets[ends.astype(np.int64)])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def owner(self) -> Ints:
        """The conversation of every word."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def whole(self) -> Hashes:
        """A hash of each conversation's words in order; 0 where it has none."""
        lengths = np.diff(self.offsets)
        powers = np.cumprod(np.full(int(lengths.max(initial=0)), _BASE))
        place = np.arange(len(self.hashes)) - self.offsets[:-1][self.owner]
        found = np.zeros(len(self), np.uint64)
        there = lengths > 0
        if there.any():
            found[there] = np.add.reduceat(self.hashes * powers[place], self.offsets[:-1][there])
        return found

    def runs(self, length: int) -> tuple[Hashes, Ints]:
        """The hash of every run of so many words within a conversation, and the conversation."""
        count = len(self.hashes) - length + 1
        if count <= 0:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64)
        found = np.zeros(count, np.uint64)
        for i in range(length):
            found = found * _BASE + self.hashes[i : i + count]
        owner = self.owner
        inside = owner[:count] == owner[length - 1 :]
        return _mixed(found[inside]), owner[:count][inside]

    def signatures(self) -> Signatures:
        """MinHash over the runs of `SHINGLE` words, (conversations, 128); a shorter text is one shingle."""
        runs, owner = self.runs(SHINGLE)
        short = np.flatnonzero(np.diff(self.offsets) < SHINGLE)
        runs, owner = np.concatenate([runs, self.whole()[short]]), np.concatenate([owner, short])
        order = np.argsort(owner, kind="stable")
        runs, starts = runs[order], np.searchsorted(owner[order], np.arange(len(self) + 1))
        found = np.zeros((len(self), _PERMUTATIONS), np.uint32)
        first = 0
        while first < len(self):
            last = max(first + 1, int(np.searchsorted(starts, starts[first] + _CHUNK, side="right")) - 1)
            some, at = runs[starts[first] : starts[last]], starts[first:last] - starts[first]
            for k, seed in enumerate(_SEEDS):
                found[first:last, k] = np.minimum.reduceat(_mixed(some + seed) >> np.uint64(32), at)
            first = last
        return found


@dataclass(frozen=True)
class Turns:
    """The turns of some conversations, one after the other."""

    owner: Ints
    answers: npt.NDArray[np.bool_]
    content: pa.Array

    @classmethod
    def of(cls, messages: pa.Array) -> Turns:
        """From the column `messages` of a batch."""
        lists = messages.cast(MESSAGES)
        turns = pc.list_flatten(lists)
        answers = pc.fill_null(pc.equal(turns.field("role"), ANSWERS), False)
        return cls(
            pc.list_parent_indices(lists).to_numpy().astype(np.int64),
            np.asarray(answers.to_numpy(zero_copy_only=False), dtype=np.bool_),
            turns.field("content"),
        )


def alike(signatures: Signatures) -> list[tuple[int, int]]:
    """The rows that nearly repeat an earlier one (Jaccard of shingles about `NEAR` or more): each, and that one.

    Rows that agree in a band of the signature are compared, each with the first and the last such row before it.
    """
    first: dict[int, int] = {}
    for band in range(0, _PERMUTATIONS, _BAND):
        keys = signatures[:, band : band + _BAND]
        _, group = np.unique(keys, axis=0, return_inverse=True)
        order = np.argsort(group.ravel(), kind="stable")
        ranked = group.ravel()[order]
        starts = np.searchsorted(ranked, ranked)
        later = np.flatnonzero(starts < np.arange(len(order)))
        for others in (starts[later], later - 1):
            rows, before = order[later], order[others]
            near = (signatures[rows] == signatures[before]).mean(axis=1) >= NEAR
            for row, other in zip(rows[near].tolist(), before[near].tolist(), strict=True):
                first[row] = min(other, first.get(row, other))
    return sorted(first.items())


def _mixed(values: Hashes) -> Hashes:
    """A permutation of 64 bits that leaves no pattern (the end of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    return values ^ (values >> np.uint64(31))
