"""The pieces of a WARC file: its gzip members one by one, past those that are damaged.

    for piece in pieces(Source(stream, "a.warc.gz")): ...

A WARC file packs each record as a gzip member of its own, so that reading can begin at any member. After a
damaged one, reading goes on at the next place that begins a member which unpacks to a record.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from curate.steps.read.chunk import SAMPLE
from curate.steps.read.source import GZIP, Blocks, Damage, Source

RECORD = b"WARC/"

_READ = 1 << 18
_SLICE = 1 << 14  # packed bytes for zlib at once: what a member does not use of them is copied
_STEP = 1 << 20  # most bytes unpacked at once
_HELD = 1 << 23  # a member up to this size is given only when its checksum is right
_KEPT = 1 << 24  # packed bytes kept to look for the next member in, when a long one turns out to be damaged
_PROBE = 4096


@dataclass(frozen=True)
class Piece:
    """Unpacked bytes in order. With `first` a record begins here; with `damage` what should follow is lost.

    `offset` is where the gzip member begins in the file, -1 when the file is not gzip.
    """

    offset: int
    data: bytes
    first: bool
    damage: Damage | None = None


def pieces(source: Source) -> Iterator[Piece]:
    """The pieces of a WARC file, plain or gzip; of one packed with zstd or bzip2 up to the first damage."""
    if source.peek(len(GZIP)) == GZIP:
        yield from _Members(source).read()
        return
    blocks = Blocks(source)
    for i, block in enumerate(blocks):
        yield Piece(-1, block, i == 0)
    if blocks.damage is not None:
        yield Piece(-1, b"", False, blocks.damage)


class _Members:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._window = bytearray()  # packed bytes
        self._base = 0  # where the window begins in the file
        self._at = 0  # the next byte of the window to unpack

    def read(self) -> Iterator[Piece]:
        while self._next_member():
            yield from self._member()

    def _fill(self) -> bool:
        data = self._source.read(_READ)
        self._window += data
        return bool(data)

    def _next_member(self) -> bool:
        """Move to the next byte that is not padding; False at the end of the file."""
        while True:
            while self._at < len(self._window):
                if self._window[self._at]:
                    self._trim(self._at)
                    return True
                self._at += 1
            self._trim(self._at)
            if not self._fill():
                return False

    def _trim(self, keep_from: int) -> None:
        """Forget the window before an index, when that is worth a copy."""
        if keep_from >= _READ or keep_from == len(self._window):
            del self._window[:keep_from]
            self._base += keep_from
            self._at -= keep_from

    def _member(self) -> Iterator[Piece]:
        start = self._base + self._at
        unpack = zlib.decompressobj(31)
        held: list[bytes] = []
        size = 0
        begun = False  # whether a piece of this member was given
        fault = ""
        while not unpack.eof:
            if self._at == len(self._window) and not self._fill():
                break
            packed = bytes(self._window[self._at : self._at + _SLICE])
            try:
                part = unpack.decompress(packed, _STEP)
            except zlib.error as error:
                fault = str(error)
                if not held and not begun:
                    held.append(_beginning(packed, SAMPLE))
                break
            # At the end of the member, zlib may call the same bytes unused and not consumed.
            self._at += len(packed) - len(unpack.unused_data if unpack.eof else unpack.unconsumed_tail)
            held.append(part)
            size += len(part)
            if size > _HELD:
                data = b"".join(held)
                yield Piece(start, data, not begun and data.startswith(RECORD))
                begun, held, size = True, [], 0
                self._trim(max(start - self._base, self._at - _KEPT, 0))
        data = b"".join(held)
        damage = None
        if not unpack.eof:
            damage = self._resync(start, fault)
        if data or damage is not None:
            # What little came of a member that is damaged from the start must not spoil the record before it.
            first = not begun and (data.startswith(RECORD) or damage is not None)
            yield Piece(start, data, first, damage)

    def _resync(self, start: int, fault: str) -> Damage:
        """Move to the next member that holds a record, or to the end, and say what happened."""
        # A damaged member may have been unpacked past its end, so the search begins right behind its start.
        self._at = max(start - self._base + 1, 0)
        while True:
            place = self._window.find(GZIP, self._at)
            if place < 0:
                self._at = max(self._at, len(self._window) - len(GZIP) + 1)
                self._trim(self._at)
                if not self._fill():
                    self._at = len(self._window)
                    break
                continue
            while len(self._window) < place + _PROBE and self._fill():
                pass
            if _begins_record(bytes(self._window[place : place + _PROBE])):
                self._at = place
                return Damage("corrupt-gzip", f"the gzip member is damaged ({fault or 'no end'}); fetch the file again")
            self._at = place + 1
        if fault:
            return Damage("corrupt-gzip", f"the gzip data is damaged to the end of the file ({fault}); fetch it again")
        return Damage("truncated-gzip", "the gzip member ends early: the file is cut; fetch it again")


def _begins_record(packed: bytes) -> bool:
    return _beginning(packed, len(RECORD)) == RECORD


def _beginning(packed: bytes, size: int) -> bytes:
    """The first bytes of a member, as far as they can be unpacked."""
    try:
        return zlib.decompressobj(31).decompress(packed, size)
    except zlib.error:
        return b""
