"""Parquet: a row is a document, read by pages in bounded memory.

The file's own types are kept. A file that is cut or is no Parquet at all is one bad record, so that the rest
of a dataset is still read; so is what is left of a row group that is damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.steps.read.chunk import SAMPLE, Bad, Chunk, Options
from curate.steps.read.source import Source
from curate.steps.read.tabular import Documents, Tables

# Bytes before decoding say little where values repeat, so rows are bounded too.
_MOST_ROWS = 16_384


def read_parquet(stream: BinaryIO, path: str, options: Options) -> Iterator[Chunk]:
    """Chunks of a Parquet file; `stream` must be able to seek.

    Raises:
        ConfigError: the text column or a wanted column is missing, or the text column is of another type.
    """
    yield from parquet_chunks(stream, path, options.chunk_bytes, Documents(path, options))


def parquet_chunks(stream: BinaryIO, path: str, chunk_bytes: int, tables: Tables) -> Iterator[Chunk]:
    """Chunks of a Parquet file, as `tables` makes them."""
    source = Source(stream, path)
    try:
        file = pq.ParquetFile(source, pre_buffer=False)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        source.seek(0)
        message = f"the file is cut or not Parquet ({error}); write or fetch it again"
        yield _bad(0, "not-parquet", message, source.read(SAMPLE))
        return
    columns = tables.columns(file.schema_arrow)
    place = 0  # the row that comes next
    for group in range(file.num_row_groups):
        meta = file.metadata.row_group(group)
        end = place + max(0, meta.num_rows)
        rows = max(1, min(_MOST_ROWS, chunk_bytes * meta.num_rows // max(1, meta.total_byte_size)))
        batches = file.iter_batches(batch_size=rows, row_groups=[group], columns=columns, use_threads=False)
        fault = "it has fewer"
        try:
            for batch in batches:
                yield tables.chunk(pa.Table.from_batches([batch]), place)
                place += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            fault = str(error)
        if place < end:
            message = f"rows {place:,} to {end - 1:,} cannot be read: the row group is damaged ({fault})"
            yield _bad(place, "corrupt-parquet", message, b"")
            place = end


def _bad(row: int, error: str, message: str, sample: bytes) -> Chunk:
    table = pa.table({"text": pa.array([], pa.large_string())})
    return Chunk(table, np.zeros(0, dtype=np.int64), (Bad(row, 0, error, " ".join(message.split()), sample),))
