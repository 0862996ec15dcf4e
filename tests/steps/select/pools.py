"""Pools of conversations on disk, for the tests of what selects from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import pyarrow as pa
import zstandard

from curate.core.chat.messages import MESSAGES, Conversation, Turn, to_arrow
from curate.core.dataset import Dataset, Manifest, write_manifest
from curate.core.digest import Plain, digest_of
from curate.core.shards import ShardWriter
from curate.steps.select.store import Details, Kind, Layout, Rows, write_piece


def pool(
    folder: Path,
    conversations: Sequence[Conversation],
    *,
    step: str = "pool",
    shards: int = 1,
    columns: Mapping[str, Sequence[object]] | None = None,
) -> Dataset:
    """A dataset of conversations, as a `read` step leaves it, with ids `00000`, `00001`, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(conversations) // shards)
    written = []
    table = pa.table(
        {
            "id": [f"{i:05d}" for i in range(len(conversations))],
            "messages": to_arrow(conversations).cast(MESSAGES),
            "source": [f"{step}.jsonl#{i}" for i in range(len(conversations))],
            **dict(columns or {}),
        }
    )
    for number in range(shards):
        with ShardWriter(str(folder / f"part-{number:05d}.parquet"), table.schema) as writer:
            for batch in table.slice(number * size, size).combine_chunks().to_batches():
                writer.write(batch)
        written.append(writer.shard)
    return _dataset(folder, step, "read", written, {"seed": [shard.digest for shard in written]})


def beside(folder: Path, of: Dataset, columns: Mapping[str, Sequence[object]], *, step: str = "scores") -> Dataset:
    """A dataset of columns beside a pool of one shard."""
    folder.mkdir(parents=True, exist_ok=True)
    (shard,) = of.shards
    ids = [each for batch in of.read(shard, ["id"]) for each in batch.column("id").to_pylist()]
    with ShardWriter(str(folder / shard.name)) as writer:
        for batch in pa.table({"id": ids, **dict(columns)}).combine_chunks().to_batches():
            writer.write(batch)
    return _dataset(folder, step, "score", [writer.shard], {"seed": writer.shard.digest})


def features(
    folder: Path,
    of: Dataset,
    rows: Rows,
    *,
    step: str,
    weights: Sequence[float] = (1.0,),
    kind: Kind = "float32",
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
            config={"gradient": {"optimizer": "none", "projection": "sparse"}},
            details={"store": details.model_dump(mode="json")},
        ),
    )


def _dataset(folder: Path, step: str, kind: str, shards: Sequence[object], config: dict[str, Plain]) -> Dataset:
    rows = sum(shard.rows for shard in shards)  # type: ignore[attr-defined]
    manifest = Manifest(
        step=step,
        kind=kind,
        version=1,
        digest=digest_of({"step": step, "config": config}),
        config=config,
        inputs={},
        rows_in=rows,
        rows=rows,
        quarantined=0,
        absent=0,
        dropped=0,
        counts={},
        details={},
        shards=tuple(shards),  # type: ignore[arg-type]
    )
    return write_manifest(str(folder), manifest)


def dolly(shared: Path, rows: int) -> list[Conversation]:
    """The first rows of Dolly."""
    return [
        (
            Turn("user", row["instruction"] + ("\n\n" + row["input"] if row["input"] else "")),
            Turn("assistant", row["output"]),
        )
        for row in read_rows(shared / "data" / "instruct_dolly3k.dev.jsonl.zst", rows)
    ]


def flan(shared: Path, task: str, rows: int) -> list[Conversation]:
    """The first rows of a task of FLAN-CoT: `gsm8k`, `ecqa`, `creak`, `sensemaking` or `qasc`."""
    path = shared / "data" / "instruct_flan_cot.dev.jsonl.zst"
    found = [row for row in read_rows(path, 40_000) if row["task"] == task][:rows]
    return [
        (Turn("user", row["question"]), Turn("assistant", f"{row['rationale']}\nThe answer is {row['answer']}."))
        for row in found
    ]


def read_rows(path: Path, rows: int) -> list[dict[str, str]]:
    """The first rows of a file of JSON lines."""
    with zstandard.open(path, "rt", encoding="utf-8") as stream:
        return [orjson.loads(line) for line, _ in zip(stream, range(rows), strict=False)]
