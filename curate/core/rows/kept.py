"""The shards of conversations, and which of their rows the datasets beside them keep.

shards = find_shards([pool, picks])          # `picks` has a column `keep`
kept_ids(shards[0])                          # ["1f0c...", ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.core.shards import read_shard


@dataclass(frozen=True)
class KeptShard:
    """A shard of conversations, and those of the same rows in the datasets that say which rows to skip.

    Attributes:
        name: of the shard.
        rows: how many it has.
        path: where it lies.
        verdicts: where the others lie; None where one failed, so that nothing of it is kept.
    """

    name: str
    rows: int
    path: str
    verdicts: tuple[str | None, ...]


def find_shards(datasets: Sequence[Dataset]) -> list[KeptShard]:
    """The shards of every dataset of conversations; a dataset with `keep` skips, of the conversations before it, those
    with `keep = false`.

    Raises:
        ConfigError: a dataset is neither, or the first is not of conversations.
    """
    found: list[tuple[Dataset, list[Dataset]]] = []
    for data in datasets:
        names, step = data.schema().names, data.manifest.step
        if "messages" in names:
            found.append((data, []))
        elif "keep" not in names:
            message = "documents, not conversations; read it with `conversations: auto`"
            raise ConfigError(f"step {step}: holds {message if 'text' in names else 'neither `messages` nor `keep`'}")
        elif not found:
            raise ConfigError(f"step {step}: says what to keep of which conversations? name them before it")
        else:
            found[-1][1].append(data)
    return [
        KeptShard(
            shard.name,
            shard.rows,
            data.path(shard),
            tuple(each.path(shard.name) if shard.name in each.names else None for each in verdicts),
        )
        for data, verdicts in found
        for shard in data.shards
    ]


def kept_ids(shard: KeptShard) -> pa.Array:
    """The ids of a shard's rows that every verdict keeps, in order; a row that one lacks is not kept."""
    ids = _column(shard.path, "id", pa.string())
    for path in shard.verdicts:
        if path is None:
            return ids[:0]
        kept = _column(path, "id", pa.string()).filter(pc.fill_null(_column(path, "keep", pa.bool_()), False))
        ids = ids.filter(pc.is_in(ids, value_set=kept))
    return ids


def _column(path: str, name: str, kind: pa.DataType) -> pa.Array:
    parts = [batch.column(name).cast(kind) for batch in read_shard(path, [name])]
    return pa.concat_arrays([pa.array([], kind), *parts])
