"""One Parquet file of a release, and what MANIFEST.json says of it.

with ReleaseFile(folder, "data/default/train-00000-of-00001.parquet", schema) as out:
    out.write(batch)
out.entry()         # path, bytes, sha256, rows, schema, digest, groups
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core import files
from curate.core.digest import RowDigest, digest_of
from curate.core.shards import Shard, conform

# The Hub's viewer reads a row group at a time; its advice is 100 to 300 MB before compression.
GROUP_BYTES = 100_000_000
BATCH_ROWS = 8192


@dataclass(frozen=True)
class Group:
    """One row group: its rows and their digest, so that a difference can be narrowed down to it."""

    rows: int
    digest: str


@dataclass(frozen=True)
class Entry:
    """One file of a release; the last four are None or empty for a file that holds no rows."""

    path: str
    bytes: int
    sha256: str
    rows: int | None = None
    schema: str | None = None
    digest: str | None = None
    groups: tuple[Group, ...] = ()


def file_hash(url: str) -> tuple[int, str]:
    """Size and sha256 of a file."""
    digest, size = hashlib.sha256(), 0
    with files.open_input(url) as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def schema_hash(schema: pa.Schema) -> str:
    """sha256 over the names and types of the columns in order."""
    return digest_of([[field.name, _type_name(field.type)] for field in schema])


def _type_name(kind: pa.DataType) -> str:
    """A type in words, whatever the items of its lists are called: Parquet has a name of its own for them."""
    if pa.types.is_list(kind):
        return f"list<item: {_type_name(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {_type_name(field.type)}' for field in kind.fields)}>"
    return str(kind)


def read_groups(reader: pq.ParquetFile) -> Iterator[tuple[pa.Table, Group]]:
    """Every row group with its digest."""
    for number in range(reader.num_row_groups):
        table = reader.read_row_group(number)
        yield table, Group(table.num_rows, _digest(table))


def _digest(table: pa.Table) -> str:
    rows = RowDigest()
    rows.update(table)
    return rows.hexdigest()


class ReleaseFile:
    """Writes one file: zstd, page index, content-defined chunks (the Hub stores equal chunks once).

    A row group ends after `group_bytes` of data; rows are taken `batch_rows` at a time.
    """

    def __init__(
        self,
        folder: str,
        path: str,
        schema: pa.Schema,
        *,
        group_bytes: int = GROUP_BYTES,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        self._folder, self._path, self._schema = folder, path, schema
        self._group_bytes, self._batch_rows = group_bytes, batch_rows
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = self._rows = self._bytes = 0
        self._groups: list[Group] = []
        self._digest = RowDigest()

    def __enter__(self) -> ReleaseFile:
        self._output = files.atomic_output(files.join(self._folder, self._path))
        stream = self._output.__enter__()
        self._writer = pq.ParquetWriter(
            stream,
            self._schema,
            compression="zstd",
            compression_level=3,
            write_page_index=True,
            use_content_defined_chunking=True,
        )
        return self

    def write(self, table: pa.Table) -> None:
        """Add rows; columns that are missing become null."""
        for batch in table.to_batches(max_chunksize=self._batch_rows):
            batch = conform(batch, self._schema)
            self._pending.append(batch)
            self._pending_bytes += batch.nbytes
            if self._pending_bytes >= self._group_bytes:
                self._flush()

    def _flush(self) -> None:
        if self._pending:
            group = pa.Table.from_batches(self._pending, self._schema)
            self._writer.write_table(group, row_group_size=max(1, group.num_rows))
            self._digest.update(group)
            self._groups.append(Group(group.num_rows, _digest(group)))
            self._rows += group.num_rows
            self._bytes += self._pending_bytes
        self._pending, self._pending_bytes = [], 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
                self._writer.close()
        except BaseException as failure:
            self._output.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._output.__exit__(kind, error, trace)

    def entry(self) -> Entry:
        """What the manifest says of the file; valid after the block. Reads the file back to hash it."""
        size, sha256 = file_hash(files.join(self._folder, self._path))
        schema = schema_hash(self._schema)
        return Entry(self._path, size, sha256, self._rows, schema, self._digest.hexdigest(), tuple(self._groups))

    def shard(self, prefix: str) -> Shard:
        """The file as a shard of the step's own dataset, by its path below the step's folder."""
        return Shard(f"{prefix}/{self._path}", self._rows, self._bytes, self._digest.hexdigest())
