"""WARC records, and those that are broken with where they stand and why.

    for record in records(Source(stream, "a.warc.gz"), max_bytes=100_000_000):
        if isinstance(record, Record):
            print(record.headers["warc-type"], len(record.body))

See the WARC 1.1 standard (ISO 28500) for the format. Both line ends, folded headers and several records in a
gzip member are read too, as there are such files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from curate.steps.read.chunk import SAMPLE
from curate.steps.read.members import RECORD, Piece, pieces
from curate.steps.read.source import Damage, Source

_LONGEST_HEADER = 1 << 16
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_NEXT_RECORD = re.compile(rb"\nWARC/\d")


@dataclass(frozen=True)
class Record:
    """A whole record: header names in lower case; `offset` is where its gzip member begins in the file."""

    offset: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Broken:
    """A record that could not be read, with what is known of its headers."""

    offset: int
    error: str
    message: str
    sample: bytes
    headers: dict[str, str] = field(default_factory=dict)


def records(source: Source, max_bytes: int) -> Iterator[Record | Broken]:
    """The records of a WARC file in order; one over `max_bytes` is broken, and skipped without holding it."""
    tape = _Tape(source)
    while tape.next_run():
        yield from _run(tape, max_bytes)


def parse_headers(block: bytes) -> dict[str, str]:
    """Named fields, as in WARC and HTTP: lower-case names, folded lines joined, the first of each name."""
    headers: dict[str, str] = {}
    name = ""
    for line in _decode(block).splitlines():
        if line[:1] in (" ", "\t") and name:
            headers[name] += " " + line.strip()
        else:
            key, colon, value = line.partition(":")
            name = key.strip().lower() if colon else ""
            if name in headers:
                name = ""  # nor is what is folded below it
            elif name:
                headers[name] = value.strip()
    return headers


def _decode(block: bytes) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError:
        return block.decode("latin-1")


class _Tape:
    """The bytes of a run: what lies between two places where a record surely begins."""

    def __init__(self, source: Source) -> None:
        self._pieces = pieces(source)
        self._ahead: Piece | None = next(self._pieces, None)
        self._member = -1
        self._passed = 0  # bytes before `data`
        self.data = bytearray()
        self.damage: Damage | None = None  # set when the run ends in it

    def next_run(self) -> bool:
        """Go to the next run; False at the end of the file."""
        self.data.clear()
        if self._ahead is None:
            return False
        self._member = self._ahead.offset
        self._take(self._ahead)
        return True

    def fill(self) -> bool:
        """Get more of the run; False at its end."""
        if self.damage is not None or self._ahead is None or self._ahead.first:
            return False
        self._take(self._ahead)
        return True

    def _take(self, piece: Piece) -> None:
        self.data += piece.data
        self.damage = piece.damage
        self._ahead = next(self._pieces, None)

    @property
    def offset(self) -> int:
        """Where in the file the run begins, for gzip; where `data` begins, for a plain file."""
        return self._passed if self._member < 0 else self._member

    def has(self, size: int) -> bool:
        """Whether the run has `size` more bytes, which are then in `data`."""
        while len(self.data) < size:
            if not self.fill():
                return False
        return True

    def drop(self, size: int) -> None:
        """Pass bytes, without ever holding more of them than a piece."""
        while size > len(self.data):
            size -= len(self.data)
            self._forget(len(self.data))
            if not self.fill():
                return
        self._forget(size)

    def _forget(self, size: int) -> None:
        del self.data[:size]
        self._passed += size

    def follows(self, place: int) -> bytes:
        """What stands behind `place` and any line ends: as many bytes as b"WARC/", fewer at the run's end."""
        while True:
            begin = _line_ends(self.data, place)
            if len(self.data) - begin >= len(RECORD) or not self.fill():
                return bytes(self.data[begin : begin + len(RECORD)])

    def skip_line_ends(self) -> bool:
        """Pass the line ends between records; False at the end of the run."""
        while True:
            self._forget(_line_ends(self.data, 0))
            if self.data:
                return True
            if not self.fill():
                return False

    def skip_to_record(self) -> None:
        """Pass bytes up to the next line that begins a record, or to the end of the run."""
        while not (found := _NEXT_RECORD.search(self.data)):
            self._forget(max(0, len(self.data) - len(RECORD) - 1))
            if not self.fill():
                self._forget(len(self.data))
                return
        self._forget(found.start() + 1)


def _line_ends(data: bytearray, place: int) -> int:
    while place < len(data) and data[place] in b"\r\n":
        place += 1
    return place


def _run(tape: _Tape, max_bytes: int) -> Iterator[Record | Broken]:
    while tape.skip_line_ends():
        offset = tape.offset
        begins = tape.has(len(RECORD)) and tape.data.startswith(RECORD)
        sample = bytes(tape.data[:SAMPLE])
        end = _header_end(tape) if begins else 0
        headers = parse_headers(bytes(tape.data[:end]))
        length = _content_length(headers)
        if length > max_bytes:
            message = f"the record has {length:,} bytes, over the limit of {max_bytes:,}; raise max_bytes"
            yield Broken(offset, "too-large", message, sample, headers)
            tape.drop(end + length)
            continue
        whole = length >= 0 and tape.has(end + length)
        follows = tape.follows(end + length) if whole else b""
        if whole and (follows == RECORD or (not follows and tape.damage is None)):
            yield Record(offset, headers, bytes(tape.data[end : end + length]))
            tape.drop(end + length)
            continue
        if tape.damage is not None and not _NEXT_RECORD.search(tape.data):
            break  # that is why
        if end:
            stated = headers.get("content-length", "missing")
            message = f"Content-Length is {stated}, and no record ends there"
            yield Broken(offset, "warc-length", message, sample, headers)
        else:
            message = "the record's header has no end" if begins else "no record begins here"
            yield Broken(offset, "warc-header", f"{message}; skipped up to the next record", sample)
        # A length that is too long covers other records, so they are looked for from the header on.
        tape.drop(max(end, 1))
        tape.skip_to_record()
    if tape.damage is not None:
        yield Broken(tape.offset, tape.damage.error, tape.damage.message, bytes(tape.data[:SAMPLE]))


def _content_length(headers: dict[str, str]) -> int:
    """The length that a record says it has, or -1."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def _header_end(tape: _Tape) -> int:
    """Where the body begins, or 0."""
    while True:
        found = _HEADER_END.search(tape.data, 0, _LONGEST_HEADER)
        if found:
            return found.end()
        if len(tape.data) >= _LONGEST_HEADER or not tape.fill():
            return 0
