"""The rows that a selector chooses from: ids, which may be taken, and columns as they are asked for.

    pool = Pool.of([conversations, scores])
    pool.ids[3], pool.open[3], pool.numbers("ifd_loss")[3]

Held in memory are the ids and the columns in use, never the text. A row that another step dropped (`keep` is
false), or that an input lacks, is not open. Rows stand in the order of the first input's shards.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.chat.messages import MESSAGES, ChatBatch
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError, nearest

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]


class Pool:
    """The rows of the first dataset, with what the others say of them.

    Attributes:
        ids: of the rows.
        sizes: how many rows each shard has.
        open: which rows have no reason against them.
        reasons: why a row is not open; None where it is.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self.datasets = list(datasets)
        first = datasets[0]
        parts = [[batch.column("id") for batch in first.read(shard, ["id"])] for shard in first.shards]
        self.sizes = [sum(len(column) for column in part) for part in parts]
        self._ids = _joined([column for part in parts for column in part], pa.string())
        self.ids: Objects = _objects(self._ids)
        self.reasons: Objects = np.full(len(self.ids), None, dtype=object)
        self.open: Bools = np.ones(len(self.ids), np.bool_)
        self._where: dict[str, int] = {}
        self._at: dict[str, Ints] = {first.folder: np.arange(len(self.ids))}
        for i, dataset in enumerate(datasets):
            names = dataset.schema().names
            self._where.update(dict.fromkeys(names, i))
            self.exclude(self.rows_in(dataset) < 0, f"absent from {dataset.manifest.step}")
            if "keep" in names:
                kept = self._column(dataset, "keep", pa.bool_()).fill_null(True).to_numpy(zero_copy_only=False)
                self.drop(~kept.astype(np.bool_), self.beside(dataset, "reason", pa.string()))

    @classmethod
    def of(cls, datasets: Sequence[Dataset]) -> Pool:
        """The rows of the first of these datasets."""
        return cls(datasets)

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def order(self) -> Ints:
        """The place of every row when the rows are sorted by id: what ties go by."""
        places = np.empty(len(self), np.int64)
        places[pc.sort_indices(self._ids).to_numpy()] = np.arange(len(self))
        return places

    def exclude(self, rows: Bools, reason: str) -> None:
        """Close rows for a reason, where they are still open."""
        new = rows & self.open
        self.reasons[new] = reason
        self.open &= ~new

    def drop(self, rows: Bools, reasons: Objects) -> None:
        """Close rows, each for a reason of its own, where they are still open."""
        new = rows & self.open
        self.reasons[new] = reasons[new]
        self.open &= ~new

    def rows_of(self, dataset: Dataset) -> Ints:
        """For every row of a dataset beside the pool, in order, its row of the pool; -1 where there is none."""
        ids = [batch.column("id") for shard in dataset.shards for batch in dataset.read(shard, ["id"])]
        found = pc.index_in(_joined(ids, pa.string()), value_set=self._ids)
        return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)

    def rows_in(self, dataset: Dataset) -> Ints:
        """For every row of the pool its row of a dataset beside it; -1 where there is none."""
        if dataset.folder not in self._at:
            rows = self.rows_of(dataset)
            at = np.full(len(self), -1, np.int64)
            at[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
            self._at[dataset.folder] = at
        return self._at[dataset.folder].copy()

    def beside(self, dataset: Dataset, column: str, kind: pa.DataType) -> Objects:
        """A column of a dataset beside the pool, None where it is null or the row is absent there."""
        return _objects(self._column(dataset, column, kind))

    def column(self, column: str) -> pa.Array:
        """A column as it is, null where the row is absent.

        Raises:
            ConfigError: no input has the column.
        """
        owner = self._owner(column)
        return self._column(owner, column, owner.schema().field(column).type)

    def _column(self, dataset: Dataset, name: str, kind: pa.DataType) -> pa.Array:
        columns = [batch.column(name) for shard in dataset.shards for batch in dataset.read(shard, [name])]
        at = self.rows_in(dataset)
        return _joined(columns, kind).take(pa.array(at, mask=at < 0))

    def _owner(self, column: str) -> Dataset:
        if column not in self._where:
            known = [name for name in self._where if name not in ("id", "messages", "source")]
            raise ConfigError(f"no column {column!r} in the inputs of the step; {nearest(column, known)}")
        return self.datasets[self._where[column]]

    def numbers(self, column: str) -> Floats:
        """A column as float64, NaN where it is null or the row is absent.

        Raises:
            ConfigError: no input has the column, or it holds no numbers.
        """
        try:
            values = self._column(self._owner(column), column, pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ConfigError(f"the column {column} holds no numbers; name another") from None
        return np.array(values.fill_null(np.nan).to_numpy(zero_copy_only=False), dtype=np.float64)

    def strings(self, column: str) -> Objects:
        """A column as strings, None where it is null.

        Raises:
            ConfigError: no input has the column, or it cannot be shown as a string.
        """
        try:
            return self.beside(self._owner(column), column, pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ConfigError(f"the column {column} holds no strings; name another") from None

    def groups(self, column: str) -> Objects:
        """A column as names of groups: a null is the empty string, and of `source` the row's number is left out.

        Raises:
            ConfigError: as `strings`.
        """
        values = self.strings(column)
        values[values == None] = ""  # noqa: E711
        if column == "source":
            values = _objects(pc.replace_substring_regex(pa.array(values, pa.string()), "#[0-9]+$", ""))
        return values

    def conversations(self) -> Iterator[tuple[int, ChatBatch]]:
        """The conversations of all rows, a batch at a time, with the row at which it begins."""
        at = 0
        data = self.datasets[0]
        for shard in data.shards:
            for batch in data.read(shard, ["messages"]):
                yield at, ChatBatch(batch.column("messages").cast(MESSAGES))
                at += batch.num_rows


def _joined(columns: Sequence[pa.Array], kind: pa.DataType) -> pa.Array:
    """Pieces of a column as one array of a kind."""
    return pa.concat_arrays([column.cast(kind) for column in columns]) if columns else pa.array([], kind)


def _objects(values: pa.Array) -> Objects:
    found: Objects = np.array(values.to_numpy(zero_copy_only=False), dtype=object)
    return found
