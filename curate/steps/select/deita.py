"""The selector `deita`: the best rows first, and none that is too much like one already taken.

    picks:
      select:
        from: [pool, scores]
        budget: 6000
        deita: {score: deita, features: vectors, threshold: 0.9}

Liu et al. 2024, "What Makes Good Data for Alignment?" (arXiv 2312.15685): the score of a row is the complexity of its
questions times the quality of its answers, which the scorer `deita` multiplies turn by turn; best first, a row is
taken if its largest cosine to those taken is at most the threshold. When no such row is left before the budget is
full, the best of those passed over fill it; the details say how many.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from curate.core.step import Job
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Floats, Pool
from curate.steps.select.selector import Verdict, best_first
from curate.steps.select.space import Space
from curate.steps.select.space_kernel import Matrix
from curate.steps.select.targets import InFeatureSpace

# Rows that are compared at once with those taken, and taken rows that they are compared with at once.
_ROWS, _TAKEN = 256, 4096


class Deita(InFeatureSpace):
    """Best first by a score, with a largest cosine.

    Attributes:
        score: a column of numbers in one of the step's inputs, such as that of the scorer `deita`.
        threshold: the largest cosine that a row may have to one that was taken.
    """

    score: str
    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.9

    def exclude(self, job: Job, pool: Pool) -> None:
        """Close the rows without a feature or a score."""
        super().exclude(job, pool)
        pool.exclude(~np.isfinite(pool.numbers(self.score)), f"no {self.score}")

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Take what is unlike the taken, then fill up."""
        scores = pool.numbers(self.score)
        space = Space(self.vectors(job, pool), pool)
        places = np.full(len(pool), -1, np.int64)
        places[space.rows] = np.arange(len(space))
        order = best_first(scores, pool, pool.open)
        matrix = space.mapped(job.scratch)
        taken = _Taken(matrix.shape[1])
        passed: list[int] = []
        for at in range(0, len(order), _ROWS):
            if len(filling.taken) >= filling.count:
                break
            rows = order[at : at + _ROWS]
            vectors = matrix[places[rows]]
            near = taken.nearest(vectors)
            own = _products(vectors, vectors)
            chosen: list[int] = []
            for i, row in enumerate(rows):
                if not filling.fits(row):
                    continue
                if max(near[i], own[i, chosen].max(initial=-1)) > self.threshold:
                    passed.append(row)
                elif filling.take(row):
                    chosen.append(i)
            taken.add(vectors[chosen])
        unlike = len(filling.taken)
        filling.take_in_order(passed)
        return Verdict(scores, details={"unlike": unlike, "filled_up": len(filling.taken) - unlike})


class _Taken:
    """The vectors of the rows taken."""

    def __init__(self, width: int) -> None:
        self._vectors = np.empty((_TAKEN, width), np.float32)
        self._count = 0

    def add(self, vectors: Matrix) -> None:
        while self._count + len(vectors) > len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
        self._vectors[self._count : self._count + len(vectors)] = vectors
        self._count += len(vectors)

    def nearest(self, vectors: Matrix) -> Floats:
        """The largest cosine of each with one taken, -1 where none is."""
        found = np.full(len(vectors), -1.0)
        for at in range(0, self._count, _TAKEN):
            some = self._vectors[at : min(at + _TAKEN, self._count)]
            np.maximum(found, _products(vectors, some).max(axis=1), out=found)
        return found


def _products(some: Matrix, others: Matrix) -> Floats:
    """Cosines of unit vectors, (some, others), to six decimals: equal rows are at 1, not a little above."""
    found: Floats = np.round(some.astype(np.float64) @ others.astype(np.float64).T, 6)
    return found
