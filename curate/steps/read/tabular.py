"""Turns a table into a chunk: rows without usable text, or without a conversation, become bad.

    chunk = Documents("a.parquet", Options(text="body")).chunk(table, start=0)

Parquet files and `datasets` give tables; they have types, so that only the values are in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.errors import ConfigError
from curate.steps.read.chunk import SAMPLE, Bad, Chunk, Options, missing_text, own_name

Errors = dict[int, tuple[str, str, bytes]]


class Tables(Protocol):
    """What becomes of the tables of one file or stream."""

    def columns(self, schema: pa.Schema) -> list[str]:
        """The columns to read."""
        ...

    def chunk(self, table: pa.Table, start: int) -> Chunk:
        """The chunk of a table whose first row is record `start`."""
        ...


@dataclass(frozen=True)
class Documents:
    """Tables whose rows are documents."""

    path: str
    options: Options

    def columns(self, schema: pa.Schema) -> list[str]:
        """The text column and the own ones that are wanted."""
        return check_schema(schema, self.path, self.options)

    def chunk(self, table: pa.Table, start: int) -> Chunk:
        """The documents of a table."""
        return clean(table, start, self.path, self.options)


def check_schema(schema: pa.Schema, path: str, options: Options) -> list[str]:
    """The names of the columns to read, the text first.

    Raises:
        ConfigError: there is no such text column, it does not hold text, or a wanted column is missing.
    """
    if options.text not in schema.names:
        raise missing_text(path, options.text, schema.names)
    check_names(schema, path)
    kind = _plain_type(schema.field(options.text).type)
    if not is_text(kind) and not _is_bytes(kind):
        raise ConfigError(f"{path}: column {options.text!r} is {kind}, not text; name another with text: NAME")
    return [options.text, *options.keeps_of(schema.names, path)]


def check_names(schema: pa.Schema, path: str) -> None:
    """See that no two columns have one name.

    Raises:
        ConfigError: two have.
    """
    if len(set(schema.names)) != len(schema.names):
        raise ConfigError(f"{path}: two columns have the same name; rename one")


def clean(table: pa.Table, start: int, path: str, options: Options) -> Chunk:
    """A chunk of the rows of a table whose first row is record `start` of its file or stream."""
    names = check_schema(table.schema, path, options)
    columns = {name: plain(table.column(name)) for name in names}
    text = columns.pop(options.text)
    errors: Errors = {}
    message = f"column {options.text!r} is null"
    errors.update({row: ("null-text", message, b"") for row in _rows_where(pc.is_null(text))})
    large = pc.fill_null(pc.greater(pc.binary_length(text), options.max_bytes), False)
    message = f"the text is over the limit of {options.max_bytes:,} bytes; raise max_bytes to read it"
    for row in _rows_where(large):
        errors.setdefault(row, ("too-large", message, _bytes_at(text, row)))
    mark_not_utf8(errors, text, options.text)
    return chunk_of({"text": text}, columns, errors, start, options)


def mark_not_utf8(errors: Errors, column: pa.Array, name: str) -> None:
    """Add the rows of a column of text whose bytes are not UTF-8."""
    message = f"column {name!r} is not UTF-8; convert it"
    for row in _not_utf8(column):
        errors.setdefault(row, ("invalid-utf8", message, _bytes_at(column, row)))


def chunk_of(
    content: dict[str, pa.Array], own: dict[str, pa.Array], errors: Errors, start: int, options: Options
) -> Chunk:
    """The chunk of the rows without an error; those whose own columns are not UTF-8 have one too."""
    for name, column in own.items():
        if is_text(column.type):
            mark_not_utf8(errors, column, name)
    ((name, column),) = content.items()
    good = np.ones(len(column), dtype=np.bool_)
    good[list(errors)] = False
    mask = None if good.all() else pa.array(good)
    columns = {name: column, **{own_name(each, options): values for each, values in own.items()}}
    kept = {name: values if mask is None else values.filter(mask) for name, values in columns.items()}
    if "text" in content:
        kept["text"] = kept["text"].cast(pa.large_string())
    bad = tuple(Bad(start + row, -1, *errors[row]) for row in sorted(errors))
    return Chunk(pa.table(kept), start + np.flatnonzero(good).astype(np.int64), bad)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's types of text."""
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(check(kind) for check in kinds)


def _is_bytes(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(check(kind) for check in kinds)


def plain(column: pa.ChunkedArray) -> pa.Array:
    """One array, with dictionaries and views resolved, as they differ from chunk to chunk."""
    kind = _plain_type(column.type)
    if is_text(kind):
        # Not a cast to large_string: that would check the bytes, and fail for all where one row is wrong.
        return _combined(column, pa.large_binary()).view(pa.large_string())
    if _is_bytes(kind):
        return _combined(column, pa.large_binary())
    return _combined(column, kind)


def _combined(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type != kind:
        column = column.cast(kind)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _rows_where(mask: pa.Array) -> list[int]:
    rows: list[int] = np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist()
    return rows


def _not_utf8(column: pa.Array) -> list[int]:
    """The rows whose bytes are not UTF-8."""
    strings = column.view(pa.large_string())
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid:
        pass
    else:
        return []
    rows = []
    for row, value in enumerate(column.view(pa.large_binary())):
        if value.is_valid:
            try:
                str(value.as_buffer(), "utf-8")
            except UnicodeDecodeError:
                rows.append(row)
    return rows


def _bytes_at(column: pa.Array, row: int) -> bytes:
    value = column.view(pa.large_binary())[row]
    return bytes(value.as_buffer()[:SAMPLE]) if value.is_valid else b""
