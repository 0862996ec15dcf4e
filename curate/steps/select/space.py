"""The rows that may be taken as vectors of one length, in the order of their ids: what ties go by.

    space = Space(self.vectors(job, pool), pool)
    space.rows[5]                                # the row of the pool that stands at place 5
    matrix = space.mapped(job.scratch)           # float32 (places, width), on disk

The vectors of several checkpoints become one, each times the root of its weight, so that the product of two is
the weighted sum of the cosines of their checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from curate.core import files
from curate.steps.select.pool import Bools, Ints, Pool
from curate.steps.select.space_kernel import Matrix
from curate.steps.select.store import Rows
from curate.steps.select.targets import Vectors


class Space:
    """The vectors of some rows of a pool, by id; `lengths` gives them the lengths that their features had."""

    def __init__(self, vectors: Vectors, pool: Pool, *, among: Bools | None = None, lengths: bool = False) -> None:
        self._store, self._lengths = vectors.store, lengths
        chosen = np.flatnonzero((pool.open if among is None else among) & (vectors.at >= 0))
        self.rows: Ints = chosen[np.argsort(pool.order[chosen])]
        self._places = np.full(len(self._store), -1, np.int64)
        self._places[vectors.at[self.rows]] = np.arange(len(self.rows))
        self._at = vectors.at[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """Of a vector."""
        return self._store.layout.checkpoints * self._store.layout.width

    def blocks(self) -> Iterator[tuple[Ints, Matrix]]:
        """Every place once, in the order of the store: places, and their vectors."""
        for start, rows in self._store.blocks():
            places = self._places[start : start + len(rows)]
            there = np.flatnonzero(places >= 0)
            if len(there):
                yield places[there], self._joined(rows[there], start + there)

    def take(self, places: Ints) -> Matrix:
        """The vectors of some places."""
        at = self._at[places]
        return self._joined(self._store.take(at), at)

    def mapped(self, folder: str) -> Matrix:
        """All vectors as one array on disk, which is written at the first call and found at the next.

        Args:
            folder: on this machine, with room for 4 bytes a number.
        """
        path = files.join(folder, "space.npy")
        if not os.path.exists(path):
            files.make_folder(folder)
            shape = (len(self), self.width)
            partial = np.lib.format.open_memmap(f"{path}.part", mode="w+", dtype=np.float32, shape=shape)
            for places, vectors in self.blocks():
                partial[places] = vectors
            partial.flush()
            os.replace(f"{path}.part", path)
        # Writable, as the kernels are compiled for such arrays; nobody writes.
        return np.asarray(np.load(path, mmap_mode="r+", allow_pickle=False))

    def _joined(self, rows: Rows, at: Ints) -> Matrix:
        lengths = np.sqrt(np.einsum("ncd,ncd->nc", rows, rows))
        scales = self._store.norms[at] if self._lengths else 1 / np.where(lengths == 0, 1, lengths)
        scaled = rows * (scales * np.sqrt(self._store.weights)).astype(np.float32)[:, :, None]
        return np.ascontiguousarray(scaled.reshape(len(rows), -1), dtype=np.float32)
