"""WARC: the pages of a crawl. A response, resource or conversion with a page or plain text is a document.

Own columns: `url`, `date`, `content_type`, `warc_record_id`, `status` (null where there is no HTTP).
Every response, resource and conversion is counted, as a row or as bad with a reason: `http-status` (not 2xx),
`not-text` (an image, say), `empty-text`, `content-encoding` and so on. Requests, metadata, revisits and the
file's own description hold no document and are passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
from resiliparse.parse.encoding import detect_mime

from curate.steps.read.chunk import Builder, Chunk, Options
from curate.steps.read.html import HtmlError, decode, page_text
from curate.steps.read.http import HttpError, Message, content_type, parse_http
from curate.steps.read.records import Broken, Record, records
from curate.steps.read.source import Source

_SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("date", pa.string()),
        ("content_type", pa.string()),
        ("warc_record_id", pa.string()),
        ("status", pa.int32()),
    ]
)
_DOCUMENTS = ("response", "resource", "conversion")
_PAGES = ("text/html", "application/xhtml+xml")


class _Reject(Exception):
    """Why a record is no document: the kind, and a line for a person."""


def read_warc(stream: BinaryIO, path: str, options: Options) -> Iterator[Chunk]:
    """Chunks of a WARC file, plain or with a gzip member a record.

    Raises:
        ConfigError: a wanted column is not one of those above.
    """
    names = options.keeps_of(_SCHEMA.names, path)
    build = Builder(options, pa.schema([_SCHEMA.field(name) for name in names]))
    for record in records(Source(stream, path), options.max_bytes):
        if is_document(record, _DOCUMENTS):
            _add(build, record, options)
        if build.full:
            yield build.take()
    if not build.empty:
        yield build.take()


def is_document(record: Record | Broken, kinds: tuple[str, ...]) -> bool:
    """Whether a record counts: it is of one of the kinds, or so broken that its kind is not known."""
    kind = record.headers.get("warc-type", "").lower()
    if not kind and isinstance(record, Broken):
        return True
    # Some crawlers keep their own log as a resource.
    return kind in kinds and not url_of(record).startswith("metadata:")


def url_of(record: Record | Broken) -> str:
    """The address, which some crawlers put in angle brackets."""
    return record.headers.get("warc-target-uri", "").strip("<>")


def _add(build: Builder, record: Record | Broken, options: Options) -> None:
    if isinstance(record, Broken):
        build.bad(record.error, record.message, offset=record.offset, sample=record.sample)
        return
    url = url_of(record)
    try:
        message = _message(record, options.max_bytes)
        text = _text(message)
    except _Reject as reject:
        error, reason = reject.args
        build.bad(error, f"{url}: {reason}", offset=record.offset, sample=record.body)
        return
    own = {
        "url": url,
        "date": record.headers.get("warc-date"),
        "content_type": message.mime,
        "warc_record_id": record.headers.get("warc-record-id", "").strip("<>"),
        "status": message.status or None,
    }
    build.row(text, own, len(text))


def _message(record: Record, max_bytes: int) -> Message:
    """The HTTP response in a record, or its bare content."""
    mime, charset = content_type(record.headers.get("content-type", ""))
    if mime != "application/http":
        return Message(0, mime, charset, record.body)
    try:
        message = parse_http(record.body, max_bytes)
    except HttpError as error:
        raise _Reject(error.error, str(error)) from None
    if not 200 <= message.status < 300:
        raise _Reject("http-status", f"HTTP status {message.status}")
    if not message.mime:
        known = record.headers.get("warc-identified-payload-type", "") or _guess(message.body)
        return Message(message.status, content_type(known)[0], message.charset, message.body)
    return message


def _guess(body: bytes) -> str:
    """The type of a body that came without one."""
    begin = body[:1024].lower()
    if b"<html" in begin or b"<!doctype html" in begin:
        return "text/html"
    return detect_mime(body)


def _text(message: Message) -> str:
    if message.mime in _PAGES:
        try:
            text = page_text(message.body, message.charset)
        except HtmlError as error:
            raise _Reject("html", str(error)) from None
    elif message.mime == "text/plain":
        text = decode(message.body, message.charset, html=False).replace("\r\n", "\n").strip()
    else:
        raise _Reject("not-text", f"the content is {message.mime or 'of no known type'}, not a page or plain text")
    if not text:
        raise _Reject("empty-text", "the page has no text")
    return text
