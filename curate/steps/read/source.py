"""A stream of bytes, decompressed as it is read, that says how far it could be read.

    blocks = Blocks(Source(stream, "a.jsonl.gz"))
    for block in blocks: ...
    if blocks.damage: ...          # the file is cut or damaged; everything before was given

The first bytes tell the compression (gzip, zstd, bzip2), not the name: a `.gz` that a web server unpacked on
the way is read all the same. A checksum comes last, so that bytes which were given may turn out to be damaged
in part; lines of JSON seldom survive that.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import zstandard

from curate.core.errors import RunError

GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
# After "BZh" and the level: a block, or the end of an empty file.
_BZIP2 = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
_BLOCK = 1 << 18
# Some well-known dumps are packed with `zstd --long=31`; the memory is only taken for files that ask for it.
_ZSTD_WINDOW = 1 << 31


@dataclass(frozen=True)
class Damage:
    """Why a stream ended before its end."""

    error: str
    message: str


class Source:
    """A seekable or plain binary stream with a look ahead, whose failures carry the file's name.

    It never closes the stream, which is the caller's. A failing disk or network must not pass for a damaged
    file, so it raises RunError, which no reader catches.
    """

    closed = False

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self.path = path
        self._stream = stream
        self._head = b""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end, without passing them."""
        while len(self._head) < size and (more := self._read(size - len(self._head))):
            self._head += more
        return self._head[:size]

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, all when negative; none at the end."""
        if not self._head:
            return self._read(size)
        if size < 0:
            data, self._head = self._head + self._read(-1), b""
        else:
            data, self._head = self._head[:size], self._head[size:]
        return data

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except OSError as error:
            raise RunError(f"{self.path}: reading failed ({error}); try again") from error

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, for formats that need it."""
        try:
            place = self._stream.seek(offset - (len(self._head) if whence == 1 else 0), whence)
        except OSError as error:
            raise RunError(f"{self.path}: reading failed ({error}); try again") from error
        self._head = b""
        return place

    def tell(self) -> int:
        """The position."""
        return self._stream.tell() - len(self._head)

    def seekable(self) -> bool:
        """Whether `seek` works."""
        return self._stream.seekable()

    def readable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Never."""
        return False

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do: the stream is the caller's."""


class Blocks:
    """The decompressed bytes of a source, in blocks; `damage` is set when they ended too early."""

    def __init__(self, source: Source) -> None:
        self.damage: Damage | None = None
        head = source.peek(10)
        self.compression = ""
        if head.startswith(GZIP):
            self.compression = "gzip"
            self._parts = _file_parts(gzip.GzipFile(fileobj=cast(BinaryIO, source), mode="rb"))
        elif head.startswith(_ZSTD) or _is_skippable(head):
            self.compression = "zstd"
            self._parts = _zstd_parts(source)
        elif head.startswith(b"BZh") and head[4:].startswith(_BZIP2):
            self.compression = "bzip2"
            self._parts = _file_parts(bz2.BZ2File(cast(BinaryIO, source)))
        else:
            self._parts = iter(lambda: source.read(_BLOCK), b"")

    def __iter__(self) -> Iterator[bytes]:
        held: list[bytes] = []
        size = 0
        try:
            for part in self._parts:
                held.append(part)
                size += len(part)
                if size >= _BLOCK:
                    yield b"".join(held)
                    held, size = [], 0
        except EOFError:
            self.damage = Damage(
                f"truncated-{self.compression}",
                f"the {self.compression} data ends early: the file is cut; fetch it again",
            )
        except (OSError, zlib.error, zstandard.ZstdError) as error:
            self.damage = Damage(
                f"corrupt-{self.compression}",
                f"the {self.compression} data is damaged ({error}); fetch it again",
            )
        if held:
            yield b"".join(held)


def _is_skippable(head: bytes) -> bool:
    return len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50


def _file_parts(file: gzip.GzipFile | bz2.BZ2File) -> Iterator[bytes]:
    # read1 hands over what one step unpacked, so that an error takes no more than that step.
    while part := file.read1(_BLOCK):
        yield part


def _zstd_parts(source: Source) -> Iterator[bytes]:
    """The blocks of all frames.

    Some KB of zstd can unpack to a GB, and zstandard bounds what goes in, not what comes out; so each block,
    which unpacks to 128 KB at most, is fed by itself. RFC 8878, 3.1, has the layout.
    """
    context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    while magic := source.peek(4):
        if _is_skippable(magic):
            rest = int.from_bytes(_exactly(source, 8)[4:], "little")
            while rest:
                rest -= len(_exactly(source, min(rest, _BLOCK)))
            continue
        if magic != _ZSTD[: len(magic)]:
            raise zstandard.ZstdError("a frame should begin")
        if len(magic) < len(_ZSTD) or len(start := source.peek(18)) < 6:
            raise EOFError
        frame = context.decompressobj()
        frame.decompress(_exactly(source, zstandard.frame_header_size(start)))
        last = False
        while not last:
            head = _exactly(source, 3)
            fields = int.from_bytes(head, "little")
            last = bool(fields & 1)
            repeats = fields >> 1 & 3 == 1  # a block of one byte, repeated
            yield frame.decompress(head + _exactly(source, 1 if repeats else fields >> 3))
        if zstandard.get_frame_parameters(start).has_checksum:
            frame.decompress(_exactly(source, 4))


def _exactly(source: Source, size: int) -> bytes:
    parts: list[bytes] = []
    while size and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    if size:
        raise EOFError
    return b"".join(parts)
