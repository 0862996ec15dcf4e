"""A Dataset: a folder of Parquet shards and a `manifest.json`, written last, whose presence means it is whole.

    docs = Dataset.open("runs/demo/docs-1f0c22aa")
    for batch in docs.read(docs.shards[0], ["id", "text"]):
        ...

Side datasets have the same shard names and the same row order, `id` first; `align` walks several at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from curate import files
from curate.digest import Plain, RowDigest
from curate.errors import ConfigError, RunError, nearest

MANIFEST = "manifest.json"
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


@dataclass(frozen=True)
class Failure:
    """A shard that was given up after retries, when the run was asked to go on."""

    shard: str
    rows: int
    error: str


@dataclass(frozen=True)
class Manifest:
    """What a step did, without time, host or path: the same for every run of the same step.

    `rows_in` rows came in; each is in a shard, in the quarantine, dropped (by a release, with its reason), in a
    failed shard, or absent from another input (it was quarantined there).
    """

    step: str
    kind: str
    version: int
    digest: str
    config: dict[str, Plain]
    inputs: dict[str, str]
    rows_in: int
    rows: int
    quarantined: int
    absent: int
    dropped: int
    counts: dict[str, int]
    details: dict[str, Plain]
    shards: tuple[Shard, ...]
    files: dict[str, str] = field(default_factory=dict)
    failed: tuple[Failure, ...] = ()

    def reconcile(self) -> None:
        """Check that every row is accounted for.

        Raises:
            RunError: rows are missing, or all were quarantined.
        """
        failed = sum(f.rows for f in self.failed)
        accounted = self.rows + self.quarantined + self.dropped + self.absent + failed
        if accounted != self.rows_in:
            raise RunError(
                f"step {self.step}: {self.rows_in} rows in, but {self.rows} out + {self.quarantined} quarantined + "
                f"{self.dropped} dropped + {self.absent} absent + {failed} in failed shards = {accounted}; please report this"
            )
        if self.rows_in and self.rows == 0 and self.quarantined:
            raise RunError(f"step {self.step}: every row was quarantined; see the messages in its {QUARANTINE}/ folder")


_MANIFEST = TypeAdapter(Manifest)


@dataclass(frozen=True)
class Dataset:
    """A whole folder of shards."""

    folder: str
    manifest: Manifest

    @classmethod
    def open(cls, folder: str) -> Dataset:
        """Open a finished dataset.

        Raises:
            ConfigError: there is no manifest, so it is not a dataset or not whole.
        """
        path = files.join(folder, MANIFEST)
        if not files.exists(path):
            raise ConfigError(f"{folder}: no {MANIFEST}, so it is not a finished dataset; run the pipeline again")
        try:
            return cls(folder, _MANIFEST.validate_json(files.read_bytes(path)))
        except ValueError:
            raise ConfigError(f"{path}: is damaged; delete the folder and run the pipeline again") from None

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards in order."""
        return self.manifest.shards

    @property
    def rows(self) -> int:
        """The number of rows in all shards."""
        return self.manifest.rows

    def path(self, shard: Shard | str) -> str:
        """Where a shard lies."""
        return files.join(self.folder, shard if isinstance(shard, str) else shard.name)

    def schema(self) -> pa.Schema:
        """One schema for all shards: columns that some lack are null there, types are widened."""
        schemas = [pq.read_schema(files.open_input(self.path(s))) for s in self.shards]
        return unify(schemas)

    def read(self, shard: Shard | str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a shard, a row group at a time.

        Raises:
            ConfigError: a column is not there.
            RunError: the file is damaged.
        """
        yield from read_shard(self.path(shard), columns)

    def ancestors(self) -> list[Dataset]:
        """The datasets this one was made from, all the way back, each once, sources first; not itself.

        Raises:
            ConfigError: one is no longer beside this one.
        """
        root, own = os.path.split(self.folder.rstrip("/"))
        beside = {name.rsplit("-", 1)[-1]: name for name in files.list_folders(root) if name != own}
        found: dict[str, Dataset] = {}

        def visit(dataset: Dataset) -> None:
            for role, digest in dataset.manifest.inputs.items():
                if digest in found:
                    continue
                if digest[:8] not in beside:
                    raise ConfigError(
                        f"{dataset.folder}: its input {role} ({digest[:8]}) is no longer in {root}; run the pipeline again"
                    )
                parent = Dataset.open(files.join(root, beside[digest[:8]]))
                visit(parent)
                found[digest] = parent

        visit(self)
        return list(found.values())

    def quarantine(self) -> Iterator[pa.Table]:
        """The quarantined rows, a table for each shard that has any."""
        folder = files.join(self.folder, QUARANTINE)
        for name in files.list_names(folder):
            with files.open_input(files.join(folder, name)) as stream:
                yield pq.read_table(stream)


def write_manifest(folder: str, manifest: Manifest) -> Dataset:
    """Finish a dataset: its manifest is the last file that is written."""
    manifest.reconcile()
    data = orjson.dumps(_MANIFEST.dump_python(manifest, mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    with files.atomic_output(files.join(folder, MANIFEST)) as out:
        out.write(data + b"\n")
    return Dataset(folder, manifest)


def read_shard(path: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of one Parquet file, a row group at a time, as record batches.

    Raises:
        ConfigError: a column is not there.
        RunError: the file is not whole.
    """
    with files.open_input(path) as stream:
        try:
            reader = pq.ParquetFile(stream)
        except pa.ArrowInvalid as error:
            raise RunError(f"{path}: is damaged ({error}); delete its folder and run the pipeline again") from None
        for name in columns or ():
            if name not in reader.schema_arrow.names:
                raise ConfigError(f"{path}: no column {name!r}; {nearest(name, reader.schema_arrow.names)}")
        for group in range(reader.num_row_groups):
            table = reader.read_row_group(group, columns=list(columns) if columns is not None else None)
            if columns is not None:
                table = table.select(list(columns))
            yield _one_batch(table)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
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

    No file appears when no batch was written and `schema` is None.
    """

    def __init__(self, path: str, schema: pa.Schema | None = None) -> None:
        self._path, self._schema = path, schema
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
        if self._pending_rows >= GROUP_ROWS or self._pending_bytes >= GROUP_BYTES:
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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                if self._schema is None:
                    raise RunError(f"{os.path.basename(self._path)}: a shard without columns cannot be written")
                self._flush()
                cast(pq.ParquetWriter, self._writer).close()
        except BaseException as failure:
            self._output.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._output.__exit__(kind, error, trace)  # type: ignore[arg-type]  # a traceback, or None

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
        {"id": r.id, "source": r.source, "step": step, "error": r.error, "message": r.message, "sample": r.sample}
        for r in rows
    ]
    with ShardWriter(path, QUARANTINE_SCHEMA) as writer:
        writer.write(pa.RecordBatch.from_pylist(records, schema=QUARANTINE_SCHEMA))


def align(datasets: Sequence[Dataset], shard: str, columns: Mapping[int, Sequence[str]]) -> tuple[pa.Table, int]:
    """The rows of one shard that every dataset has, side by side; how many of the first's rows others lack.

    Args:
        datasets: the first sets the order; rows quarantined in any other are absent from the result.
        shard: the name of the shard.
        columns: for each dataset (by position) the columns to read besides `id`. A column that several
            datasets have is taken from the last of them.
    """
    tables = []
    for i, dataset in enumerate(datasets):
        names = ["id", *(c for c in columns.get(i, ()) if c != "id")]
        if not any(s.name == shard for s in dataset.shards):
            tables.append(dataset.schema().empty_table().select(names))  # it was given up there
            continue
        tables.append(pa.Table.from_batches(list(dataset.read(shard, names))))
    base = tables[0]
    ids = base.column("id")
    for table in tables[1:]:
        if not ids.equals(table.column("id")):
            ids = ids.filter(pc.is_in(ids, value_set=table.column("id").combine_chunks()))
    result = {"id": ids}
    for table in tables:
        if not table.column("id").equals(ids):
            table = table.filter(pc.is_in(table.column("id"), value_set=ids.combine_chunks()))
            if not table.column("id").equals(ids):
                raise RunError(f"{shard}: the datasets do not hold the same rows in the same order; run them again")
        result.update({name: table.column(name) for name in table.column_names})
    return pa.table(result), base.num_rows - len(ids)
