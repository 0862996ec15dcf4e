"""Small things that several tests build: datasets of given rows, and running one step on them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from curate.core import bits
from curate.core.dataset import Dataset, Manifest, write_manifest
from curate.core.digest import Plain, digest_of
from curate.core.engine import Engine, Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.core.shards import GROUP_ROWS, ShardWriter
from curate.core.step import Job, Result, Step, execute
from curate.models.device import reproducibility

# Of the checkout.
ROOT = Path(__file__).resolve().parents[1]


def dataset(
    folder: Path,
    *shards: Mapping[str, Sequence[object]] | pa.Table,
    kind: str = "read",
    group_rows: int = GROUP_ROWS,
) -> Dataset:
    """A finished dataset with the shards given; `id` and `source` are made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    start = 0
    for i, each in enumerate(shards):
        table = each if isinstance(each, pa.Table) else pa.table(dict(each))
        if "id" not in table.column_names:
            ids = [f"{start + row:032x}" for row in range(table.num_rows)]
            table = table.add_column(0, "id", pa.array(ids, pa.string()))
        start += table.num_rows
        with ShardWriter(str(folder / f"part-{i:05d}.parquet"), table.schema, group_rows=group_rows) as writer:
            for batch in table.to_batches():
                writer.write(batch)
        written.append(writer.shard)
    rows = sum(shard.rows for shard in written)
    manifest = Manifest(
        step=folder.name, kind=kind, version=1, digest=digest_of([s.digest for s in written]), config={}, inputs={},
        rows_in=rows, rows=rows, quarantined=0, absent=0, dropped=0, counts={}, details={}, shards=tuple(written),
    )  # fmt: skip
    return write_manifest(str(folder), manifest)


def run_step(
    root: Path,
    run: Callable[[Job], Result],
    inputs: Mapping[str, Dataset],
    *,
    engine: Engine | None = None,
    resources: Resources | None = None,
    name: str = "step",
    config: Mapping[str, Plain] | None = None,
) -> Dataset:
    """Execute one step under `root`."""
    step = Step(name, "test", 1, config or {}, dict(inputs), {}, run)
    return execute(step, str(root), engine or LocalEngine(), resources or Resources(workers=1), Progress("quiet"))


def rows(data: Dataset, columns: Sequence[str] | None = None) -> list[dict[str, object]]:
    """All rows of a dataset."""
    return [row for shard in data.shards for batch in data.read(shard, columns) for row in batch.to_pylist()]


def tree(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder but the log, the memory of hashes and the lock."""
    skipped = {"events.jsonl", ".fingerprints.json", ".lock"}
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in skipped
    }


def bits_can_be_portable() -> bool:
    """Whether this is an x86-64 with AVX2, and a build of torch with MKL."""
    levels = {"avx2", "avx512f"} & set(bits.processor().split())
    return bool(levels) and reproducibility() is not None
