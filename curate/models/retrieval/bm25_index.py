"""An inverted index in memory: which texts have which words, and what each word is worth there by BM25.

    builder = Bm25Builder()
    builder.add(["The tide is high.", "The tide is low."])
    index = builder.build()
    rows, scores = next(index.candidates(["high"], [1]))     # [0], [0.69]

The score is that of the selector `bm25`: Robertson and Zaragoza 2009, with the inverse document frequency as Lucene
has it, which is never negative. A word that a query has twice counts twice. Words are those of Unicode's annex 29, in
lower case, by their 64-bit hashes. An index takes 8 bytes for each word of each text, counted once a text, and about
twice as much while it is built; the texts are not held.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.models.retrieval.bm25 import K1, B, inverse_document_frequency, word_weights
from curate.text.batch import TextBatch
from curate.text.native import Chars, Floats, Ints, Keys
from curate.text.spans import Words


@dataclass(frozen=True)
class Bm25Index:
    """What each word is worth in each text that has it.

    Attributes:
        rows: how many texts there are.
        words: the hashes of all words, sorted.
        at: the texts with word i are `row[at[i]:at[i + 1]]`.
        row: see `at`.
        weight: what the word adds to the score of that text.
    """

    rows: int
    words: Keys
    at: Ints
    row: Chars
    weight: npt.NDArray[np.float32]

    def candidates(self, queries: Sequence[str], tops: Sequence[int]) -> Iterator[tuple[Ints, Floats]]:
        """For each query, the texts that share a word with it, and their scores: all, so `tops` is not looked at.

        The weights are added in the order of the words' hashes, so that a score depends on its query and text alone.
        """
        words = hashed_words(queries)
        for begin, end in itertools.pairwise(words.offsets.tolist()):
            keys, times = np.unique(words.hash[begin:end], return_counts=True)
            total = np.zeros(self.rows)
            low, high = (np.searchsorted(self.words, keys, side=side) for side in ("left", "right"))
            for i, count in zip(low[low < high].tolist(), times[low < high].tolist(), strict=True):
                some = slice(self.at[i], self.at[i + 1])
                total[self.row[some]] += self.weight[some].astype(np.float64) * count
            rows = np.flatnonzero(total)
            yield rows, total[rows]


@dataclass(frozen=True)
class _Counted:
    """The words of some texts.

    Attributes:
        words: their hashes, sorted.
        having: how many of the texts have each.
        row: which, word by word; counted over all texts.
        times: how often each of them has it.
    """

    words: Keys
    having: Ints
    row: Chars
    times: Chars


class Bm25Builder:
    """Counts the words of texts, some at a time, and makes an index of them."""

    def __init__(self) -> None:
        self._counted: list[_Counted] = []
        self._lengths: list[Chars] = []
        self._rows = 0

    def add(self, texts: Sequence[str]) -> None:
        """Count the words of the next texts."""
        words = hashed_words(texts)
        length = np.diff(words.offsets).astype(np.int32)
        # Stable, so that the texts with a word stay in order.
        order = np.argsort(words.hash, kind="stable")
        keys = words.hash[order]
        row = np.repeat(np.arange(self._rows, self._rows + len(texts), dtype=np.int32), length)[order]
        other = _differs(keys)
        pairs = np.flatnonzero(other | _differs(row))
        begins = np.flatnonzero(other)
        having = np.diff(np.searchsorted(pairs, begins), append=len(pairs))
        times = np.diff(pairs, append=len(keys)).astype(np.int32)
        self._counted.append(_Counted(keys[begins], having, row[pairs], times))
        self._lengths.append(length)
        self._rows += len(texts)

    def build(self) -> Bm25Index:
        """The index of all texts that were added, which are then forgotten."""
        lengths = np.concatenate([np.zeros(0, np.int32), *self._lengths])
        words = np.unique(np.concatenate([np.zeros(0, np.uint64), *(each.words for each in self._counted)]))
        terms = [np.searchsorted(words, each.words) for each in self._counted]
        having = np.zeros(len(words), np.int64)
        for term, each in zip(terms, self._counted, strict=True):
            having[term] += each.having
        at = np.concatenate([[0], np.cumsum(having)])
        row, weight = np.empty(at[-1], np.int32), np.empty(at[-1], np.float32)
        idf = inverse_document_frequency(self._rows, having)
        relative = lengths / max(1, lengths.sum()) * self._rows
        free = at[:-1].copy()
        for term in terms:
            each = self._counted.pop(0)
            begin = np.cumsum(each.having) - each.having
            to = np.repeat(free[term] - begin, each.having) + np.arange(len(each.row))
            row[to] = each.row
            of_word = np.repeat(idf[term], each.having)
            weight[to] = word_weights(of_word, each.times.astype(np.float64), relative[each.row], K1, B)
            free[term] += each.having
        return Bm25Index(self._rows, words, at, row, weight)


def hashed_words(texts: Sequence[str]) -> Words:
    """The words of texts, in lower case."""
    return TextBatch.of([text.lower() for text in texts]).words("uax29")


def _differs(values: Keys | Chars) -> npt.NDArray[np.bool_]:
    """Whether a value is another than the one before; the first always is."""
    return np.concatenate([np.ones(min(1, len(values)), np.bool_), values[1:] != values[:-1]])
