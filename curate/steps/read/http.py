"""HTTP responses as crawlers store them: status, type, and the body with its encodings undone.

    message = parse_http(record.body, max_bytes=100_000_000)
    message.status, message.mime, message.charset, message.body

Several crawlers store a body unpacked and leave the header that says it is packed, so a body that plainly is
not packed is taken as it is.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

import pyarrow as pa

from curate.steps.read.records import parse_headers

_HEADER_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/[\d.]+ +(\d{3})")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w:.+-]+)", re.IGNORECASE)


class HttpError(ValueError):
    """A message that cannot be read: its kind and a line for a person."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


@dataclass(frozen=True)
class Message:
    """A response; its type has no parameters, and type and character set are empty when there is none."""

    status: int
    mime: str
    charset: str
    body: bytes


def parse_http(data: bytes, max_bytes: int) -> Message:
    """The response in a WARC record's block.

    Raises:
        HttpError: it has no status line, or its body cannot be unpacked or is over `max_bytes` then.
    """
    status = _STATUS.match(data)
    if status is None:
        raise HttpError("http-header", "the response has no status line")
    end = _HEADER_END.search(data)
    head, body = (data[: end.start()], data[end.end() :]) if end else (data, b"")
    headers = parse_headers(head)
    mime, charset = content_type(headers.get("content-type", ""))
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _dechunk(body)
    for coding in reversed(headers.get("content-encoding", "").lower().split(",")):
        body = _unpack(body, coding.strip(), max_bytes)
    return Message(int(status[1]), mime, charset, body)


def content_type(value: str) -> tuple[str, str]:
    """The type, in lower case, and the character set of a Content-Type header.

    >>> content_type('text/HTML; charset="utf-8"')
    ('text/html', 'utf-8')
    """
    charset = _CHARSET.search(value)
    return value.partition(";")[0].strip().lower(), charset[1] if charset else ""


def _dechunk(body: bytes) -> bytes:
    """The chunks of a body put together: what there is when it is cut, the body itself when it has none."""
    parts: list[bytes] = []
    place = 0
    while place < len(body):
        line_end = body.find(b"\n", place)
        size = body[place:line_end].partition(b";")[0].strip() if line_end >= 0 else b""
        try:
            length = int(size, 16)
        except ValueError:
            return b"".join(parts) if parts else body
        if length == 0:
            break
        parts.append(body[line_end + 1 : line_end + 1 + length])
        place = line_end + 1 + length
        place += 2 if body[place : place + 2] == b"\r\n" else 1
    return b"".join(parts)


def _unpack(body: bytes, coding: str, max_bytes: int) -> bytes:
    if coding in ("", "identity", "none") or not body:
        return body
    if coding in ("gzip", "x-gzip"):
        if not body.startswith(b"\x1f\x8b"):
            return body
        return _inflate(body, 31, max_bytes)
    if coding == "deflate":
        # The standard means zlib's wrapper; some servers send the bare data.
        return _inflate(body, 15 if body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0 else -15, max_bytes)
    if coding in ("br", "zstd"):
        if body.lstrip()[:1] == b"<":
            return body
        try:
            with pa.CompressedInputStream(pa.BufferReader(body), {"br": "brotli"}.get(coding, coding)) as stream:
                data: bytes = stream.read(max_bytes + 1)
        except (OSError, pa.ArrowException) as error:
            raise HttpError("content-encoding", f"the body cannot be unpacked ({coding}: {error})") from None
        return _within(data, max_bytes)
    raise HttpError("content-encoding", f"the body has the unknown Content-Encoding {coding!r}")


def _inflate(body: bytes, window: int, max_bytes: int) -> bytes:
    try:
        data = zlib.decompressobj(window).decompress(body, max_bytes + 1)
    except zlib.error as error:
        if body.lstrip()[:1] == b"<":
            return body
        raise HttpError("content-encoding", f"the body cannot be unpacked ({error})") from None
    return _within(data, max_bytes)


def _within(data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise HttpError(
            "too-large",
            f"the unpacked body is over the limit of {max_bytes:,} bytes; raise max_bytes to read it",
        )
    return data
