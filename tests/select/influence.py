"""Small tools for the tests of influence: features that are given, and figures of agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.dataset import Dataset, write_manifest
from curate.digest import Plain
from curate.select.store import Details, Kind, Layout, Rows, write_piece
from tests.select.pools import beside

Floats = npt.NDArray[np.float64]


def features(
    folder: Path,
    of: Dataset,
    rows: Rows,
    *,
    step: str,
    weights: Sequence[float] = (1.0,),
    kind: Kind = "float32",
    config: dict[str, Plain] | None = None,
    piece: int = 7,
) -> Dataset:
    """What a `features` step would leave for the rows of a pool of one shard; rows of zeros have no feature."""
    reasons = [None if row.any() else "no-supervised-token" for row in rows]
    dataset = beside(folder, of, {"reason": pa.array(reasons, pa.string())}, step=step)
    layout = Layout(kind, len(weights), rows.shape[2])
    pieces = [(f"part-{at:05d}", rows[at : at + piece]) for at in range(0, len(rows), piece)]
    for name, some in pieces:
        write_piece(str(folder), name, layout, some)
    details = Details(
        kind=kind,
        checkpoints=len(weights),
        width=layout.width,
        weights=list(weights),
        row_bytes=layout.row_bytes,
        pieces=[(name, len(some)) for name, some in pieces],
    )
    return write_manifest(
        str(folder),
        replace(
            dataset.manifest,
            kind="features",
            config=config or {"gradient": {"optimizer": "none"}},
            details={"store": details.model_dump(mode="json")},
        ),
    )


def pearson(x: Floats, y: Floats) -> float:
    """The correlation of two columns."""
    return float(np.corrcoef(x, y)[0, 1])


def spearman(x: Floats, y: Floats) -> float:
    """The correlation of the ranks of two columns without ties."""
    return pearson(np.argsort(np.argsort(x)).astype(float), np.argsort(np.argsort(y)).astype(float))
