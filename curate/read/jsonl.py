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

from curate.errors import ConfigError
from curate.read.chunk import Builder, Chunk, Options, missing_text
from curate.read.lines import Lines
from curate.read.source import Source

# Deeper values can be parsed but not written to Parquet.
_DEEPEST = 100


def read_jsonl(stream: BinaryIO, path: str, options: Options) -> Iterator[Chunk]:
    """Chunks of a JSON Lines file.

    Raises:
        ConfigError: no row of the first chunk has the text column, or the file is one JSON document.
    """
    lines = Lines(Source(stream, path), options.max_bytes)
    build = Builder(options)
    names: dict[str, None] = {}  # the columns seen while none was the text
    found = False
    begun = False
    for offset, line, size in lines:
        if not line or line.isspace():
            continue
        if not begun:
            _refuse_document(path, line)
            begun = True
        if size > len(line):
            build.too_large("line", size, offset=offset, sample=line)
        elif (value := _parse(build, offset, line)) is not None:
            if options.text in value:
                found = True
                _add(build, offset, line, value, options.text)
            else:
                if not found:
                    names.update(dict.fromkeys(value))
                build.bad("no-text", f"the row has no column {options.text!r}", offset=offset, sample=line)
        if build.full:
            if not found and names:
                raise missing_text(path, options.text, names)
            found = True
            yield build.take()
    if not found and names:
        raise missing_text(path, options.text, names)
    if lines.damage is not None:
        build.bad(lines.damage.error, lines.damage.message, offset=lines.tail_offset, sample=lines.tail)
    if not build.empty:
        yield build.take()


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


def _parse(build: Builder, offset: int, line: bytes) -> dict[str, object] | None:
    try:
        value: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            text = line.decode()
        except UnicodeDecodeError as fault:
            message = f"byte {fault.start:,} of the line is not UTF-8; convert the file"
            build.bad("invalid-utf8", message, offset=offset, sample=line[max(0, fault.start - 50) :])
            return None
        value = _parse_python(text)
        if value is None:
            build.bad("json", str(error), offset=offset, sample=line)
            return None
    if not isinstance(value, dict):
        build.bad("not-object", "the line is JSON, but not an object", offset=offset, sample=line)
        return None
    # Counting brackets is cheap and bounds the depth from above.
    if line.count(b"[") + line.count(b"{") > _DEEPEST and _depth(value) > _DEEPEST:
        build.bad("json", f"values are nested deeper than {_DEEPEST}", offset=offset, sample=line)
        return None
    return value


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


def _add(build: Builder, offset: int, line: bytes, value: dict[str, object], name: str) -> None:
    text = value[name]
    if isinstance(text, str):
        build.row(text, value, len(line))
    elif text is None:
        build.bad("null-text", f"column {name!r} is null", offset=offset, sample=line)
    else:
        kind = {dict: "an object", list: "a list", bool: "true or false"}.get(type(text), "a number")
        build.bad("text-type", f"column {name!r} is {kind}, not text", offset=offset, sample=line)
