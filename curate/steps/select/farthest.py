"""Farthest-first traversal of rows in a space, exactly and without comparing every row with every centre.

    farthest = Farthest(matrix)
    farthest.add(matrix[3])
    place, distance = farthest.next()            # the first of the rows farthest from their nearest centre

The next centre is the row whose distance to its nearest centre is largest (Gonzalez 1985), at most twice the
best radius there is for so many centres. The distance of a row to its nearest centre can only fall as centres are
added, so what is known of a row from the centres that it was compared with is a bound from above. Rows whose
bound is low are left alone; the few whose bounds are highest, the working rows, are compared with every centre
as it comes; when the farthest of them is nearer than the highest bound outside, others take their place.
"""

from __future__ import annotations

import numpy as np

from curate.steps.select.pool import Bools, Ints
from curate.steps.select.space_kernel import Matrix, Vector, absorb, refresh

# Working rows: a share of all, within limits. Any number gives the same centres.
_SHARE, _LEAST, _MOST = 32, 2048, 32768


class Farthest:
    """The centres so far, and how far the rows are from them.

    Args:
        vectors: float32 (rows, width); of rows equally far, the first is next.
        least: of the working rows.
    """

    def __init__(self, vectors: Matrix, *, least: int = _LEAST) -> None:
        self._vectors, self._least = vectors, least
        self._centres = np.empty((64, vectors.shape[1]), np.float32)
        self._count = 0
        self._alive = np.ones(len(vectors), np.bool_)
        self._bounds = np.full(len(vectors), np.inf, np.float32)
        self._stamps = np.zeros(len(vectors), np.int64)
        self._working = np.zeros(0, np.int64)
        self._floor = np.float32(np.inf)
        self._next = -1

    def add(self, centre: Vector) -> None:
        """Add a centre."""
        if self._count == len(self._centres):
            self._centres = np.concatenate([self._centres, np.empty_like(self._centres)])
        self._centres[self._count] = centre
        self._count += 1
        kept, self._next = absorb(
            self._vectors,
            self._working,
            self._alive,
            self._centres[self._count - 1],
            self._count,
            self._bounds,
            self._stamps,
            self._floor,
        )
        self._working = self._working[:kept]

    def leave(self, only: Bools | Ints) -> None:
        """Leave rows out of what may come next; they keep their distances."""
        self._alive[only] = False
        self._set_working(self._working[self._alive[self._working]])

    def readmit(self) -> None:
        """Let every row come next again."""
        self._alive[:] = True
        self._set_working(np.zeros(0, np.int64))

    def next(self) -> tuple[int, float] | None:
        """The row that is farthest from its nearest centre, the first of several, and its squared distance.

        None where no row is left.

        Raises:
            ValueError: there is no centre.
        """
        if not self._count:
            raise ValueError("no centre to be far from")
        while self._next < 0:
            there = np.flatnonzero(self._alive)
            if not len(there):
                return None
            self._refill(there)
        return self._next, float(self._bounds[self._next])

    def _refill(self, there: Ints) -> None:
        """Choose working rows: those with the highest bounds."""
        bounds = self._bounds[there]
        size = min(len(there), max(self._least, min(len(there) // _SHARE, _MOST)))
        floor = np.partition(bounds, len(there) - size)[len(there) - size]
        if floor == bounds.max():
            floor = np.nextafter(floor, np.float32(-1)) if floor > 0 else np.float32(-1)
        self._floor = floor
        chosen = there[bounds > floor]
        refresh(self._vectors, chosen, self._centres, self._count, self._bounds, self._stamps, floor)
        self._set_working(chosen[self._bounds[chosen] > floor])

    def _set_working(self, rows: Ints) -> None:
        self._working = rows
        self._next = int(rows[np.argmax(self._bounds[rows])]) if len(rows) else -1
