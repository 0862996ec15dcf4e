from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from curate.steps.read import Bad, Chunk, read_chunks


@dataclass
class Reading:
    """Everything that a file gave."""

    chunks: list[Chunk]

    @property
    def texts(self) -> list[str]:
        return [text for chunk in self.chunks for text in chunk.table.column("text").to_pylist()]

    @property
    def rows(self) -> list[int]:
        return [int(row) for chunk in self.chunks for row in chunk.rows]

    @property
    def bad(self) -> list[Bad]:
        return [bad for chunk in self.chunks for bad in chunk.bad]

    @property
    def errors(self) -> list[tuple[int, str]]:
        return [(bad.row, bad.error) for bad in self.bad]

    def column(self, name: str) -> list[object]:
        return [value for chunk in self.chunks for value in chunk.table.column(name).to_pylist()]


@pytest.fixture
def read() -> Callable[..., Reading]:
    """Reads bytes as the file of a name; checks what holds for every reader."""

    def run(data: bytes, path: str, **options: Any) -> Reading:
        stream = io.BytesIO(data)
        chunks = list(read_chunks(stream, path, **options))
        assert not stream.closed
        for chunk in chunks:
            assert chunk.table.column_names[0] == "text"
            assert chunk.rows.dtype == np.int64 and len(chunk.rows) == chunk.table.num_rows
            assert chunk.table.column("text").null_count == 0
            assert all(len(bad.sample) <= 200 and "\n" not in bad.message for bad in chunk.bad)
        reading = Reading(chunks)
        places = sorted([*reading.rows, *(bad.row for bad in reading.bad)])
        assert len(set(places)) == len(places)
        again = list(read_chunks(io.BytesIO(data), path, **options))
        assert [(c.table, c.rows.tolist(), c.bad) for c in chunks] == [(c.table, c.rows.tolist(), c.bad) for c in again]
        return reading

    return run
