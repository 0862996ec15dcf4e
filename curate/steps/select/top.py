"""The selector `top`: the rows that are highest, lowest or in the middle by a column.

    longest:   {select: {from: [pool, lengths], budget: 1000, top: {column: answer_tokens}}}
    typical:   {select: {from: [pool, scores], budget: 0.1, top: {column: perplexity, order: middle}}}
    no-length: {select: {from: [pool, scores], budget: 0.1, top: {column: quality, debias: [answer_tokens, turns]}}}

The longest rows are a baseline that few methods beat (Zhao et al. 2024, "Long Is More for Alignment"); rows of
middling perplexity are one for pruning (Marion et al. 2023, "When Less Is More").
"""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from curate.core.step import Job
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Floats, Ints, Pool
from curate.steps.select.selector import Selector, Verdict, best_first


class Top(Selector):
    """Rows by a column of numbers, ties by id.

    Attributes:
        column: of numbers; a row where it is null or not finite is not taken, its reason is `no COLUMN`.
        order: `highest` or `lowest` first, or `middle`: those nearest to the median first, by rank.
        debias: columns (lengths, turns) that are not to decide: rows are cut into `bins` of equal size by each of
            them, and a row counts by its rank among the rows of its bin.
        bins: how many.
    """

    column: str
    order: Literal["highest", "lowest", "middle"] = "highest"
    debias: list[str] = Field(default_factory=list)
    bins: Annotated[int, Field(ge=2)] = 10

    def exclude(self, job: Job, pool: Pool) -> None:
        """Close the rows without a finite number."""
        for column in (self.column, *self.debias):
            pool.exclude(~np.isfinite(pool.numbers(column)), f"no {column}")

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Take the rows in the order; `lowest` scores a row by the column negated, `middle` by how far it is off."""
        scores = np.where(pool.open, pool.numbers(self.column), np.nan)
        rows = np.flatnonzero(pool.open)
        whole = np.zeros(len(rows), np.int64)
        if self.debias:
            cells = whole
            for column in self.debias:
                place, size = ranks(pool.numbers(column)[rows], whole)
                cells = cells * self.bins + place * self.bins // (2 * size)
            place, size = ranks(scores[rows], cells)
            scores[rows] = place / (2 * size)
        if self.order == "lowest":
            scores = -scores
        elif self.order == "middle":
            place, size = ranks(scores[rows], whole)
            scores[rows] = -np.abs(place - size) / (2 * size)
        filling.take_in_order(best_first(scores, pool, pool.open))
        return Verdict(scores)


def ranks(values: Floats, cells: Ints) -> tuple[Ints, Ints]:
    """The rank of each value among those of its cell, twice it to stay whole, and how many values the cell has.

    Equal values share the mean of their ranks; `rank / (2 * size)` is between 0 and 1, 0.5 in the middle.

    >>> ranks(np.array([5.0, 7.0, 7.0, 9.0]), np.zeros(4, np.int64))[0].tolist()
    [1, 4, 4, 7]
    """
    place, size = np.empty(len(values), np.int64), np.empty(len(values), np.int64)
    order = np.lexsort((values, cells))
    ends = np.flatnonzero(np.diff(cells[order], append=-1)) + 1
    for start, end in itertools.pairwise([0, *ends.tolist()]):
        here = order[start:end]
        mine = values[here]
        place[here] = np.searchsorted(mine, mine, "left") + np.searchsorted(mine, mine, "right")
        size[here] = end - start
    return place, size
