"""The text of a few chosen rows; nothing else of the documents is read.

rows = fetch(documents, {scores.manifest.digest: scores}, places)
rows[places[0]].text
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core import files
from curate.core.chat.messages import ChatBatch
from curate.core.dataset import Dataset
from curate.report.columns import Place

SNIPPET = 300
_TURN, _TURNS = 220, 4  # characters of a turn, and turns of a conversation
# Controls, and marks that turn the direction of what follows: they would disturb the page around them.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True)
class Row:
    """A document or a conversation as it is shown: the text of the one, a line for each turn of the other."""

    id: str
    source: str
    text: str
    more: bool


def snippet(data: bytes, limit: int = SNIPPET) -> tuple[str, bool]:
    """The first characters on one line, with what cannot be seen made visible; whether there is more."""
    text = visible(data[: 8 * limit].decode("utf-8", "replace"))
    return text[:limit], len(text) > limit or len(data) > 8 * limit


def visible(text: str) -> str:
    """A text on one line, with what cannot be seen replaced by a mark."""
    return _UNSEEN.sub("\ufffd", " ".join(text.split()))


def fetch(documents: Dataset, datasets: Mapping[str, Dataset], places: Iterable[Place]) -> dict[Place, Row]:
    """The rows at some places of attribute datasets; a place whose document is not there is left out."""
    by_shard: dict[str, list[Place]] = defaultdict(list)
    for place in dict.fromkeys(places):
        by_shard[place.shard].append(place)
    found: dict[Place, Row] = {}
    known = {shard.name for shard in documents.shards}
    for shard in sorted(known & set(by_shard)):
        wanted: list[tuple[Place, str]] = []
        for digest in sorted({place.dataset for place in by_shard[shard]}):
            ids = _ids(datasets[digest], shard)
            wanted += [(p, ids[p.row].as_py()) for p in by_shard[shard] if p.dataset == digest]
        rows = pc.index_in(
            pa.array([i for _, i in wanted], pa.string()), value_set=_ids(documents, shard).combine_chunks()
        ).to_pylist()
        there = [(place, row) for (place, _), row in zip(wanted, rows, strict=True) if row is not None]
        read = _read_rows(documents.path(shard), sorted({row for _, row in there}))
        found.update((place, read[row]) for place, row in there)
    return found


def by_id(documents: Dataset, ids: Iterable[str]) -> dict[str, Row]:
    """The rows with some ids; one that is not there is left out."""
    wanted = pa.array(sorted(set(ids)), pa.string())
    found: dict[str, Row] = {}
    for shard in documents.shards:
        rows = pc.indices_nonzero(pc.is_in(_ids(documents, shard.name), value_set=wanted)).to_pylist()
        found.update((row.id, row) for row in _read_rows(documents.path(shard), rows).values())
    return found


def _ids(dataset: Dataset, shard: str) -> pa.ChunkedArray:
    return pa.chunked_array([batch.column("id") for batch in dataset.read(shard, ["id"])], pa.string())


def _read_rows(path: str, rows: list[int]) -> dict[int, Row]:
    """Some rows of a shard: only the row groups that hold them are read."""
    found: dict[int, Row] = {}
    with files.open_input(path) as stream:
        reader = pq.ParquetFile(stream, pre_buffer=False)
        ends = np.cumsum([reader.metadata.row_group(i).num_rows for i in range(reader.num_row_groups)])
        groups: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            groups[int(np.searchsorted(ends, row, side="right"))].append(row)
        for group, members in groups.items():
            names = [name for name in ("id", "text", "messages", "source") if name in reader.schema_arrow.names]
            table = reader.read_row_group(group, columns=names, use_threads=False)
            start = int(ends[group]) - table.num_rows
            for row in members:
                source = table.column("source")[row - start].as_py() if "source" in names else ""
                shown = _said(table.slice(row - start, 1))
                found[row] = Row(table.column("id")[row - start].as_py(), source or "", *shown)
    return found


def _said(row: pa.Table) -> tuple[str, bool]:
    """What a document or a conversation says, as much of it as is shown; whether there is more."""
    if "text" in row.column_names:
        text = row.column("text")[0]
        return snippet(text.as_buffer().to_pybytes() if text.is_valid else b"")
    (conversation,) = ChatBatch(row.column("messages").combine_chunks()).conversations
    parts = [(turn.role, *snippet(turn.content.encode("utf-8", "replace"), _TURN)) for turn in conversation[:_TURNS]]
    lines = [f"{visible(role)}: {text}{' …' if more else ''}" for role, text, more in parts]
    return "\n".join(lines), len(conversation) > _TURNS
