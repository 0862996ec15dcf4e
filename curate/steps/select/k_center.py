"""The selector `k_center`: rows that cover the pool, each the farthest from those before it (a core-set).

    seeds: {select: {from: pool, budget: 500, k_center: {features: vectors, metric: cosine}}}

Sener and Savarese 2018 (arXiv 1708.00489), the greedy of Gonzalez 1985. The score of a pick is its distance to the
nearest pick before it; the first has that of the second.
"""

from __future__ import annotations

import math
import os
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.core import files
from curate.core.digest import Plain
from curate.core.draw import gumbel
from curate.core.errors import ConfigError
from curate.core.step import Job
from curate.steps.select.farthest import Farthest
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Bools, Pool
from curate.steps.select.selector import Verdict
from curate.steps.select.space import Space
from curate.steps.select.space_kernel import Matrix
from curate.steps.select.targets import InFeatureSpace

# Picks between two checkpoints.
_PICKS = 256


class KCenter(InFeatureSpace):
    """Farthest-first traversal.

    Attributes:
        metric: `l2` between the features as they were computed, `cosine` (one minus it) between their directions.
        first: the first pick: `seeded`, `medoid`, or an id.
        seed: of the first pick.
        already: a step of earlier picks: they are centres from the start, and not picked again.
    """

    metric: Literal["l2", "cosine"] = "cosine"
    first: str = "seeded"
    seed: int = Field(0, ge=0)
    already: str | None = None

    def inputs(self) -> dict[str, str]:
        """The features, and the earlier picks."""
        return {**super().inputs(), **({} if self.already is None else {"already": self.already})}

    def exclude(self, job: Job, pool: Pool) -> None:
        """Close the rows without a feature, and the earlier picks."""
        super().exclude(job, pool)
        if self.already is not None:
            pool.exclude(self._earlier(job, pool), f"taken by {self.already}")

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Take the farthest row, again and again."""
        lengths = self.metric == "l2"
        vectors = self.vectors(job, pool)
        space = Space(vectors, pool, lengths=lengths)
        picks = _Picks(space, space.mapped(job.scratch), filling)
        earlier = 0
        if self.already is not None:
            centres = Space(vectors, pool, among=self._earlier(job, pool), lengths=lengths)
            earlier = len(centres)
            for _, some in centres.blocks():
                for centre in some:
                    picks.farthest.add(centre)
        checkpoint = files.join(job.scratch, "centres.npy")
        if os.path.exists(checkpoint):
            for place, squared in np.load(checkpoint, allow_pickle=False).tolist():
                picks.take(int(place), squared)
        elif not earlier:
            picks.take(self._first(pool, space, filling), np.inf)
        while len(filling.taken) < filling.count and (found := picks.farthest.next()):
            if picks.take(*found):
                if len(filling.taken) % _PICKS == 0:
                    with files.atomic_output(checkpoint) as out:
                        np.save(out, np.array(picks.taken), allow_pickle=False)
            else:
                picks.farthest.leave(~filling.open[space.rows])
        scores = np.full(len(pool), np.nan)
        scores[filling.taken] = [self._distance(squared) for _, squared in picks.taken]
        first = filling.taken[0]
        if np.isinf(scores[first]):
            scores[first] = scores[filling.taken[1]] if len(filling.taken) > 1 else 0.0
        return Verdict(scores, details={"metric": self.metric, "already": earlier, **self._radius(pool, picks)})

    def _distance(self, squared: float) -> float:
        return squared / 2 if self.metric == "cosine" else math.sqrt(squared)

    def _earlier(self, job: Job, pool: Pool) -> Bools:
        """The rows of the pool that the earlier step took.

        Raises:
            ConfigError: it is no step that keeps rows, or it took rows that are not in the pool.
        """
        data = job.inputs["already"]
        if "keep" not in data.schema().names:
            raise ConfigError(f"{self.already} keeps no rows; name a step of kind select or filter")
        kept = sum(pc.sum(b.column("keep")).as_py() or 0 for s in data.shards for b in data.read(s, ["keep"]))
        found = np.array(pool.beside(data, "keep", pa.bool_()) == True, dtype=np.bool_)  # noqa: E712
        if int(found.sum()) != kept:
            raise ConfigError(
                f"{self.already} took {kept:,} rows, {int(found.sum()):,} of this pool; give both one pool"
            )
        return found

    def _first(self, pool: Pool, space: Space, filling: Filling) -> int:
        """The place of the first pick.

        Raises:
            ConfigError: the id that was given may not be taken.
        """
        ready = filling.open[space.rows]
        if self.first == "seeded":
            draws = gumbel(pool.ids[space.rows], self.seed)
            return int(np.argmax(np.where(ready, draws, -np.inf)))
        if self.first == "medoid":
            return _medoid(space, ready)
        there = np.flatnonzero(ready & (pool.ids[space.rows] == self.first))
        if not len(there):
            raise ConfigError(f"first: the row {self.first!r} may not be taken; name another, `seeded` or `medoid`")
        return int(there[0])

    def _radius(self, pool: Pool, picks: _Picks) -> dict[str, Plain]:
        """How far the farthest row of the pool is from its nearest centre, and which that is."""
        picks.farthest.readmit()
        found = picks.farthest.next()
        assert found is not None
        return {"radius": self._distance(found[1]), "farthest": str(pool.ids[picks.space.rows[found[0]]])}


class _Picks:
    """What was taken: places with their squared distance to the nearest centre before them."""

    def __init__(self, space: Space, matrix: Matrix, filling: Filling) -> None:
        self.space, self.taken = space, list[tuple[int, float]]()
        self.farthest = Farthest(matrix)
        self._matrix, self._filling = matrix, filling

    def take(self, place: int, squared: float) -> bool:
        """Take the row at a place, if it fits."""
        if not self._filling.take(int(self.space.rows[place])):
            return False
        self.taken.append((place, squared))
        self.farthest.leave(np.array([place]))
        self.farthest.add(self._matrix[place])
        return True


def _medoid(space: Space, ready: Bools) -> int:
    """The row with the smallest sum of squared distances to all: the one that is nearest to the mean."""
    mean = np.zeros(space.width)
    for _, vectors in space.blocks():
        mean += vectors.sum(axis=0, dtype=np.float64)
    mean /= len(space)
    found = np.full(len(space), np.inf, np.float32)
    for places, vectors in space.blocks():
        found[places] = np.square(vectors - mean).sum(axis=1)
    return int(np.argmin(np.where(ready, found, np.inf)))
