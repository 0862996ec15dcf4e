"""The worker of a release: joins the shards of one file, keeps what is to be kept, and says what it wrote.

receipt = WriteFile(sources, schema, rejected=None, folder=folder, scratch=scratch)(task)
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from curate.core import files
from curate.core.dataset import Dataset, align
from curate.core.errors import RunError
from curate.core.shards import Shard
from curate.core.step import Receipt
from curate.steps.release.parquet import Entry, ReleaseFile
from curate.steps.release.sources import FileTask, Sources

RELEASE, MANIFEST = "release", "MANIFEST.json"
DEFAULT, REJECTED = "default", "rejected"


@dataclass(frozen=True)
class Written:
    """One file that was written: for MANIFEST.json, and for the step's own manifest."""

    entry: Entry
    shard: Shard


_WRITTEN = TypeAdapter(list[Written])


def read_written(scratch: str, tasks: Sequence[FileTask]) -> list[Written]:
    """What all workers wrote, in order of path."""
    notes = [_WRITTEN.validate_json(files.read_bytes(_note(scratch, task))) for task in tasks]
    return sorted((each for note in notes for each in note), key=lambda written: written.entry.path)


def _note(scratch: str, task: FileTask) -> str:
    return files.join(scratch, f"{task.name}.json")


@dataclass(frozen=True)
class WriteFile:
    """Writes one file of the release and, when asked, one of what was dropped; holds one shard at a time."""

    sources: Sources
    schema: pa.Schema
    rejected: pa.Schema | None
    folder: str
    scratch: str

    def __call__(self, task: FileTask) -> Receipt:
        """Write the file of a task."""
        release = files.join(self.folder, RELEASE)
        counts: dict[str, int] = {}
        rows = absent = 0
        outputs = [ReleaseFile(release, f"data/{DEFAULT}/{task.name}.parquet", self.schema)]
        if self.rejected is not None:
            outputs.append(ReleaseFile(release, f"data/{REJECTED}/{task.name}.parquet", self.rejected))
        with contextlib.ExitStack() as stack:
            for each in outputs:
                stack.enter_context(each)
            for shard in task.shards:
                table, keep, reasons, missing = self._judged(shard)
                absent += missing
                rows += table.num_rows + missing
                if not table.num_rows:
                    continue
                out = pc.invert(keep)
                for pair in pc.value_counts(reasons.filter(out)).to_pylist():
                    name = f"dropped:{pair['values']}"
                    counts[name] = counts.get(name, 0) + pair["counts"]
                outputs[0].write(table.filter(keep))
                if self.rejected is not None:
                    dropped = table.append_column("reason", reasons).filter(out)
                    outputs[1].write(dropped.select(self.rejected.names))
        written = [Written(each.entry(), each.shard(RELEASE)) for each in outputs]
        with files.atomic_output(_note(self.scratch, task)) as note:
            note.write(orjson.dumps(_WRITTEN.dump_python(written, mode="json")))
        lost = sum(counts.values())
        return Receipt(task.name, rows, (written[0].shard,), absent=absent, dropped=lost, counts=counts)

    def _judged(self, shard: str) -> tuple[pa.Table, pa.ChunkedArray, pa.ChunkedArray, int]:
        """The rows that all inputs have, whether each is kept, why not, and how many are absent."""
        given = [self.sources.documents, *self.sources.beside]
        columns = {i: _columns(dataset, shard) for i, dataset in enumerate(given)}
        if self.sources.judge is not None:
            columns[len(given)] = ["keep", "reason"]
            given.append(self.sources.judge)
        table, absent = align(given, shard, columns)
        if self.sources.judge is None or not table.num_rows:
            keep = pa.chunked_array([pa.array([True] * table.num_rows, pa.bool_())])
            reasons = pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
        else:
            keep, reasons = table.column("keep"), table.column("reason")
            if keep.null_count or pc.any(pc.and_(pc.invert(keep), reasons.is_null())).as_py():
                step = self.sources.judge.manifest.step
                raise RunError(f"{shard}: {step} drops rows without a reason; run it again")
            table = table.drop_columns(["keep", "reason"])
            for name, column in self._picked(shard, table.column("id")).items():
                table = table.append_column(name, column)
        return table, keep, reasons, absent

    def _picked(self, shard: str, ids: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
        """What the judge says of these rows beside its verdict."""
        picked = self.sources.picked
        if self.sources.judge is None or not picked:
            return {}
        said = pa.Table.from_batches(list(self.sources.judge.read(shard, ["id", *picked.values()])))
        rows = pc.index_in(ids, value_set=said.column("id").combine_chunks())
        return {name: said.column(column).take(rows) for name, column in picked.items()}


def _columns(dataset: Dataset, shard: str) -> list[str]:
    """The columns of one shard: shards of one dataset may differ in theirs."""
    if not any(each.name == shard for each in dataset.shards):
        return []
    with files.open_input(dataset.path(shard)) as stream:
        return [name for name in pq.read_schema(stream).names if name != "id"]
