"""Turns a table with a text column into a chunk: rows without usable text become bad.

    chunk = clean(table, start=0, path="a.parquet", options=Options(text="body"))

Parquet files and `datasets` give tables; they have types, so that only the values are in doubt.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import ConfigError
from curate.read.chunk import SAMPLE, Bad, Chunk, Options, missing_text, own_name


def check_schema(schema: pa.Schema, path: str, options: Options) -> list[str]:
    """The names of the columns to read, the text first.

    Raises:
        ConfigError: there is no such text column, it does not hold text, or a wanted column is missing.
    """
    if options.text not in schema.names:
        raise missing_text(path, options.text, schema.names)
    if len(set(schema.names)) != len(schema.names):
        raise ConfigError(f"{path}: two columns have the same name; rename one")
    kind = _plain_type(schema.field(options.text).type)
    if not _is_text(kind) and not _is_bytes(kind):
        raise ConfigError(f"{path}: column {options.text!r} is {kind}, not text; name another with text: NAME")
    return [options.text, *options.keeps_of(schema.names, path)]


def clean(table: pa.Table, start: int, path: str, options: Options) -> Chunk:
    """A chunk of the rows of a table whose first row is record `start` of its file or stream."""
    names = check_schema(table.schema, path, options)
    columns = {name: _plain(table.column(name)) for name in names}
    errors: dict[int, tuple[str, str, bytes]] = {}

    def mark(rows: list[int], error: str, message: str, column: pa.Array | None) -> None:
        for row in rows:
            sample = b"" if column is None else _bytes_at(column, row)
            errors.setdefault(row, (error, message, sample))

    text = columns[options.text]
    mark(_rows_where(pc.is_null(text)), "null-text", f"column {options.text!r} is null", None)
    large = pc.fill_null(pc.greater(pc.binary_length(text), options.max_bytes), False)
    message = f"the text is over the limit of {options.max_bytes:,} bytes; raise max_bytes to read it"
    mark(_rows_where(large), "too-large", message, text)
    for name, column in columns.items():
        if _is_text(column.type) or name == options.text:
            mark(_not_utf8(column), "invalid-utf8", f"column {name!r} is not UTF-8; convert it", column)

    good = np.ones(table.num_rows, dtype=np.bool_)
    good[list(errors)] = False
    mask = None if good.all() else pa.array(good)
    kept = {}
    for name, column in columns.items():
        column = column if mask is None else column.filter(mask)
        if name == options.text:
            kept["text"] = column.cast(pa.large_string())
        else:
            kept[own_name(name)] = column
    bad = tuple(Bad(start + row, -1, *errors[row]) for row in sorted(errors))
    return Chunk(pa.table(kept), start + np.flatnonzero(good).astype(np.int64), bad)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(check(kind) for check in kinds)


def _is_bytes(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(check(kind) for check in kinds)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array, with dictionaries and views resolved, as they differ from chunk to chunk."""
    kind = _plain_type(column.type)
    if _is_text(kind):
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
