"""Digests that name content: of plain values, and of the rows of a table whatever wrote them.

rows = RowDigest()
rows.update(batch)
rows.hexdigest()        # the same for any batching, row-group size, codec or pyarrow version
"""

from __future__ import annotations

import hashlib
import math
from typing import TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import JsonValue
from typing_extensions import Buffer

# None, bool, int, float, str, and lists and dicts of those: what JSON can say.
Plain: TypeAlias = JsonValue


def canonical(value: Plain) -> bytes:
    """A plain value as JSON with sorted keys.

    Raises:
        TypeError: the value has no stable form (an object, NaN, a key that is not a string).
    """
    _check(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _check(value: Plain) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _check(item)
    elif isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{value} has no stable form in an identity")


def digest_of(value: Plain) -> str:
    """sha256 of a plain value, as 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


class RowDigest:
    """A running digest of rows in order: names, types, nulls and values of every column.

    String and large string count as one type, as do list and large list, since readers may change them.
    """

    def __init__(self) -> None:
        self._parts: dict[str, xxhash.xxh3_128] = {}
        self._rows = 0

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add the rows of a batch; every batch has the same columns."""
        self._rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                self._add(name, chunk)

    def hexdigest(self) -> str:
        """32 hex digits for the rows so far."""
        total = xxhash.xxh3_128(self._rows.to_bytes(8, "little"))
        for path in sorted(self._parts):
            total.update(path.encode())
            total.update(self._parts[path].digest())
        return total.hexdigest()

    def _feed(self, path: str, data: Buffer) -> None:
        if path not in self._parts:
            self._parts[path] = xxhash.xxh3_128()
        self._parts[path].update(data)

    def _add(self, path: str, array: pa.Array) -> None:
        kind = array.type
        if pa.types.is_dictionary(kind):
            array, kind = array.dictionary_decode(), kind.value_type
        if isinstance(array, pa.ExtensionArray):
            array, kind = array.storage, array.storage.type
        # One byte a row, so that the digest does not depend on where a batch ends within a byte.
        valid = array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False)
        self._feed(f"{path}?", valid)
        if pa.types.is_null(kind):
            return
        if pa.types.is_struct(kind):
            for i in range(kind.num_fields):
                self._add(f"{path}.{kind.field(i).name}", pc.struct_field(array, i))
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
            if pa.types.is_map(kind):
                array = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
            lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
            self._feed(f"{path}#", lengths.to_numpy(zero_copy_only=False))
            self._add(f"{path}[]", array.flatten())
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_binary(kind):
            name = "binary" if _is_binary(kind) else "string"
            lengths = pc.fill_null(pc.binary_length(array), 0).cast(pa.int64())
            self._feed(f"{path}:{name}#", lengths.to_numpy(zero_copy_only=False))
            self._feed(f"{path}:{name}", _bytes_of(array))
        else:
            if pa.types.is_temporal(kind):
                width = pa.int32() if kind.bit_width == 32 else pa.int64()
                values = array.cast(width)
            elif pa.types.is_boolean(kind):
                values = array.cast(pa.uint8())
            elif pa.types.is_decimal(kind):
                values = array.cast(pa.string())
                self._feed(f"{path}:{kind}", _bytes_of(values))
                return
            else:
                values = array
            self._feed(f"{path}:{kind}", pc.fill_null(values, 0).to_numpy(zero_copy_only=False))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _bytes_of(array: pa.Array) -> memoryview:
    """The bytes of the values one after the other, without the gaps that nulls and slices leave."""
    if array.null_count:
        array = array.drop_null()
    if pa.types.is_fixed_size_binary(array.type):
        array = array.cast(pa.binary())
    array = array.cast(pa.large_binary())
    _, offsets, data = array.buffers()
    if data is None or len(array) == 0:
        return memoryview(b"")
    ends = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]
