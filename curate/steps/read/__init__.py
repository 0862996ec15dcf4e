"""Readers: one file a format, each gives chunks of rows and says of each record that it could not read why.

    with open_input("pages.warc.gz") as stream:
        for chunk in read_chunks(stream, "pages.warc.gz"):
            print(chunk.table.num_rows, [bad.error for bad in chunk.bad])

Chunks depend on the file and the arguments only. Memory is bounded by `chunk_bytes` and the largest record,
which `max_bytes` bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from curate.core.errors import ConfigError, nearest
from curate.core.table import Table
from curate.steps.read.chats import read_chats
from curate.steps.read.chunk import Bad, Chunk, Options
from curate.steps.read.forms import Conversations

__all__ = ["FORMATS", "READERS", "SUFFIXES", "Bad", "Chunk", "format_of", "read_chunks"]

READERS: Table[Callable[[BinaryIO, str, Options], Iterator[Chunk]]] = Table(
    {
        "csv": "curate.steps.read.delimited:read_csv",
        "html": "curate.steps.read.html:read_html",
        "jsonl": "curate.steps.read.jsonl:read_jsonl",
        "lines": "curate.steps.read.plain:read_lines",
        "parquet": "curate.steps.read.parquet:read_parquet",
        "text": "curate.steps.read.plain:read_text",
        "tsv": "curate.steps.read.delimited:read_tsv",
        "warc": "curate.steps.read.warc:read_warc",
        "wet": "curate.steps.read.wet:read_wet",
    }
)

FORMATS = tuple(READERS)

_ENDINGS = {
    ".csv": "csv",
    ".htm": "html",
    ".html": "html",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tsv": "tsv",
    ".txt": "text",
    ".warc": "warc",
    ".wet": "wet",
}
_PACKED = ("", ".gz", ".zst", ".bz2")

# Every ending of a file name that tells its format.
SUFFIXES = (".parquet", *(suffix + packed for suffix in _ENDINGS for packed in _PACKED))


def format_of(path: str) -> str:
    """The format of a file by the ending of its name, packed or not.

    >>> format_of("CC-MAIN-00000.warc.wet.gz")
    'wet'

    Raises:
        ConfigError: the ending is not known.
    """
    name = path.rpartition("/")[2].lower()
    if name.endswith(".parquet"):
        return "parquet"
    for packed in _PACKED[1:]:
        name = name.removesuffix(packed)
    dot = name.rfind(".")
    suffix = name[dot:] if dot >= 0 else ""
    if suffix == ".wat":
        raise ConfigError(f"{path}: a WAT file has metadata and no text; read the .warc or .wet file beside it")
    if suffix not in _ENDINGS:
        ending = f"the ending {suffix!r} is not known" if suffix else "the name has no ending"
        raise ConfigError(f"{path}: {ending}, so set format to one of {', '.join(FORMATS)}")
    return _ENDINGS[suffix]


def read_chunks(
    stream: BinaryIO,
    path: str,
    *,
    format: str | None = None,
    text: str = "text",
    columns: Sequence[str] | None = None,
    max_bytes: int = 100_000_000,
    chunk_bytes: int = 8_000_000,
    conversations: Conversations | None = None,
) -> Iterator[Chunk]:
    """Read a file in chunks.

    Args:
        stream: the file's bytes, as they are stored; it is left open. Parquet needs to seek in it.
        path: how errors name the file.
        format: a name in `READERS`; None goes by the ending of `path`.
        text: the column that holds the text, where the format has columns.
        columns: the own columns to keep; None keeps all. An own column called `text` beside
            another text column becomes `input_text`.
        max_bytes: a larger record (a line, a row's text, a page, a file of plain text) is bad, and
            skipped without holding it in memory.
        chunk_bytes: about how much text makes a chunk.
        conversations: the form of the conversations that the rows are; None where they are documents.

    Raises:
        ConfigError: the format is not known, or a column is not there.
        RunError: the stream failed.
    """
    format = format_of(path) if format is None else format
    if format not in READERS:
        raise ConfigError(f"{path}: format {format!r} is not known; {nearest(format, FORMATS)}")
    options = Options(text, None if columns is None else tuple(columns), max_bytes, chunk_bytes)
    if conversations is not None:
        return read_chats(stream, path, options, conversations, format)
    return READERS[format](stream, path, options)
