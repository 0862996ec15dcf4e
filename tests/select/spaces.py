"""Features on disk beside a pool, for the tests of what selects by them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.chat.messages import Conversation, Turn
from curate.dataset import Dataset, Manifest, write_manifest
from curate.digest import digest_of
from curate.engine import Engine, Resources
from curate.engine.local import LocalEngine
from curate.progress import Progress
from curate.select.features import VERSION, parse, run
from curate.select.store import Details, Kind, Layout, write_piece
from curate.shards import ShardWriter
from curate.step import Step, execute

Array = npt.NDArray[np.float32]
# No process is started, which takes longer than what these tests do.
ALONE = Resources(workers=1)


def talks(rows: int) -> list[Conversation]:
    """Conversations of no interest."""
    return [(Turn("user", f"Question {i}?"), Turn("assistant", "Yes.")) for i in range(rows)]


def features(
    folder: Path,
    of: Dataset,
    vectors: Array,
    *,
    reasons: Sequence[str | None] | None = None,
    weights: Sequence[float] = (1.0,),
    kind: Kind = "float32",
    step: str = "vectors",
) -> Dataset:
    """The vectors (rows, width) or (rows, checkpoints, width) as a `features` step would leave them, a piece a shard."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = vectors.reshape(len(vectors), len(weights), -1).astype(np.float32)
    layout = Layout(kind, len(weights), rows.shape[2])
    whys = list(reasons or [None] * len(rows))
    rows[[i for i, why in enumerate(whys) if why]] = 0
    shards, hashes, pieces, at = [], {}, [], 0
    for shard in of.shards:
        stem = shard.name.removesuffix(".parquet")
        ids = [each for batch in of.read(shard, ["id"]) for each in batch.column("id").to_pylist()]
        here = slice(at, at + len(ids))
        side = pa.table({"id": pa.array(ids, pa.string()), "reason": pa.array(whys[here], pa.string())})
        with ShardWriter(str(folder / shard.name), side.schema) as writer:
            for batch in side.to_batches():
                writer.write(batch)
        if ids:
            hashes |= write_piece(str(folder), stem, layout, rows[here])
        shards.append(writer.shard)
        pieces.append((stem, len(ids)))
        at += len(ids)
    details = Details(
        kind=kind,
        checkpoints=layout.checkpoints,
        width=layout.width,
        weights=list(weights),
        row_bytes=layout.row_bytes,
        pieces=pieces,
    )
    manifest = Manifest(
        step=step,
        kind="features",
        version=1,
        digest=digest_of({"step": step, "shards": [shard.digest for shard in shards], **hashes}),
        config={"embedding": {"part": "text"}},
        inputs={},
        rows_in=at,
        rows=at,
        quarantined=0,
        absent=0,
        dropped=0,
        counts={},
        details={"store": details.model_dump(mode="json")},
        shards=tuple(shards),
        files=hashes,
    )
    return write_manifest(str(folder), manifest)


def computed(
    root: Path,
    of: Dataset,
    *,
    engine: Engine | None = None,
    resources: Resources | None = None,
    step: str = "vectors",
    **feature: dict[str, object],
) -> Dataset:
    """The output of a `features` step: `computed(tmp_path, docs, embedding={"model": folder})`."""
    parsed = parse({"from": of.manifest.step, **feature}, ("steps", step, "features"))
    config = parsed.identity()
    made = Step(step, "features", VERSION, config, {"from": of}, parsed.models(), lambda job: run(job, parsed))
    return execute(made, str(root), engine or LocalEngine(), resources or Resources(), Progress("quiet"))


def random_vectors(seed: int, rows: int, width: int, *, different: int | None = None) -> Array:
    """Normal vectors; of only `different` ones many are there several times."""
    chance = np.random.default_rng(seed)
    base = chance.standard_normal((different or rows, width)).astype(np.float32)
    return base[chance.integers(0, different, rows)] if different else base


def unit(vectors: Array) -> npt.NDArray[np.float64]:
    long = vectors.astype(np.float64)
    found: npt.NDArray[np.float64] = long / np.linalg.norm(long, axis=1, keepdims=True)
    return found
