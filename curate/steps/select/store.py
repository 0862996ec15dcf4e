"""The feature store: for every row one unit vector a checkpoint, memory-mapped, and the length that it had.

    hashes = write_piece(folder, "part-00000-00000", Layout("int8", 1, 384), rows)   # float32 (n, 1, 384)
    store = Store.open(dataset)
    for start, rows in store.blocks():           # float32 (n, checkpoints, width), unit vectors
        ...
    store.scores(queries)                        # float64 (n, queries), cosines where the queries have length 1

A piece is a NumPy array of some rows of one shard, (rows, checkpoints, width); pieces follow one another as the
shards do. `int8` holds the direction as integers up to 127 with one scale for a row and checkpoint, chosen so
that the vector read back has length 1; `sign` holds the sign of every coordinate in a bit. A row without a
feature is all zeros, and its reason stands in the dataset's column `reason`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from curate.core import files
from curate.core.config import Model
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError, RunError
from curate.steps.select.dot_kernel import TILE, products

Kind = Literal["float32", "float16", "int8", "sign"]
Rows = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
# Rows are handed out so many bytes of float32 at a time.
_BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class Layout:
    """How a store holds its rows: the kind of number, how many checkpoints, and the width of a vector."""

    kind: Kind
    checkpoints: int
    width: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the store, its scales and lengths included."""
        each = {"float32": 4 * self.width, "float16": 2 * self.width, "int8": self.width, "sign": -(-self.width // 8)}
        return self.checkpoints * (each[self.kind] + 4 + (4 if self.kind == "int8" else 0))


def write_piece(folder: str, name: str, layout: Layout, rows: Rows) -> dict[str, str]:
    """Write the rows of a piece; the names of its files and their xxh3-128.

    Args:
        folder: of the dataset.
        name: of the piece.
        layout: of the store.
        rows: float32 (rows, checkpoints, width), of any length; all zeros where a row has no feature.

    Raises:
        RunError: a number is not finite.
    """
    if not np.isfinite(rows).all():
        raise RunError(f"{name}: a feature is not finite, so the model gave no usable number; get or train it again")
    norms = np.sqrt(np.einsum("ncd,ncd->nc", rows, rows, dtype=np.float64))
    arrays: dict[str, npt.NDArray[np.generic]] = {"norm": norms.astype(np.float32)}
    if layout.kind == "int8":
        codes = np.stack([_rounded(rows[:, c]) for c in range(layout.checkpoints)], axis=1)
        arrays[""] = codes
        length = np.sqrt(np.einsum("ncd,ncd->nc", codes, codes, dtype=np.float64))
        arrays["scale"] = np.divide(1, length, out=np.zeros_like(length), where=length > 0).astype(np.float32)
    elif layout.kind == "sign":
        arrays[""] = np.packbits(rows > 0, axis=2)
    else:
        arrays[""] = (rows / np.where(norms == 0, 1, norms)[:, :, None].astype(np.float32)).astype(layout.kind)
    hashes: dict[str, str] = {}
    for suffix, array in sorted(arrays.items()):
        path = f"{name}.{suffix}.npy" if suffix else f"{name}.npy"
        with files.atomic_output(files.join(folder, path)) as out:
            np.save(out, array, allow_pickle=False)
        hashes[path] = files.content_hash(files.join(folder, path))
    return hashes


def _rounded(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """The rows, the largest number of each 127 or -127."""
    largest = np.abs(rows).max(axis=1, keepdims=True).astype(np.float64)
    return np.rint(rows * (127 / np.where(largest == 0, 1, largest))).astype(np.int8)


class Details(Model):
    """What the manifest of a features dataset says of its store: pieces with their rows, weights of checkpoints."""

    kind: Kind
    checkpoints: int
    width: int
    weights: list[float]
    row_bytes: int
    pieces: list[tuple[str, int]]


class Store:
    """The rows of a features dataset, in the order of its shards."""

    def __init__(
        self, folder: str, pieces: Sequence[tuple[str, int]], layout: Layout, weights: Sequence[float]
    ) -> None:
        self.layout = layout
        self.weights = np.asarray(weights, dtype=np.float64)
        self._folder = folder
        self._rows = dict(pieces)
        self._names = [name for name, rows in pieces if rows]
        self._ends = np.cumsum([rows for _, rows in pieces if rows]).tolist()

    @classmethod
    def open(cls, dataset: Dataset) -> Store:
        """The store of a finished `features` step.

        Raises:
            ConfigError: the dataset holds no features, or lies where files cannot be mapped.
        """
        details = dataset.manifest.details
        if dataset.manifest.kind != "features":
            raise ConfigError(f"{dataset.manifest.step}: a {dataset.manifest.kind} step; name one of kind features")
        if files.is_remote(dataset.folder):
            raise ConfigError(f"{dataset.folder}: features are mapped from local files; run with a local --root")
        known = Details.model_validate(details["store"], strict=False)
        return cls(dataset.folder, known.pieces, Layout(known.kind, known.checkpoints, known.width), known.weights)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._ends else 0

    @functools.cached_property
    def norms(self) -> npt.NDArray[np.float32]:
        """The length that each vector had, (rows, checkpoints); 0 where a row has no feature."""
        some = [self._map(name, "norm") for name in self._names]
        return np.concatenate(some) if some else np.zeros((0, self.layout.checkpoints), np.float32)

    def blocks(self) -> Iterator[tuple[int, Rows]]:
        """Every row once, in order: where the block begins, and its unit vectors."""
        start = 0
        for name, end in zip(self._names, self._ends, strict=True):
            for at in range(0, end - start, self._most):
                yield start + at, self._read(name, slice(at, min(at + self._most, end - start)))
            start = end

    def take(self, rows: Sequence[int] | Ints) -> Rows:
        """The unit vectors of some rows, in the order asked for."""
        out = np.zeros((len(rows), self.layout.checkpoints, self.layout.width), np.float32)
        for where, name, some in self._places(np.asarray(rows, dtype=np.int64), self._most):
            out[where] = self._read(name, some)
        return out

    def scores(self, queries: Rows, rows: Ints | None = None) -> npt.NDArray[np.float64]:
        """The products of `score_blocks` at once: float64 (rows, queries), NaN where a row has no feature."""
        wanted = np.arange(len(self)) if rows is None else rows
        found = np.empty((len(wanted), len(queries)))
        for where, some in self.score_blocks(queries, wanted):
            found[where] = some
        return found

    def score_blocks(self, queries: Rows, rows: Ints | None = None) -> Iterator[tuple[Ints, npt.NDArray[np.float64]]]:
        """The products of rows' unit vectors with those of each query, summed over checkpoints by their weights.

        A row's numbers depend on neither the other rows nor the other queries. Reads every row once.

        Args:
            queries: float32 (queries, checkpoints, width).
            rows: which; all by default.

        Returns:
            The positions in `rows` of the rows of a block, and float64 (rows of it, queries), NaN where a row has no
            feature.

        Raises:
            ConfigError: the queries are of other checkpoints or of another width.
        """
        shape = (self.layout.checkpoints, self.layout.width)
        if queries.shape[1:] != shape:
            raise ConfigError(
                f"{self._folder}: holds {shape[0]} checkpoints of {shape[1]} numbers a row, the queries have"
                f" {' of '.join(map(str, queries.shape[1:]))}; make both with the same settings"
            )
        count = len(queries)
        tiles = np.zeros((-(-count // TILE) * TILE, *shape), np.float32)
        tiles[:count] = queries
        wanted = np.arange(len(self)) if rows is None else rows
        most = max(1, min(self._most, _BLOCK_BYTES // (8 * max(1, len(tiles)))))
        for where, name, some in self._places(wanted, most):
            codes, scales = self._codes(name, some)
            sums = np.empty((len(codes), len(tiles)))
            products(codes, scales * self.weights, tiles, sums)
            sums[~self._map(name, "norm")[some].any(axis=1)] = np.nan
            yield where, sums[:, :count]

    def _places(self, rows: Ints, most: int) -> Iterator[tuple[Ints, str, slice | Ints]]:
        """Where rows lie, a block at a time: their positions in `rows`, the piece, and their places there."""
        owners = np.searchsorted(self._ends, rows, side="right")
        for piece in np.unique(owners):
            mine = np.flatnonzero(owners == piece)
            start = self._ends[piece - 1] if piece else 0
            for first in range(0, len(mine), most):
                where = mine[first : first + most]
                at = rows[where] - start
                # A run of rows is read from the file as it lies there, without a copy.
                run = bool((np.diff(at) == 1).all())
                yield where, self._names[piece], slice(int(at[0]), int(at[-1]) + 1) if run else at

    def _map(self, name: str, suffix: str) -> npt.NDArray[Any]:
        path = files.join(self._folder, f"{name}.{suffix}.npy" if suffix else f"{name}.npy")
        try:
            found: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            if len(found) != self._rows[name]:
                raise ValueError(f"{len(found):,} rows, not {self._rows[name]:,}")
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read ({error}); delete its folder and run the pipeline again") from None
        return found

    @property
    def _most(self) -> int:
        """Rows of a block."""
        return max(1, _BLOCK_BYTES // (4 * self.layout.checkpoints * self.layout.width))

    def _read(self, name: str, rows: slice | Ints) -> Rows:
        codes, scales = self._codes(name, rows)
        units: Rows = codes.astype(np.float32)
        if self.layout.kind in ("int8", "sign"):
            units *= scales[:, :, None].astype(np.float32)
        return units

    def _codes(self, name: str, rows: slice | Ints) -> tuple[npt.NDArray[np.int8] | Rows, npt.NDArray[np.float64]]:
        """Rows as small integers, or as float32, read only, and what to multiply them by, (rows, checkpoints)."""
        codes = self._map(name, "")[rows]
        if self.layout.kind == "int8":
            scales = self._map(name, "scale")[rows].astype(np.float64)
            if not np.isfinite(scales).all():
                raise RunError(f"{self._folder}: {name} is damaged; delete the folder and run the pipeline again")
        elif self.layout.kind == "sign":
            codes = 2 * np.unpackbits(codes, axis=2, count=self.layout.width).view(np.int8) - 1
            scales = (self._map(name, "norm")[rows] > 0) / np.sqrt(self.layout.width)
        else:
            codes = codes.astype(np.float32, copy=False)
            scales = np.ones(codes.shape[:2])
        codes.flags.writeable = False  # the kernel is compiled for such
        return codes, scales
