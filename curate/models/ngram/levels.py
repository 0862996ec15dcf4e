"""The n-grams of every order from 2 up that sorted rows of the highest order hold, with their adjusted counts.

    levels = levels_of(ngrams, counts, prune, kept)
    levels[0].count                    # of the bigrams

Rows are sorted by the last word, then the one before it, and so on, so each order is a run of rows, and the
n-grams that prolong one to the left follow one another in the order above it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from curate.models.ngram.counts import BOS, Ids, Ints
from curate.models.ngram.plan import Bools

Numbers = npt.NDArray[np.float64]

# What --discount_fallback takes for an order whose counts of counts are too small or odd.
FALLBACK = (0.5, 1.0, 1.5)
Discounts = tuple[float, float, float]


@dataclass(frozen=True)
class Level:
    """The n-grams of one order, sorted as the rows.

    Attributes:
        row: the first row that ends in each n-gram.
        suffix: the place, one order down, of the n-gram without its first word (of bigrams: the last word).
        first: its first word.
        count: the adjusted count: of different words on its left; of occurrences for the highest order, and
            where `<s>` is first.
        dropped: whether it is left out of the model.
    """

    row: Ids
    suffix: Ids
    first: Ids
    count: Ints
    dropped: Bools


def levels_of(ngrams: Ids, counts: Ints, prune: tuple[int, ...], kept: Bools) -> list[Level]:
    """The levels of order 2, 3, ... of sorted, different rows.

    Args:
        ngrams: rows of the highest order, with all rows of an n-gram of any order from 2 up.
        counts: their occurrences.
        prune: the threshold of every order.
        kept: whether a word stays in the model.
    """
    size, order = ngrams.shape
    last = ngrams[:, -1]
    new = np.ones(size, dtype=np.bool_)  # does a row begin another n-gram of the order?
    new[1:] = last[1:] != last[:-1]
    place = last  # of each row among the n-grams of the order before
    levels: list[Level] = []
    for n in range(2, order + 1):
        first = ngrams[:, order - n]
        new[1:] |= first[1:] != first[:-1]
        starts = np.flatnonzero(new)
        # <s> stands only at the front: what holds it elsewhere is padding.
        valid = ngrams[starts, order - n + 1] != BOS
        rows = starts[valid]
        seen = np.add.reduceat(counts, starts)[valid] if size else counts
        suffix, leftmost = place[rows], first[rows]
        below = levels[-1].dropped[suffix] if levels else ~kept[suffix]
        dropped = (seen <= prune[n - 1]) | below | ~kept[leftmost]
        if levels:
            levels[-1] = _adjusted(levels[-1], suffix)
        levels.append(Level(rows.astype(np.uint32), suffix, leftmost, seen, dropped))
        if n < order:
            number = np.zeros(len(starts), dtype=np.uint32)
            number[valid] = np.arange(len(rows), dtype=np.uint32)
            place = np.repeat(number, np.diff(starts, append=size))
    return levels


def _adjusted(level: Level, suffix: Ids) -> Level:
    """With counts, in place of occurrences, of the n-grams one order up that end in each; `suffix` is theirs."""
    left = np.bincount(suffix, minlength=len(level.count))
    return replace(level, count=np.where(level.first == BOS, level.count, left))


def counts_of_counts(count: Ints) -> list[int]:
    """How many n-grams have the adjusted count 1, 2, 3 and 4."""
    found: list[int] = np.bincount(np.minimum(count, 5), minlength=6)[1:5].tolist()
    return found


def discounts_of(n: list[int]) -> Discounts:
    """The discounts of n-grams counted once, twice, and more often (Chen and Goodman 1998, equation 26).

    Args:
        n: how many n-grams have the adjusted count 1, 2, 3 and 4. Where one of the first three is 0, or a
            discount would be negative or more than its count, FALLBACK holds.
    """
    if not all(n[:3]):
        return FALLBACK
    y = n[0] / (n[0] + 2 * n[1])
    one, two, more = (j - (j + 1) * y * n[j] / n[j - 1] for j in (1, 2, 3))
    if not (0 <= one <= 1 and 0 <= two <= 2 and 0 <= more <= 3):
        return FALLBACK
    return one, two, more


@dataclass(frozen=True)
class Continuations:
    """What follows each context: integers, so that they add up to the same in any order.

    Attributes:
        total: the sum of the adjusted counts.
        kinds: how many n-grams of the model have the adjusted count 1, 2, and more: three rows.
        dropped: the sum of the adjusted counts of what is left out of the model.
    """

    total: Ints
    kinds: Ids
    dropped: Ints

    @staticmethod
    def none(size: int) -> Continuations:
        """Of contexts that nothing follows."""
        return Continuations(np.zeros(size, np.int64), np.zeros((3, size), np.uint32), np.zeros(size, np.int64))

    def add(self, context: npt.NDArray[np.integer], count: Ints, dropped: Bools) -> None:
        """Add n-grams, by the places of their contexts."""
        np.add.at(self.total, context, count)
        kind = np.minimum(count, 3) - 1
        for k in range(3):
            np.add.at(self.kinds[k], context[(kind == k) & ~dropped], np.uint32(1))
        np.add.at(self.dropped, context[dropped], count[dropped])

    def gamma(self, discounts: Discounts) -> Numbers:
        """The share of each context that is left to the order below; 1 where nothing follows."""
        one, two, more = (d * n for d, n in zip(discounts, self.kinds.astype(np.float64), strict=True))
        mass = one + two + more + self.dropped
        share: Numbers = np.divide(mass, self.total, out=np.ones(len(mass)), where=self.total > 0)
        return share


def held_back(count: Ints, discounts: Discounts) -> Numbers:
    """What is taken off each count."""
    held: Numbers = np.array([0.0, *discounts])[np.minimum(count, 3)]
    return held
