"""How much of one text's wording another has: hashed words, runs of them, sets of runs, ROUGE-L.

    rouge_l_f1("the cat sat", "the cat stood")          # 0.667
    pool = Admitted(limit=0.7)
    pool.admit("Name three colours.")                   # True
    pool.admit("Name three colours!")                   # False

Words are those of Unicode's annex 29 in lower case, and not stemmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from curate.core.errors import ConfigError
from curate.text.batch import TextBatch
from curate.text.native import Ints, Keys
from curate.text.overlap_kernel import Ids, closest, common_lengths

N = TypeVar("N", bound=np.generic)

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_32 = np.uint64(32)


@dataclass(frozen=True)
class Hashed:
    """Numbers of several texts after one another; those of text i are `at[i]` up to `at[i + 1]`."""

    at: Ints
    keys: Keys

    @property
    def sizes(self) -> Ints:
        """How many numbers each text has."""
        return np.diff(self.at)


def hashed_words(texts: Sequence[str]) -> Hashed:
    """The words of each text in lower case, by their hashes."""
    words = TextBatch.of([text.lower() for text in texts]).words("uax29")
    return Hashed(words.offsets, words.hash)


def runs(words: Hashed, n: int) -> Hashed:
    """The hash of every run of n words, in order; a text of fewer has none."""
    sizes = np.maximum(words.sizes - (n - 1), 0)
    at = np.concatenate([[0], np.cumsum(sizes)])
    # Where each run begins: its place among the runs, and n - 1 words for each text that ended before it.
    begin = np.arange(at[-1]) + np.repeat(words.at[:-1] - at[:-1], sizes)
    keys = np.zeros(len(begin), np.uint64)
    for k in range(n):
        keys = (keys ^ (keys >> _32)) * _MIX + words.keys[begin + k] * _STEP
    return Hashed(at, keys)


def as_sets(hashed: Hashed) -> Hashed:
    """The numbers of each text once, in ascending order."""
    row = np.repeat(np.arange(len(hashed.at) - 1), hashed.sizes)
    order = np.lexsort((hashed.keys, row))
    keys, row = hashed.keys[order], row[order]
    new = np.ones(len(keys), np.bool_)
    new[1:] = (keys[1:] != keys[:-1]) | (row[1:] != row[:-1])
    sizes = np.bincount(row[new], minlength=len(hashed.at) - 1)
    return Hashed(np.concatenate([[0], np.cumsum(sizes)]), keys[new])


def rouge_l_f1(a: str, b: str) -> float:
    """ROUGE-L F1 of two texts, as `rouge_l` has it; 0 where neither has words."""
    words = hashed_words([a, b])
    both = len(words.keys)
    only = np.zeros(1, np.int64)
    return float(2.0 * longest_common(words, words, only, only + 1)[0] / both) if both else 0.0


class Admitted:
    """Texts that are not much alike: one is let in if no earlier one is nearer than the limit.

    Wang et al. 2023 (Self-Instruct) take 0.7. The answer depends on the order in which texts come.

    Args:
        limit: the highest ROUGE-L F1 with an admitted text, 0 to 1.

    Raises:
        ConfigError: the limit is not from 0 to 1.
    """

    def __init__(self, limit: float = 0.7) -> None:
        if not 0 <= limit <= 1:
            raise ConfigError(f"a limit of ROUGE-L must be from 0 to 1, not {limit}; set it so")
        self.limit = limit
        self._numbers: dict[int, int] = {}
        self._words: Ids = np.empty(1024, np.int32)
        self._at: Ints = np.zeros(1024, np.int64)
        self._mask: Keys = np.zeros(1024, np.uint64)
        self._longest = 0
        self._texts = 0

    def __len__(self) -> int:
        return self._texts

    def admit(self, text: str) -> bool:
        """Let the text in, and say whether it was; one without words never is."""
        query = self._query(text)
        if not len(query) or self._closest(query, self.limit, first=True)[1] >= 0:
            return False
        begin = int(self._at[self._texts])
        self._words = _room(self._words, begin + len(query))
        self._words[begin : begin + len(query)] = query
        self._texts += 1
        self._at = _room(self._at, self._texts + 1)
        self._at[self._texts] = begin + len(query)
        self._longest = max(self._longest, len(query))
        return True

    def nearest(self, text: str) -> tuple[float, int]:
        """The highest ROUGE-L F1 with an admitted text, and which it is, the first of equals; 0.0 and -1 for none."""
        value, which = self._closest(self._query(text), 0.0, first=False)
        return (value, which) if which >= 0 else (0.0, -1)

    def _query(self, text: str) -> Ids:
        keys = hashed_words([text]).keys.tolist()
        found = np.array([self._numbers.setdefault(key, len(self._numbers)) for key in keys], np.int32)
        self._mask = _room(self._mask, len(self._numbers))
        return found

    def _closest(self, query: Ids, floor: float, *, first: bool) -> tuple[float, int]:
        best, carry = np.empty(1), np.empty(self._longest, np.uint8)
        which = closest(query, self._words, self._at, self._texts, floor, first, self._mask, carry, best)
        return float(best[0]), int(which)


def longest_common(a: Hashed, b: Hashed, row: Ints, other: Ints) -> Ints:
    """The length of a longest common subsequence of each pair, text `row[k]` of a and text `other[k]` of b."""
    vocabulary, inverse = np.unique(np.concatenate([a.keys, b.keys]), return_inverse=True)
    numbers: Ids = inverse.astype(np.int32)
    longest = max(a.sizes.max(initial=0), b.sizes.max(initial=0))
    out = np.empty(len(row), np.int64)
    mask, carry = np.zeros(len(vocabulary), np.uint64), np.empty(longest, np.uint8)
    common_lengths(numbers[: len(a.keys)], a.at, numbers[len(a.keys) :], b.at, row, other, mask, carry, out)
    return out


def _room(array: npt.NDArray[N], size: int) -> npt.NDArray[N]:
    """The array, or one twice as large with the same beginning and zeros after it."""
    if size <= len(array):
        return array
    grown = np.zeros(2 * size, array.dtype)
    grown[: len(array)] = array
    return grown
