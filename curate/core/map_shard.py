"""The commonest task of a step: a function of a batch, over one shard, to the shard of the same name.

job.map("", functools.partial(make, config), shard_tasks(job.inputs["from"]))    # make() -> MapShard(...)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import orjson
import pyarrow as pa

from curate.core import files
from curate.core.dataset import Dataset
from curate.core.errors import CurateError, RunError
from curate.core.shards import Bad, ShardWriter, one_batch, read_shard, write_quarantine
from curate.core.step import Receipt

BatchFunction = Callable[[pa.RecordBatch], pa.RecordBatch]


@dataclass(frozen=True)
class ShardTask:
    """Read one shard, write the shard of the same name."""

    name: str
    rows: int
    source: str


def shard_tasks(dataset: Dataset) -> list[ShardTask]:
    """One task a shard."""
    return [ShardTask(shard.name, shard.rows, dataset.path(shard)) for shard in dataset.shards]


class MapShard:
    """A task function: applies a batch function to a shard; rows that raise go to the quarantine.

    The function gets batches with `id` first and returns as many rows. A batch that raises is bisected until
    the row that does it is alone. `columns` are read (None for all), and `optional` ones, null where a shard
    lacks them. With `whole` a shard is one batch, for functions that compare its rows.
    """

    def __init__(
        self,
        function: BatchFunction,
        step: str,
        folder: str,
        columns: Sequence[str] | None,
        optional: Sequence[str] = (),
        *,
        whole: bool = False,
    ) -> None:
        self._function, self._step, self._folder = function, step, folder
        self._columns, self._optional, self._whole = columns, optional, whole

    def __call__(self, task: ShardTask) -> Receipt:
        """Map one shard."""
        bad: list[Bad] = []
        rows = 0
        empty: pa.RecordBatch | None = None
        with ShardWriter(files.join(self._folder, task.name)) as writer:
            for batch in self._read(task.source):
                rows += batch.num_rows
                empty = batch.slice(0, 0)
                for out in self._apply(batch, bad):
                    writer.write(out)
            if rows == len(bad) and empty is not None:
                writer.write(self._function(empty))
        write_quarantine(self._folder, task.name, self._step, bad)
        return Receipt(task.name, rows, (writer.shard,), len(bad))

    def _read(self, path: str) -> Iterator[pa.RecordBatch]:
        batches = read_shard(path, self._columns, self._optional)
        if self._whole:
            every = list(batches)
            yield from [one_batch(pa.Table.from_batches(every))] if every else []
        else:
            yield from batches

    def _apply(self, batch: pa.RecordBatch, bad: list[Bad]) -> Iterator[pa.RecordBatch]:
        try:
            out = self._function(batch)
        except CurateError:
            raise
        except Exception as error:
            if batch.num_rows == 1:
                bad.append(_quarantined(batch, error))
                return
            half = batch.num_rows // 2
            yield from self._apply(batch.slice(0, half), bad)
            yield from self._apply(batch.slice(half), bad)
            return
        if out.num_rows != batch.num_rows:
            raise RunError(
                f"step {self._step}: {batch.num_rows} rows in a batch became {out.num_rows}; please report this"
            )
        yield out


def _quarantined(batch: pa.RecordBatch, error: Exception) -> Bad:
    names = batch.schema.names
    source = batch.column("source")[0].as_py() if "source" in names else ""
    message = " ".join(str(error).split())
    sample = b""
    if "text" in names and batch.column("text")[0].is_valid:
        sample = batch.column("text")[0].as_buffer().to_pybytes()[:200]
    elif "messages" in names:
        sample = orjson.dumps(batch.column("messages")[0].as_py(), default=str)[:200]
    return Bad(batch.column("id")[0].as_py(), source or "", type(error).__name__, message, sample)
