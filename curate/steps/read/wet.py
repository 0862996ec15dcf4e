"""WET: the text of crawled pages as Common Crawl extracted it, a conversion record each.

Own columns: `url`, `date`, `warc_record_id`, `language` (as the crawl identified it, such as `deu,eng`; null
if not). Every conversion is counted, as a row or as bad. The file's own description holds no document and is
passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from curate.steps.read.chunk import Builder, Chunk, Options
from curate.steps.read.records import Broken, Record, records
from curate.steps.read.source import Source
from curate.steps.read.warc import is_document, url_of

_SCHEMA = pa.schema([(name, pa.string()) for name in ("url", "date", "warc_record_id", "language")])


def read_wet(stream: BinaryIO, path: str, options: Options) -> Iterator[Chunk]:
    """Chunks of a WET file, plain or with a gzip member a record.

    Raises:
        ConfigError: a wanted column is not one of those above.
    """
    names = options.keeps_of(_SCHEMA.names, path)
    build = Builder(options, pa.schema([_SCHEMA.field(name) for name in names]))
    for record in records(Source(stream, path), options.max_bytes):
        if is_document(record, ("conversion",)):
            _add(build, record)
        if build.full:
            yield build.take()
    if not build.empty:
        yield build.take()


def _add(build: Builder, record: Record | Broken) -> None:
    if isinstance(record, Broken):
        build.bad(record.error, record.message, offset=record.offset, sample=record.sample)
        return
    url = url_of(record)
    try:
        text = record.body.decode()
    except UnicodeDecodeError as fault:
        sample = record.body[max(0, fault.start - 50) : fault.start + 150]
        build.bad(
            "invalid-utf8",
            f"{url}: byte {fault.start:,} of the text is not UTF-8",
            offset=record.offset,
            sample=sample,
        )
        return
    if not text.strip():
        build.bad("empty-text", f"{url}: the record has no text", offset=record.offset, sample=record.body)
        return
    own = {
        "url": url,
        "date": record.headers.get("warc-date"),
        "warc_record_id": record.headers.get("warc-record-id", "").strip("<>"),
        "language": record.headers.get("warc-identified-content-language"),
    }
    build.row(text, own, len(record.body))
