"""CSV and TSV with a header line: quoted fields may hold delimiters and line ends; every column is a string.

    text,label
    "A document, with a comma",1

A row with another number of fields than the header is bad and the rest is read. A quote that is never closed
does not take the rest of the file with it: only its line is bad, and reading goes on with the next line.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from curate.core.errors import ConfigError
from curate.steps.read.chunk import SAMPLE, Builder, Chunk, Options, Record, missing_text
from curate.steps.read.lines import Lines
from curate.steps.read.source import Source

_Line = tuple[int, bytes, int]


def read_csv(stream: BinaryIO, path: str, options: Options) -> Iterator[Chunk]:
    """Chunks of a comma-separated file.

    Raises:
        ConfigError: the header lacks the text column or a wanted one, or names one twice.
    """
    return _read(stream, path, options, ",")


def read_tsv(stream: BinaryIO, path: str, options: Options) -> Iterator[Chunk]:
    """Chunks of a tab-separated file; otherwise like `read_csv`."""
    return _read(stream, path, options, "\t")


def _read(stream: BinaryIO, path: str, options: Options, delimiter: str) -> Iterator[Chunk]:
    header, records = delimited_records(stream, path, options.max_bytes, delimiter)
    if header and options.text not in header:
        raise missing_text(path, options.text, header)
    kept = options.keeps_of(header, path) if header else []
    build = Builder(options, pa.schema([(name, pa.string()) for name in kept]))
    for record in records:
        if record.values is None:
            build.bad(record.error, record.message, offset=record.offset, sample=record.sample)
        else:
            build.row(str(record.values[options.text]), record.values, record.size)
        if build.full:
            yield build.take()
    if not build.empty:
        yield build.take()


def delimited_records(
    stream: BinaryIO, path: str, max_bytes: int, delimiter: str
) -> tuple[list[str], Iterator[Record]]:
    """The columns of a file with a header line, and its rows; no column where the file is empty.

    Raises:
        ConfigError: the header cannot be read, or names a column twice.
    """
    # The limit of the csv module is one for the process; records are bounded here by max_bytes.
    csv.field_size_limit(max(csv.field_size_limit(), 2 * max_bytes))
    lines = Lines(Source(stream, path), max_bytes)
    rows = _Records(lines, delimiter, max_bytes)
    found = iter(rows)
    fields, error, message = next(found, ([], "", ""))
    if error:
        raise ConfigError(f"{path}: the header line cannot be read ({message}); check that it is a CSV or TSV file")
    header = [name.strip() or f"column_{i}" for i, name in enumerate(fields)]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{path}: two columns are called {twice!r}; rename one")
    return header, _records(rows, found, header, lines)


def _records(
    rows: _Records, found: Iterator[tuple[list[str], str, str]], header: list[str], lines: Lines
) -> Iterator[Record]:
    for fields, error, message in found:
        offset, sample, _ = rows.lines[0]
        size = sum(line[2] for line in rows.lines)
        if not error and len(fields) != len(header):
            error, message = "fields", f"the row has {len(fields)} fields, the header {len(header)}; check its quotes"
        values: dict[str, object] | None = None if error else dict(zip(header, fields, strict=True))
        yield Record(offset, size, sample, values, error, message)
    if lines.damage is not None:
        yield Record(lines.tail_offset, 0, lines.tail, None, lines.damage.error, lines.damage.message)


class _Records:
    """Rows as (fields, error, message); `lines` has the lines of the row that was given last."""

    def __init__(self, lines: Lines, delimiter: str, max_bytes: int) -> None:
        self.lines: list[_Line] = []
        self._input = lines
        self._source = iter(lines)
        self._again: deque[_Line] = deque()  # lines that were read for a quote that is never closed
        self._delimiter = delimiter
        self._max = max_bytes
        self._invalid = False
        self._open = False

    def __iter__(self) -> Iterator[tuple[list[str], str, str]]:
        reader = self._reader()
        while True:
            self.lines, self._invalid, self._open = [], False, False
            fields: list[str] = []
            error = message = ""
            try:
                fields = next(reader)
            except StopIteration:
                if not self.lines:
                    return
            except csv.Error as fault:
                error, message = "csv", str(fault)
            if self._open and self._input.damage is not None and len(self._again) == 0:
                # The file was cut within this row, so that it belongs to what the damage took.
                self._input.tail_offset, self._input.tail = self.lines[0][0], self.lines[0][1][:SAMPLE]
                return
            if self._open:
                # The reader stands inside the quote; a fresh one begins with the line after it.
                self._again.extendleft(reversed(self.lines[1:]))
                del self.lines[1:]
                error, message = "unclosed-quote", "a quote opens in this line and is not closed"
                reader = self._reader()
            elif not fields and not error:
                continue  # a blank line
            elif self.lines[0][2] > len(self.lines[0][1]):
                error = "too-large"
                message = f"the line has {self.lines[0][2]:,} bytes, over the limit of {self._max:,}"
            elif self._invalid:
                error, message = "invalid-utf8", "the row is not UTF-8; convert the file"
            yield fields, error, message

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(self._texts(), delimiter=self._delimiter)

    def _texts(self) -> Iterator[str]:
        """Lines for the csv reader, which takes as many as the row's quotes ask for."""
        held = 0
        while True:
            line = self._again.popleft() if self._again else next(self._source, None)
            if line is None:
                # Asked for more in the middle of a row: what is open stays open.
                self._open = bool(self.lines)
                return
            _, data, size = line
            if not self.lines:
                held = 0
            held += size
            if self.lines and held > self._max:
                self._again.appendleft(line)
                self._open = True
                return
            self.lines.append(line)
            if size > len(data):
                yield "too large"  # stands in for a line that is not there
                continue
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self._invalid = True
                text = data.decode(errors="replace")
            yield text + "\n"
