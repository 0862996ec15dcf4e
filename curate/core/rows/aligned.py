"""The columns that a step judges by, read side by side from several datasets.

inputs = Inputs([scores, duplicates])
inputs.check("perplexity")
table, reason, absent = inputs.read("part-00000.parquet", ["perplexity"])
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.dataset import Dataset, align
from curate.core.errors import ConfigError, nearest


class Inputs:
    """The input datasets, and where each column is."""

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self.datasets = datasets
        self._where: dict[str, int] = {}
        self._obeyed: list[int] = []
        for i, dataset in enumerate(datasets):
            names = dataset.schema().names
            self._where.update(dict.fromkeys(names, i))
            if "keep" in names:
                self._obeyed.append(i)

    def check(self, column: str, preset: str | None = None) -> None:
        """See that an input has a column, one that `preset` wants where that is given.

        Raises:
            ConfigError: none has, with the nearest name.
        """
        if column not in self._where:
            known = [name for name in self._where if name not in ("id", "text", "messages", "source")]
            remedy = nearest(column, known) if preset is None else f"put `preset: {preset}` into the score step"
            raise ConfigError(f"no column {column!r} in the inputs of the step; {remedy}")

    def read(self, shard: str, columns: Sequence[str]) -> tuple[pa.Table, pa.ChunkedArray, int]:
        """The rows all inputs have with `columns`; the reason a dedup gave (null for none); the absent rows."""
        wanted: dict[int, list[str]] = {}
        for column in columns:
            if column != "id":
                wanted.setdefault(self._where[column], []).append(column)
        table, absent = align(self.datasets, shard, wanted)
        reason = pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
        for i in self._obeyed:
            kept, _ = align([*self.datasets, self.datasets[i]], shard, {len(self.datasets): ["keep", "reason"]})
            verdict = pc.if_else(kept.column("keep"), pa.scalar(None, pa.string()), kept.column("reason"))
            reason = pc.coalesce(reason, verdict)
        return table, reason, absent


def numbers(table: pa.Table, column: str) -> npt.NDArray[np.float64]:
    """A column as numbers, NaN where it is null.

    Raises:
        ConfigError: it holds none.
    """
    try:
        values: npt.NDArray[np.float64] = table.column(column).cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigError(f"the column {column} holds {table.column(column).type}, not numbers; name another") from None
    return values
