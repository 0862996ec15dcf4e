"""Shards: Parquet files whose bytes depend on their rows alone, and whose name means that they are whole.

with ShardWriter("runs/demo/docs/part-00000.parquet") as writer:
writer.write(batch)
writer.shard.rows, writer.shard.digest
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import cast

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core import files
from curate.core.digest import RowDigest
from curate.core.errors import ConfigError, RunError, nearest

QUARANTINE = "quarantine"

# A row group ends after this many rows or bytes, whichever comes first: what one batch holds in memory.
GROUP_ROWS = 65_536
GROUP_BYTES = 16_000_000

QUARANTINE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("step", pa.string()),
        ("error", pa.string()),
        ("message", pa.string()),
        ("sample", pa.binary()),
    ]
)


@dataclass(frozen=True)
class Shard:
    """One Parquet file: its name, rows, bytes of data before compression, and the digest of its rows."""

    name: str
    rows: int
    bytes: int
    digest: str


@contextlib.contextmanager
def _whole(path: str) -> Iterator[None]:
    """What is no whole Parquet file is an error that says what to do."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise RunError(f"{path}: is damaged ({error}); delete its folder and run the pipeline again") from None


def read_schema(path: str) -> pa.Schema:
    """The schema of one Parquet file.

    Raises:
        RunError: the file is not whole.
    """
    with files.open_input(path) as stream, _whole(path):
        return pq.read_schema(stream)


def read_shard(
    path: str, columns: Sequence[str] | None = None, optional: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """The rows of one Parquet file, a row group at a time, as record batches.

    Args:
        path: the file.
        columns: the columns to read, in this order, one that is named twice only once; None for all.
        optional: columns to read besides, null where the file lacks them.

    Raises:
        ConfigError: a column is not there.
        RunError: the file is not whole.
    """
    with files.open_input(path) as stream:
        with _whole(path):
            # In this thread alone: one of Arrow's that still holds the stream when Python ends aborts the process
            # (apache/arrow issues 34314 and 50482).
            reader = pq.ParquetFile(stream, pre_buffer=False)
        for name in columns or ():
            if name not in reader.schema_arrow.names:
                raise ConfigError(f"{path}: no column {name!r}; {nearest(name, reader.schema_arrow.names)}")
        there = [name for name in optional if name in reader.schema_arrow.names]
        wanted = None if columns is None else list(dict.fromkeys([*columns, *there]))
        for group in range(reader.num_row_groups):
            table = reader.read_row_group(group, columns=wanted, use_threads=False)
            if wanted is not None:
                table = table.select(wanted)
            for name in optional:
                if name not in there:
                    table = table.append_column(name, pa.nulls(table.num_rows))
            yield one_batch(table)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """The rows of a table as one batch."""
    batches = table.combine_chunks().to_batches()
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return pa.RecordBatch.from_pylist([], schema=table.schema)
    # More than 2 GB of strings do not fit 32-bit offsets: widen them.
    wide = pa.schema([(f.name, pa.large_string() if f.type == pa.string() else f.type) for f in table.schema])
    return table.cast(wide).combine_chunks().to_batches()[0]


def unify(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The schema that holds the rows of all: new columns are appended, numbers widened, clashes become strings."""
    fields: dict[str, pa.DataType] = {}
    for schema in schemas:
        for each in schema:
            known = fields.get(each.name)
            fields[each.name] = each.type if known is None else _widen(known, each.type)
    return pa.schema(list(fields.items()))


def _widen(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if a == b:
        return a
    try:
        merged = pa.unify_schemas([pa.schema([("x", a)]), pa.schema([("x", b)])], promote_options="permissive")
        return merged.field("x").type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.large_string()


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch with exactly the columns of `schema`: missing ones null, others cast, clashes as JSON."""
    columns = []
    for each in schema:
        if each.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, each.type))
            continue
        column = batch.column(each.name)
        if column.type != each.type:
            nested = pa.types.is_nested(column.type)
            if nested and (pa.types.is_string(each.type) or pa.types.is_large_string(each.type)):
                values = [None if v is None else orjson.dumps(v, default=str).decode() for v in column.to_pylist()]
                column = pa.array(values, each.type)
            else:
                column = column.cast(each.type)
        columns.append(column)
    return pa.record_batch(columns, schema=schema)


class ShardWriter:
    """Writes one shard so that its bytes depend on its rows alone, and its name means that it is whole.

        with ShardWriter(path) as writer:
            writer.write(batch)
        writer.shard            # name, rows, bytes, digest

    No file appears when no batch was written and `schema` is None. A row group ends after `group_rows`, or sooner
    where rows are large.
    """

    def __init__(self, path: str, schema: pa.Schema | None = None, *, group_rows: int = GROUP_ROWS) -> None:
        self._path, self._schema, self._group_rows = path, schema, group_rows
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._pending_bytes = self._rows = self._bytes = 0
        self._digest = RowDigest()
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> ShardWriter:
        self._output = files.atomic_output(self._path)
        self._stream = self._output.__enter__()
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows, with the columns of the first batch or of the schema given."""
        if self._schema is None:
            self._schema = batch.schema
        elif batch.schema != self._schema:
            batch = conform(batch, self._schema)
        self._digest.update(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        self._pending_bytes += batch.nbytes
        if self._pending_rows >= self._group_rows or self._pending_bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._stream, self._schema, compression="zstd", compression_level=3, write_page_index=True
            )
        if self._pending:
            table = pa.Table.from_batches(self._pending, self._schema)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                if self._schema is None:
                    raise RunError(f"{os.path.basename(self._path)}: a shard without columns cannot be written")
                self._flush()
                cast(pq.ParquetWriter, self._writer).close()
        except BaseException as failure:
            self._output.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._output.__exit__(kind, error, trace)

    @property
    def shard(self) -> Shard:
        """What was written; valid after the block."""
        return Shard(os.path.basename(self._path), self._rows, self._bytes, self._digest.hexdigest())


@dataclass(frozen=True)
class Bad:
    """A row for the quarantine: which, and why."""

    id: str
    source: str
    error: str
    message: str
    sample: bytes = b""


def write_quarantine(folder: str, shard: str, step: str, rows: Sequence[Bad]) -> None:
    """Write the quarantined rows of one shard; an earlier attempt's file goes when there are none."""
    path = files.join(folder, QUARANTINE, shard)
    if not rows:
        files.remove(path)
        return
    records = [
        {
            "id": r.id,
            "source": r.source,
            "step": step,
            "error": r.error,
            "message": r.message,
            "sample": r.sample,
        }
        for r in rows
    ]
    with ShardWriter(path, QUARANTINE_SCHEMA) as writer:
        writer.write(pa.RecordBatch.from_pylist(records, schema=QUARANTINE_SCHEMA))
