"""Conversations out of files and tables of rows: the columns of the first rows tell the form, each row its turns.

with open_input("alpaca.jsonl") as stream:
    for chunk in read_chats(stream, "alpaca.jsonl", Options(), "auto", "jsonl"):
        print(chunk.table.column("messages")[0], [bad.message for bad in chunk.bad])
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import orjson
import pyarrow as pa

from curate.core.chat.messages import Conversation, to_arrow
from curate.core.errors import ConfigError
from curate.steps.read.chunk import SAMPLE, Builder, Chunk, Options, Record, too_large
from curate.steps.read.delimited import delimited_records
from curate.steps.read.forms import Conversations, Form, NotTurns, find_form
from curate.steps.read.jsonl import jsonl_records
from curate.steps.read.parquet import parquet_chunks
from curate.steps.read.tabular import Errors, check_names, chunk_of, plain

FORMATS = ("csv", "jsonl", "parquet", "tsv")
# How many rows, at most, are looked at before the form is decided.
_FIRST = 100


def read_chats(
    stream: BinaryIO, path: str, options: Options, conversations: Conversations, format: str
) -> Iterator[Chunk]:
    """Chunks of a file of conversations.

    Raises:
        ConfigError: the format has no columns, or the columns do not tell what is what.
    """
    if format not in FORMATS:
        raise ConfigError(f"{path}: {format} has no columns to hold conversations; give one of {', '.join(FORMATS)}")
    if format == "parquet":
        yield from parquet_chunks(stream, path, options.chunk_bytes, Chats(path, options, conversations))
        return
    header: list[str] = []
    if format == "jsonl":
        records = jsonl_records(stream, path, options.max_bytes)
    else:
        delimiter = "," if format == "csv" else "\t"
        header, records = delimited_records(stream, path, options.max_bytes, delimiter)
    first = _first(records, options.chunk_bytes)
    names = header or list(dict.fromkeys(name for record in first for name in record.values or ()))
    form = find_form(conversations, names, path) if names else Form({})
    options = dataclasses.replace(options, turns=form.columns or ("messages",))
    schema = pa.schema([(name, pa.string()) for name in options.keeps_of(header, path)]) if header else None
    build = Builder(options, schema)
    for record in itertools.chain(first, records):
        _add(build, record, form)
        if build.full:
            yield build.take()
    if not build.empty:
        yield build.take()


def _first(records: Iterator[Record], chunk_bytes: int) -> list[Record]:
    """The first records, at least one of them readable where there is such, not many more than make a chunk."""
    first: list[Record] = []
    size = readable = 0
    for record in records:
        first.append(record)
        size += record.size
        readable += record.values is not None
        if readable and (len(first) >= _FIRST or size >= chunk_bytes):
            break
    return first


def _add(build: Builder, record: Record, form: Form) -> None:
    if record.values is None:
        build.bad(record.error, record.message, offset=record.offset, sample=record.sample)
        return
    try:
        turns = form.turns(record.values)
    except NotTurns as error:
        build.bad(error.reason, str(error), offset=record.offset, sample=record.sample)
    else:
        build.conversation(turns, record.values, record.size)


@dataclass(frozen=True)
class Chats:
    """Tables whose rows are conversations."""

    path: str
    options: Options
    conversations: Conversations

    def columns(self, schema: pa.Schema) -> list[str]:
        """The columns that hold the turns, and the own ones that are wanted."""
        check_names(schema, self.path)
        form = find_form(self.conversations, schema.names, self.path)
        turns = [name for name in form.columns if name in schema.names]
        return [*turns, *self._options(form).keeps_of(schema.names, self.path)]

    def chunk(self, table: pa.Table, start: int) -> Chunk:
        """The conversations of a table."""
        names = self.columns(table.schema)
        form = find_form(self.conversations, table.column_names, self.path)
        options = self._options(form)
        turns = [name for name in names if name in form.columns]
        found: list[Conversation] = []
        errors: Errors = {}
        for number, row in enumerate(_rows(table.select(turns))):
            try:
                if row is None:
                    raise NotTurns("invalid-utf8", "the conversation is not UTF-8; convert it")
                said = form.turns(row)
                size = sum(len(turn.content.encode()) for turn in said)
                if size > options.max_bytes:
                    raise NotTurns("too-large", too_large("conversation", size, options.max_bytes))
            except NotTurns as error:
                errors[number] = (error.reason, str(error), _sample(row))
                said = ()
            found.append(said)
        own = {name: plain(table.column(name)) for name in names if name not in turns}
        return chunk_of({"messages": to_arrow(found)}, own, errors, start, options)

    def _options(self, form: Form) -> Options:
        return dataclasses.replace(self.options, turns=form.columns)


def _rows(table: pa.Table) -> Iterator[dict[str, object] | None]:
    """The values of each row; None where some are not UTF-8."""
    try:
        yield from table.to_pylist()
    except UnicodeDecodeError:
        if table.num_rows == 1:
            yield None
            return
        # to_pylist fails before the first row is given.
        half = table.num_rows // 2
        yield from _rows(table.slice(0, half))
        yield from _rows(table.slice(half))


def _sample(row: Mapping[str, object] | None) -> bytes:
    return b"" if row is None else orjson.dumps(row, default=str)[:SAMPLE]
