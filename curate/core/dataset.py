"""A Dataset: a folder of Parquet shards and a `manifest.json`, written last, whose presence means it is whole.

    docs = Dataset.open("runs/demo/docs-1f0c22aa")
    for batch in docs.read(docs.shards[0], ["id", "text"]):
        ...

Attribute datasets have the same shard names and the same row order, `id` first; `align` walks several at once.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from curate.core import files
from curate.core.bits import Bits
from curate.core.digest import Plain
from curate.core.errors import ConfigError, RunError
from curate.core.shards import QUARANTINE, Shard, read_schema, read_shard, unify

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Failure:
    """A shard that failed after retries, when the run was asked to go on."""

    shard: str
    rows: int
    error: str


@dataclass(frozen=True)
class Manifest:
    """What a step did, without time, host or path: the same for every run of the same step on one kind of processor.

    `rows_in` rows came in; each is in a shard, in the quarantine, dropped (with its reason), in a failed shard, or
    absent from another input (it was quarantined there). `added` rows are in the shards beyond one for each row that
    came in: a step that makes rows may make several of one. `bits` says how the neural models computed that the step
    used, if it did; it bears no identity.
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
    added: int = 0
    bits: tuple[Bits, ...] = ()

    @property
    def rules(self) -> list[dict[str, Plain]]:
        """The rules of a filter, in order, with their thresholds and counts; none for other kinds."""
        rules = self.details.get("rules")
        return [rule for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []

    def hash_of(self, name: str) -> str:
        """The hash of one of the files, or of a folder of them."""
        if name in self.files:
            return self.files[name]
        return files.folder_hash(
            {path[len(name) + 1 :]: hashed for path, hashed in self.files.items() if path.startswith(f"{name}/")}
        )

    def reconcile(self) -> None:
        """Check that every row is accounted for.

        Raises:
            RunError: rows are missing, or all were quarantined.
        """
        failed = sum(f.rows for f in self.failed)
        accounted = self.rows + self.quarantined + self.dropped + self.absent + failed
        if accounted != self.rows_in + self.added:
            added = f" and {self.added} added" if self.added else ""
            raise RunError(
                f"step {self.step}: {self.rows_in} rows in{added}, but {self.rows} out + {self.quarantined} quarantined"
                f" + {self.dropped} dropped + {self.absent} absent + {failed} in failed shards = {accounted};"
                " please report this"
            )
        if self.rows_in and self.rows == 0 and self.quarantined:
            raise RunError(f"step {self.step}: every row was quarantined; see the messages in its {QUARANTINE}/ folder")


@functools.cache
def _adapter() -> TypeAdapter[Manifest]:
    """Reads and writes it; built with the first one."""
    return TypeAdapter(Manifest)


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
            return cls(folder, _adapter().validate_json(files.read_bytes(path)))
        except ValueError:
            raise ConfigError(f"{path}: is damaged; delete the folder and run the pipeline again") from None

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards in order."""
        return self.manifest.shards

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The names of the shards."""
        return frozenset(shard.name for shard in self.shards)

    @property
    def rows(self) -> int:
        """The number of rows in all shards."""
        return self.manifest.rows

    def path(self, shard: Shard | str) -> str:
        """Where a shard lies."""
        return files.join(self.folder, shard if isinstance(shard, str) else shard.name)

    def schema(self) -> pa.Schema:
        """One schema for all shards: columns that some lack are null there, types are widened.

        Raises:
            RunError: a file is damaged.
        """
        return unify([read_schema(self.path(shard)) for shard in self.shards])

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
                        f"{dataset.folder}: its input {role} ({digest[:8]}) is no longer in {root}; "
                        "run the pipeline again"
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
                yield pq.read_table(stream, use_threads=False, pre_buffer=False)


def write_manifest(folder: str, manifest: Manifest) -> Dataset:
    """Finish a dataset: its manifest is the last file that is written."""
    manifest.reconcile()
    data = orjson.dumps(
        _adapter().dump_python(manifest, mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    )
    with files.atomic_output(files.join(folder, MANIFEST)) as out:
        out.write(data + b"\n")
    # As it will be read: what works on it must not depend on whether this run wrote it or an earlier one.
    return Dataset(folder, _adapter().validate_json(data))


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
        names = list(dict.fromkeys(["id", *columns.get(i, ())]))
        if shard not in dataset.names:
            tables.append(dataset.schema().empty_table().select(names))  # it failed there
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
