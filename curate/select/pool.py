"""The rows that a selector chooses from: ids, which may be taken, and columns as they are asked for.

    pool = Pool.of([conversations, scores])
    pool.ids[3], pool.open[3], pool.numbers("ifd_loss")[3]

Held in memory are the ids and the columns in use, never the text. A row that another step dropped (`keep` is
false), or that an input lacks, is not open. Rows stand in the order of the first input's shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.chat.messages import MESSAGES, ChatBatch
from curate.dataset import Dataset
from curate.errors import ConfigError, nearest

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]


class Pool:
    """The rows of the first dataset, with what the others say of them."""

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self.datasets = list(datasets)
        first = datasets[0]
        parts = [[batch.column("id") for batch in first.read(shard, ["id"])] for shard in first.shards]
        self.sizes = [sum(len(column) for column in part) for part in parts]
        flat = [column.cast(pa.string()) for part in parts for column in part]
        self._ids = pa.concat_arrays(flat) if flat else pa.array([], pa.string())
        self.ids: Objects = np.asarray(self._ids.to_numpy(zero_copy_only=False), dtype=object)
        self.reasons: Objects = np.full(len(self.ids), None, dtype=object)
        self._where: dict[str, int] = {}
        for i, dataset in enumerate(datasets):
            names = dataset.schema().names
            self._where.update(dict.fromkeys(names, i))
            if i:
                rows = self.rows_of(dataset)
                absent = np.ones(len(self), np.bool_)
                absent[rows[rows >= 0]] = False
                self._drop(absent, np.full(len(self), f"absent from {dataset.manifest.step}", dtype=object))
            if "keep" in names:
                keep = self._column(i, "keep", pa.bool_())
                self._drop(keep == False, self._column(i, "reason", pa.string()))  # noqa: E712

    @classmethod
    def of(cls, datasets: Sequence[Dataset]) -> Pool:
        """The rows of the first of these datasets."""
        return cls(datasets)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def open(self) -> Bools:
        """Which rows have no reason against them."""
        return np.array([reason is None for reason in self.reasons], dtype=np.bool_)

    def exclude(self, rows: Bools, reason: str) -> None:
        """Close rows for a reason, where they are still open."""
        self._drop(rows, np.full(len(self), reason, dtype=object))

    def _drop(self, rows: Bools, reasons: Objects) -> None:
        new = rows & self.open
        self.reasons[new] = reasons[new]

    def rows_of(self, dataset: Dataset) -> npt.NDArray[np.int64]:
        """For every row of a dataset beside the pool, in order, its row of the pool; -1 where there is none."""
        ids = [
            batch.column("id").cast(pa.string()) for shard in dataset.shards for batch in dataset.read(shard, ["id"])
        ]
        if not ids:
            return np.zeros(0, np.int64)
        found = pc.index_in(pa.concat_arrays(ids), value_set=self._ids)
        return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)

    def _column(self, dataset: int, name: str, kind: pa.DataType) -> Objects:
        values: list[object] = [None] * len(self)
        data = self.datasets[dataset]
        rows = self.rows_of(data)
        at = 0
        for shard in data.shards:
            for batch in data.read(shard, [name]):
                for row, value in zip(
                    rows[at : at + batch.num_rows], batch.column(name).cast(kind).to_pylist(), strict=True
                ):
                    if row >= 0:
                        values[row] = value
                at += batch.num_rows
        return np.array(values, dtype=object)

    def _owner(self, column: str) -> int:
        if column not in self._where:
            known = [name for name in self._where if name not in ("id", "messages", "source")]
            raise ConfigError(f"no column {column!r} in the inputs of the step; {nearest(column, known)}")
        return self._where[column]

    def numbers(self, column: str) -> Floats:
        """A column as float64, NaN where it is null or the row is absent.

        Raises:
            ConfigError: no input has the column, or it holds no numbers.
        """
        try:
            values = self._column(self._owner(column), column, pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ConfigError(f"the column {column} holds no numbers; name another") from None
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def strings(self, column: str) -> Objects:
        """A column as strings, None where it is null.

        Raises:
            ConfigError: no input has the column, or it cannot be shown as a string.
        """
        try:
            return self._column(self._owner(column), column, pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ConfigError(f"the column {column} holds no strings; name another") from None

    def conversations(self) -> Iterator[tuple[int, ChatBatch]]:
        """The conversations of all rows, a batch at a time, with the row at which it begins."""
        at = 0
        data = self.datasets[0]
        for shard in data.shards:
            for batch in data.read(shard, ["messages"]):
                yield at, ChatBatch(batch.column("messages").cast(MESSAGES))
                at += batch.num_rows
