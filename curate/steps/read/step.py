"""The `read` step: any input becomes shards of documents or conversations, each with an id and a source.

    docs: {read: {path: data/*.warc.wet.gz}}
    pool: {read: {path: alpaca.jsonl, conversations: auto}}

Small files are read together and large ones cut, so that shards have about `shard_bytes` of data however the
input was cut. A record that cannot be read goes to the quarantine with its place and reason.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field, model_validator

from curate.core import files
from curate.core.digest import Plain
from curate.core.errors import ConfigError
from curate.core.files import InputFile
from curate.core.shards import Bad, Shard, ShardWriter, conform, unify, write_quarantine
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.steps.read import FORMATS, SUFFIXES, read_chunks
from curate.steps.read.chunk import Chunk
from curate.steps.read.forms import ConversationColumns, Conversations
from curate.steps.read.hub import stream_dataset

VERSION = 1
CHUNK_BYTES = 8_000_000


class ReadConfig(StepConfig):
    """Where documents or conversations come from and which fields hold them.

    Attributes:
        path: a file, glob, folder or fsspec URL, or a list of those.
        dataset: a dataset on the Hugging Face Hub (or a local folder of one), streamed.
        subset, split, revision: which part of `dataset`.
        format: when the suffix does not tell.
        text: the field that holds the text.
        conversations: the rows are conversations of this form, or with these columns; `auto` goes by the columns.
        columns: the input's own columns to keep; all by default.
        shard_bytes: how much data goes into a shard, before compression.
        max_row_bytes: a longer record is quarantined.
    """

    path: str | list[str] | None = None
    dataset: str | None = None
    subset: str | None = None
    split: str = "train"
    revision: str | None = None
    format: str | None = None
    text: str = "text"
    conversations: Conversations | None = None
    columns: list[str] | None = None
    shard_bytes: int = Field(128_000_000, gt=0)
    max_row_bytes: int = Field(100_000_000, gt=0)

    @model_validator(mode="after")
    def _one_source(self) -> ReadConfig:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("give either `path` (files) or `dataset` (on the Hub)")
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"no format {self.format!r}; known: {', '.join(FORMATS)}")
        if self.conversations is not None and "text" in self.model_fields_set:
            raise ValueError("conversations have no `text`; remove it, or `conversations` to read documents")
        return self

    def list_files(self) -> list[InputFile]:
        """The input files, in order."""
        return [] if self.path is None else files.list_inputs(self.path, () if self.format else SUFFIXES)

    def identity(self) -> dict[str, Plain]:
        """Everything but the place of the files: their names and content are added by the pipeline."""
        identity: dict[str, Plain] = self.model_dump(mode="json", exclude={"path", "conversations"})
        # Only where it is set: documents keep the identity that they had before there were conversations.
        if isinstance(self.conversations, ConversationColumns):
            identity["conversations"] = self.conversations.model_dump(exclude_none=True)
        elif self.conversations is not None:
            identity["conversations"] = self.conversations
        return identity


@dataclass(frozen=True)
class ReadTask:
    """Files that one worker reads one after the other."""

    name: str
    files: tuple[InputFile, ...]
    rows: int = 0


def plan_tasks(inputs: Sequence[InputFile], shard_bytes: int) -> list[ReadTask]:
    """Group consecutive files until a group holds `shard_bytes`, whatever the number of workers."""
    groups: list[list[InputFile]] = []
    size = shard_bytes
    for each in inputs:
        if size >= shard_bytes:
            groups.append([])
            size = 0
        groups[-1].append(each)
        size += each.size
    return [ReadTask(f"part-{i:05d}", tuple(group)) for i, group in enumerate(groups)]


def run(job: Job, config: ReadConfig) -> Result:
    """Read everything.

    Raises:
        ConfigError: nothing is there to read.
    """
    tasks = (
        plan_tasks(config.list_files(), config.shard_bytes) if config.path is not None else [ReadTask("part-00000", ())]
    )
    make = functools.partial(_reader, config, job.folder, job.step.name)
    receipts = job.map("", make, tasks)
    if not sum(receipt.rows_in for receipt in receipts) and not job.failed:
        raise ConfigError(
            f"step {job.step.name}: {config.path or config.dataset} holds no record; check that it is the right input"
        )
    return Result(receipts)


def _reader(config: ReadConfig, folder: str, step: str) -> _Reader:
    return _Reader(config, folder, step)


class _Reader:
    def __init__(self, config: ReadConfig, folder: str, step: str) -> None:
        self._config, self._folder, self._step = config, folder, step

    def __call__(self, task: ReadTask) -> Receipt:
        bad: list[Bad] = []
        shards: list[Shard] = []
        pending: list[pa.Table] = []
        size = 0
        for name, chunk in self._chunks(task):
            bad += [
                _quarantined(name, each.row, each.offset, each.error, each.message, each.sample) for each in chunk.bad
            ]
            if chunk.table.num_rows:
                pending.append(_with_ids(chunk, name))
                size += chunk.table.nbytes
            if size >= self._config.shard_bytes:
                shards.append(self._write(task, len(shards), pending))
                pending, size = [], 0
        if pending:
            shards.append(self._write(task, len(shards), pending))
        write_quarantine(self._folder, f"{task.name}.parquet", self._step, bad)
        return Receipt(task.name, sum(s.rows for s in shards) + len(bad), tuple(shards), len(bad))

    def _chunks(self, task: ReadTask) -> Iterator[tuple[str, Chunk]]:
        config = self._config
        if config.dataset is not None:
            name = "/".join(part for part in (config.dataset, config.subset, config.split) if part)
            chunks = stream_dataset(
                config.dataset,
                config=config.subset,
                split=config.split,
                revision=config.revision,
                text=config.text,
                columns=config.columns,
                max_bytes=config.max_row_bytes,
                conversations=config.conversations,
            )
            yield from ((name, chunk) for chunk in chunks)
            return
        for file in task.files:
            with files.open_input(file.url) as stream:
                chunks = read_chunks(
                    stream,
                    file.name,
                    format=config.format,
                    text=config.text,
                    columns=config.columns,
                    max_bytes=config.max_row_bytes,
                    chunk_bytes=min(CHUNK_BYTES, config.shard_bytes),
                    conversations=config.conversations,
                )
                yield from ((file.name, chunk) for chunk in chunks)

    def _write(self, task: ReadTask, number: int, tables: Sequence[pa.Table]) -> Shard:
        schema = unify([table.schema for table in tables])
        with ShardWriter(files.join(self._folder, f"{task.name}-{number:05d}.parquet"), schema) as writer:
            for table in tables:
                for batch in table.to_batches(max_chunksize=8192):
                    writer.write(conform(batch, schema))
        return writer.shard


def row_id(source: str) -> str:
    """The id of a row: xxh3-128 of its source (`path#row`), as 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(source.encode("utf-8", "surrogateescape"))


def _quarantined(name: str, row: int, offset: int, error: str, message: str, sample: bytes) -> Bad:
    source = f"{name}#{row}"
    place = f" (byte {offset})" if offset >= 0 else ""
    return Bad(row_id(source), source, error, f"{message}{place}", sample)


def _with_ids(chunk: Chunk, name: str) -> pa.Table:
    """The table with `id`, the content and `source` first; the input's own `id` and `source` become `input_...`."""
    sources = [f"{name}#{row}" for row in np.asarray(chunk.rows).tolist()]
    content, *names = chunk.table.column_names
    columns = {
        "id": pa.array([row_id(source) for source in sources], pa.string()),
        content: chunk.table.column(content),
        "source": pa.array(sources, pa.string()),
    }
    for name in names:
        columns[f"input_{name}" if name in ("id", "source") else name] = chunk.table.column(name)
    return pa.table(columns)
