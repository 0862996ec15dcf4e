"""The selector `balanced`: as many random rows of every source, or of every value of any column.

    picks: {select: {from: [pool], budget: 1000, balanced: {column: source, seed: 1}}}

Every group gets the same share of the budget; what is left over goes by a draw of the groups, and what a small
group cannot use goes to the others. Of a budget by sum, the shares are of the sum.
"""

from __future__ import annotations

import heapq

import numpy as np
from pydantic import Field

from curate.core.draw import gumbel
from curate.core.step import Job
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Pool
from curate.steps.select.selector import Selector, Verdict, best_first


class Balanced(Selector):
    """Rows by a draw from the seed and the row's id, the group that has least of the budget next.

    Attributes:
        column: whose values are the groups; of `source` the row's number is left out, a null is a group.
        seed: of the draw.
    """

    column: str = "source"
    seed: int = Field(0, ge=0)

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Take the next row of the group that has least so far, of equal ones that whose own draw is higher."""
        scores = gumbel(pool.ids, self.seed)
        names, groups = np.unique(pool.groups(self.column).astype(str), return_inverse=True)
        turns = np.argsort(np.argsort(-gumbel(names.tolist(), self.seed), kind="stable"), kind="stable").tolist()
        order = np.array(best_first(scores, pool, pool.open), np.int64)
        by_group = order[np.argsort(groups[order], kind="stable")].tolist()
        ends = np.cumsum(np.bincount(groups[order], minlength=len(names))).tolist()
        at = [0, *ends[:-1]]
        heap = [(0.0, turns[i], i) for i, start in enumerate(at) if start < ends[i]]
        heapq.heapify(heap)
        while heap and len(filling.taken) < filling.count:
            has, turn, group = heapq.heappop(heap)
            row = by_group[at[group]]
            if filling.take(row):
                has += filling.weight(row)
            at[group] += 1
            if at[group] < ends[group]:
                heapq.heappush(heap, (has, turn, group))
        return Verdict(scores)
