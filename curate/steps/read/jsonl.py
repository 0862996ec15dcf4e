"""JSON Lines: one object a line, plain or packed with gzip, zstd or bzip2.

    {"text": "A document.", "url": "http://a.example"}

A line that cannot be read is bad and the rest is read. Blank lines are no records. `NaN` and `Infinity`,
which Python writes and JSON does not have, are read as null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

import orjson

from curate.core.errors import ConfigError
from curate.steps.read.chunk import SAMPLE, Builder, Chunk, Options, Record, missing_text, too_large
from curate.steps.read.lines import Lines
from curate.steps.read.source import Source

# Deeper values can be parsed but not written to Parquet.
_DEEPEST = 100


def read_jsonl(stream: BinaryIO, path: str, options: Options) -> Iterator[Chunk]:
    """Chunks of a JSON Lines file.

    Raises:
        ConfigError: no row of the first chunk has the text column, or the file is one JSON document.
    """
    build = Builder(options)
    names: dict[str, None] = {}  # the columns seen while none was the text
    found = False
    for record in jsonl_records(stream, path, options.max_bytes):
        if record.values is None:
            build.bad(record.error, record.message, offset=record.offset, sample=record.sample)
        elif options.text in record.values:
            found = True
            _add(build, record, options.text)
        else:
            if not found:
                names.update(dict.fromkeys(record.values))
            message = f"the row has no column {options.text!r}"
            build.bad("no-text", message, offset=record.offset, sample=record.sample)
        if build.full:
            if not found and names:
                raise missing_text(path, options.text, names)
            found = True
            yield build.take()
    if not found and names:
        raise missing_text(path, options.text, names)
    if not build.empty:
        yield build.take()


def jsonl_records(stream: BinaryIO, path: str, max_bytes: int) -> Iterator[Record]:
    """The objects of a JSON Lines file, and the lines that hold none.

    Raises:
        ConfigError: the file is one JSON document.
    """
    lines = Lines(Source(stream, path), max_bytes)
    begun = False
    for offset, line, size in lines:
        if not line or line.isspace():
            continue
        if not begun:
            _refuse_document(path, line)
            begun = True
        if size > len(line):
            yield Record(offset, size, line, None, "too-large", too_large("line", size, max_bytes))
        else:
            yield _parse(offset, line)
    if lines.damage is not None:
        yield Record(lines.tail_offset, 0, lines.tail, None, lines.damage.error, lines.damage.message)


def _refuse_document(path: str, line: bytes) -> None:
    """Tell a file that holds one JSON document from lines of objects, by its first line."""
    start = line.strip()
    if start.startswith(b"["):
        try:
            values = orjson.loads(start)
        except orjson.JSONDecodeError:
            values = None
        # A list of plain values on one line is a bad line; anything else begins an array of rows.
        if values is None or any(isinstance(value, dict) for value in values):
            raise ConfigError(f"{path}: a JSON array, not JSON lines; convert it with: jq -c '.[]'")
    if start == b"{":
        raise ConfigError(f"{path}: a JSON document over several lines, not JSON lines; convert it with: jq -c .")


def _parse(offset: int, line: bytes) -> Record:
    try:
        value: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            text = line.decode()
        except UnicodeDecodeError as fault:
            message = f"byte {fault.start:,} of the line is not UTF-8; convert the file"
            return Record(offset, len(line), line[max(0, fault.start - 50) :][:SAMPLE], None, "invalid-utf8", message)
        value = _parse_python(text)
        if value is None:
            return Record(offset, len(line), line[:SAMPLE], None, "json", str(error))
    if not isinstance(value, dict):
        return Record(offset, len(line), line[:SAMPLE], None, "not-object", "the line is JSON, but not an object")
    # Counting brackets is cheap and bounds the depth from above.
    if line.count(b"[") + line.count(b"{") > _DEEPEST and _depth(value) > _DEEPEST:
        return Record(offset, len(line), line[:SAMPLE], None, "json", f"values are nested deeper than {_DEEPEST}")
    return Record(offset, len(line), line[:SAMPLE], value)


def _parse_python(text: str) -> object:
    """The value of a line with NaN or Infinity, those as null; None when something else is wrong with it."""
    if "NaN" not in text and "Infinity" not in text:
        return None
    try:
        value: object = orjson.loads(orjson.dumps(json.loads(text)))
    except (ValueError, TypeError, RecursionError):  # orjson's errors are of these kinds
        return None
    return value


def _depth(value: object) -> int:
    deepest = 0
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            stack.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list):
            stack.extend((child, depth + 1) for child in item)
    return deepest


def _add(build: Builder, record: Record, name: str) -> None:
    assert record.values is not None
    text = record.values[name]
    if isinstance(text, str):
        build.row(text, record.values, record.size)
    elif text is None:
        build.bad("null-text", f"column {name!r} is null", offset=record.offset, sample=record.sample)
    else:
        kind = {dict: "an object", list: "a list", bool: "true or false"}.get(type(text), "a number")
        message = f"column {name!r} is {kind}, not text"
        build.bad("text-type", message, offset=record.offset, sample=record.sample)
