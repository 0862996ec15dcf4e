"""Plain text: a file is one document (format `text`), or each of its lines is one (format `lines`).

Line ends become a line feed. Text must be UTF-8. Blank lines are no documents, nor is a file without a byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from curate.steps.read.chunk import Builder, Chunk, Options
from curate.steps.read.lines import BOM, Lines
from curate.steps.read.source import Blocks, Source

NO_COLUMNS = pa.schema([])


def read_text(stream: BinaryIO, path: str, options: Options) -> Iterator[Chunk]:
    """One chunk with the whole file as one document."""
    build = Builder(options, NO_COLUMNS)
    data = whole(Source(stream, path), options, build)
    if data is not None:
        _add(build, 0, data)
    if not build.empty:
        yield build.take()


def read_lines(stream: BinaryIO, path: str, options: Options) -> Iterator[Chunk]:
    """Chunks of a file in which each line is a document."""
    lines = Lines(Source(stream, path), options.max_bytes)
    build = Builder(options, NO_COLUMNS)
    for offset, line, size in lines:
        if not line or line.isspace():
            continue
        if size > len(line):
            build.too_large("line", size, offset=offset, sample=line)
        else:
            _add(build, offset, line.removesuffix(b"\r"))
        if build.full:
            yield build.take()
    if lines.damage is not None:
        build.bad(lines.damage.error, lines.damage.message, offset=lines.tail_offset, sample=lines.tail)
    if not build.empty:
        yield build.take()


def whole(source: Source, options: Options, build: Builder) -> bytes | None:
    """The bytes of a file that is one document, decompressed; None when it is empty or became bad."""
    blocks = Blocks(source)
    parts: list[bytes] = []
    size = 0
    for block in blocks:
        size += len(block)
        parts.append(block)
        if size > options.max_bytes:
            message = f"the file has over {options.max_bytes:,} bytes; raise max_bytes, or read it as lines"
            build.bad("too-large", message, offset=0, sample=parts[0])
            return None
    data = b"".join(parts)
    if blocks.damage is not None:
        build.bad(blocks.damage.error, blocks.damage.message, offset=0, sample=data)
        return None
    return data or None


def _add(build: Builder, offset: int, data: bytes) -> None:
    try:
        text = data.removeprefix(BOM).decode()
    except UnicodeDecodeError as fault:
        sample = data[max(0, fault.start - 50) : fault.start + 150]
        build.bad(
            "invalid-utf8",
            f"byte {fault.start:,} is not UTF-8; convert the file",
            offset=offset,
            sample=sample,
        )
    else:
        build.row(text.replace("\r\n", "\n"), {}, len(data))
