"""What every reader gives: chunks of good rows, and the records that could not be read, each with its reason.

    build = Builder(Options(text="body"))
    build.row("some text", {"url": "http://a.example"}, size=40)
    build.bad("json", "unexpected end of data", offset=40, sample=b'{"body": "cut')
    chunk = build.take()        # chunk.table has the columns text and url; chunk.bad[0].row is 1

A record is counted once, good or bad, so `len(chunk.rows) + len(chunk.bad)` over a file is its number of
records.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.chat.messages import Conversation, to_arrow
from curate.core.errors import ConfigError, nearest

SAMPLE = 200
# What a row takes beside its bytes, so that many short rows make a chunk too.
_ROW = 200


@dataclass(frozen=True)
class Bad:
    """A record that could not be read.

    `row` is its position in the file, from 0. `offset` is a byte in the file, -1 where there is none: for
    lines and CSV where the record begins after decompression, for WARC and WET where its gzip member (or, in
    a plain file, the record) begins. `sample` is at most 200 bytes of what was there.
    """

    row: int
    offset: int
    error: str
    message: str
    sample: bytes


@dataclass(frozen=True)
class Record:
    """A record of a file of rows, as it was found: its values, or what is wrong with it.

    `size` is about its bytes in memory, `sample` what a bad record shows, `offset` as in `Bad`.
    """

    offset: int
    size: int
    sample: bytes
    values: dict[str, object] | None
    error: str = ""
    message: str = ""


@dataclass(frozen=True)
class Chunk:
    """Rows of a file: column `text` (large_string) or `messages` first, then the input's own; `rows`: their places."""

    table: pa.Table
    rows: npt.NDArray[np.int64]
    bad: tuple[Bad, ...]


@dataclass(frozen=True)
class Options:
    """The column that holds the text, the own columns to keep (all when None), and limits in bytes.

    `turns` are the columns that hold conversations, where the rows are no documents.
    """

    text: str = "text"
    columns: tuple[str, ...] | None = None
    max_bytes: int = 100_000_000
    chunk_bytes: int = 8_000_000
    turns: tuple[str, ...] = ()

    def keeps(self, name: str) -> bool:
        """Whether an own column is wanted; one that holds the text or the turns is none."""
        return name not in (self.turns or (self.text,)) and (self.columns is None or name in self.columns)

    def keeps_of(self, names: Iterable[str], path: str) -> list[str]:
        """Those of a file's own columns that are wanted, in the file's order.

        Raises:
            ConfigError: a wanted column is not among them.
        """
        known = list(names)
        for name in self.columns or ():
            if name not in known:
                raise ConfigError(f"{path}: no column {name!r}; {nearest(name, known)}")
        return [name for name in known if self.keeps(name)]


def missing_text(path: str, text: str, known: Iterable[str]) -> ConfigError:
    """The error for a file without its text column: names the columns there are, and the nearest."""
    names = sorted(known)
    hint = nearest(text, names)
    listed = "" if hint.startswith(("known", "there")) else f"; known: {', '.join(names)}"
    return ConfigError(f"{path}: no column {text!r} to take the text from; {hint}{listed}")


def too_large(what: str, size: int, max_bytes: int) -> str:
    """What is said of a record that is over the limit."""
    return f"the {what} has {size:,} bytes, over the limit of {max_bytes:,}; raise max_bytes to read it"


def own_name(name: str, options: Options) -> str:
    """The name in the output of an own column."""
    return f"input_{name}" if name == "text" or (options.turns and name == "messages") else name


class Builder:
    """Collects rows, documents or conversations, and bad records until there are `chunk_bytes` of them.

    With a `schema` the own columns are always those; without one they are the keys that the rows of the chunk
    have, in order of first appearance, with the types that their values call for.
    """

    def __init__(self, options: Options, schema: pa.Schema | None = None) -> None:
        self.position = 0  # the record that comes next
        self._options = options
        self._schema = schema
        self._texts: list[str] = []
        self._turns: list[Conversation] = []
        self._own: list[Mapping[str, object]] = []
        self._rows: list[int] = []
        self._bad: list[Bad] = []
        self._size = 0

    def row(self, text: str, own: Mapping[str, object], size: int) -> None:
        """Add a record that was read; `size` is about its bytes in memory."""
        self._texts.append(text)
        self._add(own, size)

    def conversation(self, turns: Conversation, own: Mapping[str, object], size: int) -> None:
        """Add a conversation that was read; `size` is about its bytes in memory."""
        self._turns.append(turns)
        self._add(own, size)

    def _add(self, own: Mapping[str, object], size: int) -> None:
        self._own.append(own)
        self._rows.append(self.position)
        self.position += 1
        self._size += size + _ROW

    def bad(self, error: str, message: str, *, offset: int = -1, sample: bytes = b"") -> None:
        """Add a record that could not be read."""
        line = " ".join(message.split())
        self._bad.append(Bad(self.position, offset, error, line, bytes(sample[:SAMPLE])))
        self.position += 1
        self._size += SAMPLE + len(line)

    def too_large(self, what: str, size: int, *, offset: int, sample: bytes) -> None:
        """Add a record that is over the limit."""
        self.bad("too-large", too_large(what, size, self._options.max_bytes), offset=offset, sample=sample)

    @property
    def full(self) -> bool:
        """Whether it is time to take a chunk."""
        return self._size >= self._options.chunk_bytes

    @property
    def empty(self) -> bool:
        """Whether a chunk taken now would hold nothing."""
        return not self._rows and not self._bad

    def take(self) -> Chunk:
        """The chunk so far; the builder goes on with the next."""
        if self._options.turns:
            columns = {"messages": to_arrow(self._turns)}
        else:
            columns = {"text": pa.array(self._texts, pa.large_string())}
        if self._schema is None:
            names = dict.fromkeys(name for own in self._own for name in own if self._options.keeps(name))
            for name in names:
                columns[own_name(name, self._options)] = infer([own.get(name) for own in self._own])
        else:
            for field in self._schema:
                column = pa.array([own[field.name] for own in self._own], field.type)
                columns[own_name(field.name, self._options)] = column
        chunk = Chunk(pa.table(columns), np.array(self._rows, dtype=np.int64), tuple(self._bad))
        self._texts, self._turns, self._own, self._rows, self._bad, self._size = [], [], [], [], [], 0
        return chunk


def infer(values: list[object]) -> pa.Array:
    """An Arrow array of JSON values; where they have no common type, each becomes a string of JSON.

    >>> infer([1, None, "one"]).to_pylist()
    ['1', None, '"one"']
    """
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return _as_json(values)
    # Parquet cannot hold a struct without fields.
    return _as_json(values) if _has_empty_struct(array.type) else array


def _as_json(values: list[object]) -> pa.Array:
    texts = [None if v is None else json.dumps(v, sort_keys=True, ensure_ascii=False) for v in values]
    return pa.array(texts, pa.string())


def _has_empty_struct(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_has_empty_struct(kind.field(i).type) for i in range(kind.num_fields))
    return pa.types.is_list(kind) and _has_empty_struct(kind.value_type)
