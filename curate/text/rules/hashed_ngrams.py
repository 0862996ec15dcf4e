r"""Hashed n-grams of texts, as importance resampling counts them: lower case, words and punctuation, buckets.

    ngrams = HashedNgrams("polynomial", 10_000)
    ngrams.count(batch)             # how many of the batch's n-grams fall into each bucket
    ngrams.sum(batch, weights)      # for each text the sum of its n-grams' weights

A text is put into lower case and cut into runs of word characters and runs of other characters that are not white
space, as `re.findall(r"\w+|[^\w\s]+", text.lower())` does; NLTK calls it WordPunctTokenizer. Each token, and each
two neighbours joined by a space, falls into a bucket by the hash of its UTF-8 bytes:

    `polynomial`  `curate.text.utf8.hash_bytes`, mixed and scaled to the number of buckets. The hash of two joined
                  tokens follows from theirs, so that no string is made.
    `sha256`      `int(sha256(gram), 16) % buckets`, as DSIR's published code has it; some 75 times slower.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from curate.text.batch import TextBatch
from curate.text.native import Bools, Bytes, Floats, Ints, inlined, kernel
from curate.text.simd import BASE
from curate.text.utf8 import decode, scatter

HashName = Literal["polynomial", "sha256"]
Table = npt.NDArray[np.uint32]
N = TypeVar("N", bound=np.generic)

_SPACE, _WORD, _MARK = 0, 1, 2
_KIND_SHIFT = 24
_CODE_MASK = (1 << _KIND_SHIFT) - 1
_ONE = np.uint64(1)
_32 = np.uint64(32)
_JOINT = np.uint64(ord(" ") + 1)
# The lower case of these two depends on the letters around it, or is two characters: Python lowers such texts.
_SIGMA, _DOTTED_I = "\u03a3", "\u0130"
_TOKEN = re.compile(r"\w+|[^\w\s]+")


@dataclass(frozen=True)
class HashedNgrams:
    """Unigrams and bigrams by hash; the same text gives the same buckets whatever is around it.

    Attributes:
        hash: the name of the hash.
        buckets: how many there are, 1 to 2^31.
    """

    hash: HashName
    buckets: int

    def count(self, batch: TextBatch) -> Ints:
        """How many n-grams of all texts fall into each bucket, int64."""
        counts = np.zeros(self.buckets, dtype=np.int64)
        if self.hash == "sha256":
            for text in batch.strings():
                counts += np.bincount(self._slowly(text), minlength=self.buckets)
            return counts
        lowered = _lowered(batch)
        unused = np.zeros(1)
        _walk(lowered.data, lowered.offsets, lower_table(), _read_only(unused), counts, unused, self.buckets, True)
        return counts

    def sum(self, batch: TextBatch, weights: Floats) -> Floats:
        """The sum of `weights[bucket]` over the n-grams of each text, 0.0 for a text without any.

        Args:
            batch: the texts.
            weights: one a bucket.

        Raises:
            ValueError: there are more or fewer.
        """
        if len(weights) != self.buckets:
            raise ValueError(f"{len(weights)} weights for {self.buckets} buckets")
        if self.hash == "sha256":
            return np.array([weights[self._slowly(text)].sum() for text in batch.strings()], dtype=np.float64)
        sums = np.zeros(len(batch), dtype=np.float64)
        lowered = _lowered(batch)
        unused = np.zeros(1, dtype=np.int64)
        _walk(lowered.data, lowered.offsets, lower_table(), _read_only(weights), unused, sums, self.buckets, False)
        return sums

    def _slowly(self, text: str) -> Ints:
        return np.array([_sha256(gram) % self.buckets for gram in ngrams_of(text)], dtype=np.int64)


def ngrams_of(text: str) -> Iterator[str]:
    """The tokens of a text, then each two neighbours joined by a space."""
    tokens = _TOKEN.findall(text.lower())
    yield from tokens
    yield from (f"{one} {other}" for one, other in pairwise(tokens))


@functools.lru_cache(maxsize=1 << 18)
def _sha256(gram: str) -> int:
    return int.from_bytes(hashlib.sha256(gram.encode()).digest(), "big")


@functools.cache
def lower_table() -> Table:
    """For each code point its lower case, and in the top byte whether that is white space, a word or a mark.

    It is what this Python's `str.lower` and `re` say, found out in about 0.1 s.
    """
    every = "".join(map(chr, range(0x110000))).replace(_SIGMA, " ").replace(_DOTTED_I, " ")
    lower = every.lower()
    kinds = np.full(len(every), _MARK, dtype=np.uint32)
    for kind, pattern in ((_WORD, r"\w+"), (_SPACE, r"\s+")):
        for run in re.finditer(pattern, lower):
            kinds[run.start() : run.end()] = kind
    codes = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    table: Table = (codes | (kinds << _KIND_SHIFT)).astype(np.uint32)
    return _read_only(table)


def _read_only(array: npt.NDArray[N]) -> npt.NDArray[N]:
    view = array.view()
    view.flags.writeable = False
    return view


def _lowered(batch: TextBatch) -> TextBatch:
    """The batch, with the texts whose lower case is not that of their characters put into it."""
    flags = np.zeros(len(batch), dtype=np.bool_)
    _find_context(batch.data, batch.offsets, flags)
    if not flags.any():
        return batch
    return TextBatch.of([text.lower() if flag else text for text, flag in zip(batch.strings(), flags, strict=True)])


@kernel
def _find_context(data: Bytes, offsets: Ints, flags: Bools) -> None:
    """Flag the texts that hold a capital sigma (CE A3) or a capital i with a dot (C4 B0)."""
    for row in range(len(offsets) - 1):
        for at in range(offsets[row], offsets[row + 1] - 1):
            one, two = data[at], data[at + 1]
            if (one == 0xCE and two == 0xA3) or (one == 0xC4 and two == 0xB0):
                flags[row] = True
                break


@inlined
def _bucket(key: np.uint64, buckets: int) -> np.uint64:
    return ((scatter(key) >> _32) * np.uint64(buckets)) >> _32


@kernel
def _walk(
    data: Bytes,
    offsets: Ints,
    table: Table,
    weights: Floats,
    counts: Ints,
    sums: Floats,
    buckets: int,
    count: bool,
) -> None:
    """Add the n-grams of all texts to `counts`, or write the sum of their weights for each text to `sums`."""
    for row in range(len(offsets) - 1):
        at = offsets[row]
        end = offsets[row + 1]
        total = 0.0
        first = True
        before = np.uint64(0)
        key = np.uint64(0)
        power = _ONE  # BASE to the number of bytes of the token
        kind = _SPACE
        while at <= end:
            entry: int = 0  # white space after the end
            if at < end:
                code, size = decode(data, at, end)
                entry = np.int64(table[code])  # type: ignore[assignment]  # an integer of the kernel
                at += size
            else:
                at += 1
            now = entry >> _KIND_SHIFT
            if now != kind:
                if kind != _SPACE:
                    bucket = _bucket(key, buckets)
                    joined = _bucket((before * BASE + _JOINT) * power + key, buckets)
                    if count:
                        counts[bucket] += 1
                        if not first:
                            counts[joined] += 1
                    else:
                        total += weights[bucket]
                        if not first:
                            total += weights[joined]
                    before = key
                    key = np.uint64(0)
                    power = _ONE
                    first = False
                kind = now
            if now == _SPACE:
                continue
            low = entry & _CODE_MASK
            rest = 0
            lead = low
            if low >= 0x10000:
                rest = 3
                lead = 0xF0 | (low >> 18)
            elif low >= 0x800:
                rest = 2
                lead = 0xE0 | (low >> 12)
            elif low >= 0x80:
                rest = 1
                lead = 0xC0 | (low >> 6)
            key = key * BASE + np.uint64(lead) + _ONE
            power *= BASE
            while rest > 0:
                rest -= 1
                key = key * BASE + np.uint64(0x80 | ((low >> (6 * rest)) & 0x3F)) + _ONE
                power *= BASE
        if not count:
            sums[row] = total
