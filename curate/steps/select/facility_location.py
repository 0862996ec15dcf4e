"""The selector `facility_location`: rows that stand for the pool, every row for those that are most like it.

    picks: {select: {from: pool, budget: 0.05, facility_location: {features: vectors, neighbours: 32}}}

It takes S to make sum over rows i of max over j in S of s(i, j) large, s the cosine of a row with one of its
nearest neighbours, 1 with itself, and 0 with all others or where it is below 0. Every pick is the best of a random
sample of size (rows / budget) * ln(1 / epsilon), which reaches 1 - 1/e - epsilon of the optimum in expectation
(Mirzasoleiman et al. 2015, "Lazier Than Lazy Greedy", arXiv 1409.7938); an epsilon of 0 looks at every row, the
plain greedy. The score of a pick is by how much it raised the sum.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import numpy as np
import xxhash
from pydantic import Field

from curate.core.step import Job
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Ints, Pool
from curate.steps.select.selector import Verdict
from curate.steps.select.space import Space
from curate.steps.select.space_kernel import Matrix, Numbers, Vector, gains, keep_best
from curate.steps.select.targets import InFeatureSpace

# Rows whose products are computed at once.
_BLOCK = 2048


class FacilityLocation(InFeatureSpace):
    """Stochastic greedy on the graph of nearest neighbours.

    Attributes:
        neighbours: of each row in the graph.
        epsilon: what the sample may cost of the guarantee; 0 samples all rows.
        seed: of the samples.
    """

    neighbours: Annotated[int, Field(gt=0)] = 32
    epsilon: Annotated[float, Field(ge=0, lt=1)] = 0.01
    seed: int = Field(0, ge=0)

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Take the best row of a sample, again and again."""
        space = Space(self.vectors(job, pool), pool)
        graph = Graph.of(*nearest_neighbours(space.mapped(job.scratch), self.neighbours))
        # From the ids, as nothing else about the rows may decide.
        text = "\n".join(pool.ids[space.rows].tolist())
        chance = np.random.Generator(np.random.PCG64(xxhash.xxh3_128_intdigest(text.encode(), self.seed)))
        covered = np.zeros(len(space), np.float32)
        scores = np.full(len(pool), np.nan)
        left = np.arange(len(space))
        share = math.log(1 / self.epsilon) if self.epsilon else math.inf
        size = share * len(space) / filling.expected
        while len(filling.taken) < filling.count and len(left):
            # With replacement, which the bound allows; in the order of the ids, so that ties go by it.
            some = left if size >= len(left) else np.unique(left[chance.integers(0, len(left), math.ceil(size))])
            fitting = some[[filling.fits(int(row)) for row in space.rows[some]]]
            if not len(fitting):
                left = left[filling.open[space.rows[left]]]
                continue
            found = np.empty(len(fitting))
            gains(fitting, graph.starts, graph.members, graph.weights, covered, found)
            # Two rows that are each other's neighbours often gain alike, but for the order of the sum.
            best = int(np.argmax(np.round(found, 9)))
            place = int(fitting[best])
            filling.take(int(space.rows[place]))
            scores[space.rows[place]] = found[best]
            graph.cover(place, covered)
            left = left[left != place]
        total = float(covered.sum(dtype=np.float64))
        return Verdict(scores, details={"covered": total, "share": total / len(space)})


class Graph(NamedTuple):
    """Which rows a row would stand for: those of column j are `members[starts[j]:starts[j + 1]]`, with `weights`."""

    starts: Ints
    members: Numbers
    weights: Vector

    @classmethod
    def of(cls, neighbours: Numbers, cosines: Matrix) -> Graph:
        """From the neighbours of every row, to which it is itself added."""
        rows = len(neighbours)
        members = np.repeat(np.arange(rows, dtype=np.int32), neighbours.shape[1] + 1)
        columns = np.concatenate([np.arange(rows, dtype=np.int32)[:, None], neighbours], axis=1).reshape(-1)
        weights = np.concatenate([np.ones((rows, 1), np.float32), cosines], axis=1).reshape(-1)
        there = weights > 0
        columns, members, weights = columns[there], members[there], weights[there]
        order = np.argsort(columns, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=rows))]).astype(np.int64)
        return cls(starts, members[order], weights[order])

    def cover(self, column: int, covered: Vector) -> None:
        """Let a row stand for its own."""
        some = slice(self.starts[column], self.starts[column + 1])
        mine = self.members[some]
        covered[mine] = np.maximum(covered[mine], self.weights[some])


def nearest_neighbours(vectors: Matrix, neighbours: int, *, block: int = _BLOCK) -> tuple[Numbers, Matrix]:
    """The nearest other rows of every row by cosine, exactly: (rows, neighbours) positions and cosines up to 1.

    All pairs are compared, in blocks: rows^2 * width / 2 multiplications, and memory for the lists and two
    blocks. Where there are fewer others, the rest has a cosine of minus infinity.

    Args:
        vectors: float32 (rows, width), of length 1.
        neighbours: how many.
        block: rows whose products are computed at once.
    """
    rows = len(vectors)
    cosines = np.full((rows, neighbours), -np.inf, np.float32)
    found = np.full((rows, neighbours), np.iinfo(np.int32).max, np.int32)
    names = np.arange(rows, dtype=np.int32)
    for at in range(0, rows, block):
        mine = slice(at, at + block)
        for other in range(at, rows, block):
            theirs = slice(other, other + block)
            products = np.minimum(vectors[mine] @ vectors[theirs].T, np.float32(1))
            if other == at:
                np.fill_diagonal(products, -np.inf)
            else:
                keep_best(np.ascontiguousarray(products.T), names[mine], cosines[theirs], found[theirs])
            keep_best(products, names[theirs], cosines[mine], found[mine])
    return found, cosines
