"""The verifier `near`: rows that say what a row of another dataset says, such as a seed or a held-out question.

    verify: {near: {to: seeds}}

    index = Index.of([(["s1"], ["Name three primary colours, and say why they are called so."])])
    index.nearest(["Name three primary colours and say why they are called so!"])        # [0]

Two measures, both by words in lower case. A row is *contaminated* if it has a run of 13 words which the other dataset
has too (Brown et al. 2020). It is *near* if the runs of 3 words of it and of another row have a Jaccard index of at
least 0.8. That is computed, not estimated: two sets that are so alike share one of their rarest runs, so that only rows
with one of those need a look (the prefix filter of Chaudhuri et al. 2006). What is kept of the other dataset is
its ids and about 30 bytes a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch
from curate.steps.verify.reference import Reference
from curate.text.columns import column as arrow
from curate.text.native import Bools, Floats, Ints, Keys
from curate.text.overlap import Hashed, as_sets, hashed_words, runs
from curate.text.overlap_kernel import shared

_RUN = 3  # words
_AT_ONCE = 256  # rows whose candidates are in memory together
_ROUNDING = 1e-9


def near(
    *, column: str = "text", to: Reference, field: str = "text", ngram: int = 13, jaccard: float = 0.8
) -> Verifier:
    """Whether a row is a near duplicate of a row of another dataset, or shares a long run of words with one.

    `contaminated` (bool): it has a run of `ngram` words that the other dataset has; for a row of fewer words, that all
    of them in order are all of a row there. `near` (bool): a row there has a Jaccard index of at least `jaccard` with
    it, and `id` (string): which; the one of the highest index, the first of equals; null where there is none. A row of
    1 or 2 words is near to its like alone, one without words to none. All are null for a null text.

    Args:
        column: the text.
        to: the step whose dataset it is compared with.
        field: the column of that dataset: of strings, or `text`, `question` or `answer` of conversations.
        ngram: words in a run that is no chance.
        jaccard: more than 0, at most 1.

    Raises:
        ConfigError: a number is out of its range, or the dataset is not there or has no such column.
    """
    if ngram < 1:
        raise ConfigError(f"near: ngram {ngram} is below 1; set a positive number")
    if not 0 < jaccard <= 1:
        raise ConfigError(f"near: jaccard {jaccard} is not above 0 and at most 1; set it so")
    index = Index.of(_rows(Dataset.open(to), field), ngram=ngram, jaccard=jaccard)

    def verify(batch: VerifyBatch) -> Columns:
        texts = batch.texts(column)
        plain = [text or "" for text in texts]
        valid = np.array([text is not None for text in texts], np.bool_)
        nearest = index.nearest(plain)
        return {
            "contaminated": arrow(index.contaminated(plain), valid),
            "near": arrow(nearest >= 0, valid),
            "id": index.ids.take(pa.array([each if each >= 0 else None for each in nearest.tolist()], pa.int64())),
        }

    return verify


@dataclass(frozen=True)
class Index:
    """What is known of the texts that others are compared with.

    Attributes:
        ids: of the texts, in order.
        ngram: words of a run that is no chance.
        jaccard: from which on two texts are near.
    """

    ids: pa.Array
    ngram: int
    jaccard: float
    _long: Keys  # every run of `ngram` words, in ascending order
    _whole: Keys  # every text as one number, in ascending order
    _known: Keys  # every short run, in ascending order
    _rank: Ints  # of each: the rarest first
    _sets: Hashed  # of each different text the ranks of its short runs, in ascending order
    _row: Ints  # which text that is
    _listed: Ints  # the first ranks of each set again, all in ascending order
    _by: Ints  # and the set that each is of

    @classmethod
    def of(
        cls, texts: Iterable[tuple[Sequence[str], Sequence[str]]], *, ngram: int = 13, jaccard: float = 0.8
    ) -> Index:
        """From ids and texts, some at a time."""
        ids: list[pa.Array] = [pa.array([], pa.string())]
        long, whole, keys, sizes = ([np.zeros(0, np.uint64)] for _ in range(4))
        for names, some in texts:
            words = hashed_words(some)
            ids.append(pa.array(names, pa.string()))
            long.append(np.unique(runs(words, ngram).keys))
            whole.append(_wholes(words))
            short = _short_runs(words, whole[-1])
            keys.append(short.keys)
            sizes.append(short.sizes.astype(np.uint64))
        every = np.concatenate(whole)
        # Texts of the same words are looked at once: many rows may hold one.
        unique, first = np.unique(every, return_index=True)
        only = np.sort(first)
        sets = _of_rows(_csr(np.concatenate(keys), np.concatenate(sizes)), only)
        known, number, counts = np.unique(sets.keys, return_inverse=True, return_counts=True)
        rank = np.empty(len(known), np.int64)
        rank[np.lexsort((known, counts))] = np.arange(len(known))
        ranked = as_sets(Hashed(sets.at, rank[number].astype(np.uint64)))
        heads = _heads(ranked, _prefix(ranked.sizes, jaccard))
        order = np.argsort(heads.keys, kind="stable")
        by = np.repeat(np.arange(len(only)), heads.sizes)[order]
        listed = heads.keys[order].astype(np.int64)
        runs_known = np.unique(np.concatenate(long))
        return cls(pa.concat_arrays(ids), ngram, jaccard, runs_known, unique, known, rank, ranked, only, listed, by)

    def contaminated(self, texts: Sequence[str]) -> Bools:
        """Whether each text shares a run of words with one of the index; see `near`."""
        words = hashed_words(texts)
        found = runs(words, self.ngram)
        hit = np.zeros(len(texts), np.bool_)
        hit[np.repeat(np.arange(len(texts)), found.sizes)[_within(self._long, found.keys)]] = True
        short = (words.sizes > 0) & (words.sizes < self.ngram)
        return hit | (short & _within(self._whole, _wholes(words)))

    def nearest(self, texts: Sequence[str]) -> Ints:
        """For each text the number of the nearest of the index, -1 where none is near; see `near`."""
        found = [self._nearest(texts[i : i + _AT_ONCE]) for i in range(0, len(texts), _AT_ONCE)]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def _nearest(self, texts: Sequence[str]) -> Ints:
        words = hashed_words(texts)
        mine = _short_runs(words, _wholes(words))
        known = _within(self._known, mine.keys)
        row = np.repeat(np.arange(len(texts)), mine.sizes)[known]
        ranks = self._rank[np.searchsorted(self._known, mine.keys[known])]
        ranked = as_sets(_csr(ranks.astype(np.uint64), np.bincount(row, minlength=len(texts))))
        # Runs that the index does not have are the rarest of all, and lead to nothing.
        head = _heads(ranked, np.maximum(_prefix(mine.sizes, self.jaccard) - (mine.sizes - ranked.sizes), 0))
        begin = np.searchsorted(self._listed, head.keys.astype(np.int64))
        times = np.searchsorted(self._listed, head.keys.astype(np.int64), side="right") - begin
        asking = np.repeat(np.repeat(np.arange(len(texts)), head.sizes), times)
        asked = self._by[
            np.repeat(begin - np.concatenate([[0], np.cumsum(times)[:-1]]), times) + np.arange(len(asking))
        ]
        asking, asked = np.divmod(np.unique(asking * len(self._row) + asked), max(len(self._row), 1))
        a, b = mine.sizes[asking], self._sets.sizes[asked]
        able = np.minimum(a, b) >= self.jaccard * np.maximum(a, b) - _ROUNDING
        asking, asked, a, b = asking[able], asked[able], a[able], b[able]
        both = np.empty(len(asking), np.int64)
        shared(ranked.keys, ranked.at, self._sets.keys, self._sets.at, asking, asked, both)
        return self._best(len(texts), asking, asked, both / np.maximum(a + b - both, 1))

    def _best(self, texts: int, asking: Ints, asked: Ints, values: Floats) -> Ints:
        best = np.full(texts, -1, np.int64)
        close = values >= self.jaccard
        asking, asked, values = asking[close], asked[close], values[close]
        order = np.lexsort((-asked, values))  # the best is written last
        best[asking[order]] = self._row[asked[order]]
        return best


def _rows(dataset: Dataset, field: str) -> Iterable[tuple[Sequence[str], Sequence[str]]]:
    for shard in dataset.shards:
        for batch in dataset.read(shard):
            texts = VerifyBatch(batch, {}).texts(field)
            yield batch.column("id").to_pylist(), [text or "" for text in texts]


def _wholes(words: Hashed) -> Keys:
    """Each text as one number."""
    pairs = zip(words.at[:-1].tolist(), words.at[1:].tolist(), strict=True)
    return np.array([xxh3_64_intdigest(words.keys[start:end].tobytes()) for start, end in pairs], np.uint64)


def _short_runs(words: Hashed, whole: Keys) -> Hashed:
    """The different short runs of each text, in ascending order; of a text with words but no run, itself."""
    every = runs(words, _RUN)
    alone = (every.sizes == 0) & (words.sizes > 0)
    sizes = np.where(alone, 1, every.sizes)
    at = np.concatenate([[0], np.cumsum(sizes)])
    keys = np.empty(at[-1], np.uint64)
    spot = np.zeros(at[-1], np.bool_)
    spot[at[:-1][alone]] = True
    keys[spot], keys[~spot] = whole[alone], every.keys
    return as_sets(Hashed(at, keys))


def _csr(keys: Keys, sizes: npt.NDArray[np.generic]) -> Hashed:
    return Hashed(np.concatenate([[0], np.cumsum(sizes.astype(np.int64))]), keys)


def _of_rows(hashed: Hashed, rows: Ints) -> Hashed:
    """The sets of some texts."""
    sizes = hashed.sizes[rows]
    begin = np.repeat(hashed.at[rows] - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    return _csr(hashed.keys[begin + np.arange(len(begin))], sizes)


def _heads(hashed: Hashed, counts: Ints) -> Hashed:
    """The first numbers of each set."""
    sizes = np.minimum(counts, hashed.sizes)
    begin = np.repeat(hashed.at[:-1] - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    return _csr(hashed.keys[begin + np.arange(len(begin))], sizes)


def _prefix(sizes: Ints, jaccard: float) -> Ints:
    """How many of the rarest runs of a set another must share one of, to be so much alike."""
    needed: Ints = np.ceil(jaccard * sizes - _ROUNDING).astype(np.int64)
    return np.where(sizes > 0, sizes - needed + 1, 0)


def _within(known: Keys, keys: Keys) -> Bools:
    """Which of the keys are among those known, which are in ascending order."""
    if not len(known):
        return np.zeros(len(keys), np.bool_)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    found: Bools = known[at] == keys
    return found
