"""The matrices of a fastText model file, read a block of rows at a time.

    matrix, end = read_matrix(path, data, at, dimension=16, quantised=True)
    matrix.read(0, 1000)                         # float32, 1000 x 16

A quantised matrix (Jégou et al. 2011; the library's `quantmatrix.cc`) keeps one byte for each part of a row: the
number of one of 256 centroids of that part; and, where norms are quantised too, one for the row's norm.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]

_CENTROIDS = 256
_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class Matrix:
    """Where a matrix lies in a file. `centroids` holds one array (256 x width) a part of a row; none: plain floats."""

    path: str
    rows: int
    columns: int
    at: int
    centroids: tuple[Rows, ...] = ()
    norms_at: int | None = None
    norm_centroids: Rows | None = None

    @property
    def quantised(self) -> bool:
        """Whether rows are kept as codes."""
        return bool(self.centroids)

    def read(self, first: int, last: int) -> Rows:
        """The rows from `first` up to `last`, float32, (last - first) x columns."""
        with open(self.path, "rb", buffering=0) as stream:
            if not self.quantised:
                values = _bytes(stream.fileno(), self.at + 4 * self.columns * first, 4 * self.columns * (last - first))
                return values.view("<f4").reshape(last - first, self.columns)
            parts = len(self.centroids)
            codes = _bytes(stream.fileno(), self.at + parts * first, parts * (last - first)).reshape(-1, parts)
            rows = np.concatenate([each[codes[:, i]] for i, each in enumerate(self.centroids)], axis=1)
            if self.norms_at is not None and self.norm_centroids is not None:
                norms = _bytes(stream.fileno(), self.norms_at + first, last - first)
                with np.errstate(over="ignore"):  # what is not finite then is found by whoever reads
                    rows *= self.norm_centroids[norms]
            return rows

    def blocks(self) -> Iterator[tuple[int, Rows]]:
        """All rows, some four megabytes at a time, each block with the number of its first row."""
        step = max(1, _BLOCK_BYTES // (4 * self.columns))
        for first in range(0, self.rows, step):
            yield first, self.read(first, min(self.rows, first + step))


def read_matrix(path: str, data: mmap.mmap, at: int, dimension: int, quantised: bool) -> tuple[Matrix, int]:
    """A matrix whose flag, one byte that says whether it is quantised, is at `at`; and where it ends.

    Raises:
        ValueError: the file ends in it, or it has other columns than `dimension`.
    """
    at += 1
    if not quantised:
        rows, columns = struct.unpack_from("<qq", data, at)
        _check(columns == dimension and 0 <= rows <= len(data) and at + 16 + 4 * rows * columns <= len(data))
        return Matrix(path, rows, columns, at + 16), at + 16 + 4 * rows * columns
    normed, rows, columns, size = struct.unpack_from("<?qqi", data, at)
    codes = at + 21
    _check(columns == dimension and 0 <= rows <= len(data) and 0 <= size <= len(data))
    centroids, at = _centroids(data, codes + size, dimension)
    _check(size == rows * len(centroids) and bool(centroids))
    if not normed:
        return Matrix(path, rows, columns, codes, centroids), at
    norms = at
    (norm_centroids, *more), at = _centroids(data, norms + rows, 1)
    _check(not more)
    return Matrix(path, rows, columns, codes, centroids, norms, norm_centroids), at


def _centroids(data: mmap.mmap, at: int, dimension: int) -> tuple[tuple[Rows, ...], int]:
    """The centroids of each part of a row; the last part may be narrower than the others."""
    columns, parts, width, last = struct.unpack_from("<4i", data, at)
    _check(columns == dimension and parts > 0 and width > 0 and (parts - 1) * width + last == dimension and last > 0)
    at += 16
    end = at + 4 * _CENTROIDS * dimension
    _check(end <= len(data))
    values = np.frombuffer(data[at:end], "<f4")
    _check(bool(np.isfinite(values).all()))
    full = [values[i * _CENTROIDS * width :][: _CENTROIDS * width].reshape(-1, width) for i in range(parts - 1)]
    return (*full, values[(parts - 1) * _CENTROIDS * width :].reshape(_CENTROIDS, last)), end


def _check(condition: bool) -> None:
    if not condition:
        raise ValueError("it ends in a matrix, or the matrix has other sizes than the model, or no numbers")


def _bytes(handle: int, at: int, size: int) -> npt.NDArray[np.uint8]:
    """Bytes of a file, read into memory of their own: a map would count as the worker's."""
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        got = os.preadv(handle, [view], at)
        _check(got > 0)
        view, at = view[got:], at + got
    return np.frombuffer(buffer, np.uint8)
