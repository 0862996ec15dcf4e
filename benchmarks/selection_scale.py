"""Selection in a space of features: seconds against plain NumPy, and seconds and memory as the pool grows.

    python benchmarks/selection.py scale

Vectors are drawn around 500 directions, as embeddings of a mixed pool lie in clusters, and stored as float16. Times
are seconds of one core (of the processor, so that other work on the machine does not count); they begin at the store
on disk and end with the picks, while plain NumPy begins with float32 in memory. Each case has a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from curate.core.dataset import Dataset, Manifest, write_manifest
from curate.core.shards import ShardWriter
from curate.steps.select.filling import Filling
from curate.steps.select.k_center import KCenter
from curate.steps.select.pool import Pool
from curate.steps.select.rds import Rds
from curate.steps.select.store import Details, Layout, write_piece
from curate.warm import warm

PIECE = 1024


def draw(rows: int, width: int, seed: int) -> Iterator[np.ndarray]:
    """Unit vectors in clusters that do not depend on the seed, a piece at a time."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((500, width), np.float32)
    for at in range(0, rows, PIECE):
        some = 0.7 * chance.standard_normal((min(PIECE, rows - at), width), np.float32)
        some += centres[chance.integers(0, 500, len(some))]
        yield some / np.linalg.norm(some, axis=1, keepdims=True)


def dataset(folder: Path, kind: str, rows: int, width: int, seed: int) -> Dataset:
    """Ids with their vectors, and a column of messages that nobody reads."""
    folder.mkdir(parents=True)
    layout = Layout("float16", 1, width)
    pieces = []
    for i, some in enumerate(draw(rows, width, seed)):
        write_piece(str(folder), f"part-{i:05d}", layout, some[:, None, :])
        pieces.append((f"part-{i:05d}", len(some)))
    table = pa.table(
        {
            "id": [f"{i:08d}" for i in range(rows)],
            "reason": pa.nulls(rows, pa.string()),
            "messages": pa.nulls(rows),
        }
    )
    with ShardWriter(str(folder / "part-00000.parquet"), table.schema) as writer:
        for batch in table.to_batches():
            writer.write(batch)
    store = Details(
        kind="float16", checkpoints=1, width=layout.width, weights=[1.0], row_bytes=layout.row_bytes, pieces=pieces
    )
    manifest = Manifest(
        step=folder.name,
        kind=kind,
        version=1,
        digest=folder.name,
        config={"embedding": {}},
        inputs={},
        rows_in=rows,
        rows=rows,
        quarantined=0,
        absent=0,
        dropped=0,
        counts={},
        details={"store": store.model_dump(mode="json")},
        shards=(writer.shard,),
    )
    return write_manifest(str(folder), manifest)


def plain_k_center(vectors: np.ndarray, budget: int) -> list[int]:
    """The distance of every row to every centre, one centre at a time."""
    squares = np.einsum("nd,nd->n", vectors, vectors)
    near = np.full(len(vectors), np.inf, np.float32)
    picks = [0]
    while len(picks) < budget:
        here = picks[-1]
        np.minimum(near, squares - 2 * (vectors @ vectors[here]) + squares[here], out=near)
        near[here] = -1
        picks.append(int(near.argmax()))
    return picks


def plain_rds(vectors: np.ndarray, examples: np.ndarray, budget: int) -> list[int]:
    """All cosines, every example's rows sorted, and turns."""
    orders = np.argsort(-(vectors @ examples.T), axis=0, kind="stable")
    at = [0] * len(examples)
    taken: dict[int, None] = {}
    while True:
        for example in range(len(examples)):
            while int(orders[at[example], example]) in taken:
                at[example] += 1
            taken[int(orders[at[example], example])] = None
            if len(taken) == budget:
                return list(taken)


def measure(selector: str, rows: int, width: int, budget: int, examples: int, repeats: int, plain: bool) -> dict:
    """The best time of ours and of plain NumPy, in turns, and how many picks are the same."""
    warm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = {"features": dataset(folder / "features", "features", rows, width, 1)}
        inputs["targets[0]"] = inputs["target_features[0]"] = dataset(
            folder / "targets", "features", examples, width, 2
        )
        if plain:
            vectors, wanted = (
                np.concatenate(list(draw(count, width, seed))) for count, seed in ((rows, 1), (examples, 2))
            )
        ours, theirs, same = [], [], None
        for turn in range(repeats):
            job = SimpleNamespace(
                inputs=inputs, scratch=str(folder / f"scratch{turn}"), step=SimpleNamespace(name="picks")
            )
            pool = Pool.of([inputs["features"]])
            filling = Filling.of(budget, pool)
            begun = time.process_time()
            if selector == "k_center":
                KCenter(features="f", first="00000000").select(job, pool, filling)
            else:
                Rds(features="f", targets="t", target_features="tf").select(job, pool, filling)
            ours.append(time.process_time() - begun)
            if plain:
                begun = time.process_time()
                found = (
                    plain_k_center(vectors, budget) if selector == "k_center" else plain_rds(vectors, wanted, budget)
                )
                theirs.append(time.process_time() - begun)
                same = len(set(found) & set(filling.taken)) / budget
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"ours": min(ours), "plain": min(theirs, default=None), "same": same, "peak": peak}


def case(selector: str, rows: int, width: int, budget: int, examples: int, repeats: int, plain: bool) -> None:
    """One line of the table, measured in a process of its own."""
    arguments = [selector, rows, width, budget, examples, repeats, plain]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    line = f"{selector:9} {rows:>9,} {width:>5} {budget:>7,} {found['ours']:>8.2f} s {found['peak'] // 1024:>6,} MB"
    if plain:
        line += f" {found['plain']:>8.2f} s {found['plain'] / found['ours']:>6.1f}x {found['same']:>7.1%}"
    print(line, flush=True)


def scale(_: Path) -> None:
    """The tables; no test data is needed."""
    print(f"load {os.getloadavg()[0]:.1f} at the start, {os.cpu_count()} cores, one thread\n")
    titles = ("rows", "width", "budget", "seconds", "peak", "NumPy", "ratio", "same")
    print(" " * 9, *(f"{title:>{size}}" for title, size in zip(titles, (9, 5, 7, 10, 9, 10, 7, 7), strict=True)))
    case("k_center", 100_000, 384, 2_000, 1, 2, True)
    case("rds", 100_000, 384, 5_000, 200, 2, True)
    print("\ngrowth, width 64, 1% of the rows (k_center: 1,000), 100 examples")
    for rows in (10_000, 100_000, 1_000_000):
        case("k_center", rows, 64, 1_000, 1, 1, False)
        case("rds", rows, 64, rows // 100, 100, 1, False)


if __name__ == "__main__":
    print(json.dumps(measure(*json.loads(sys.argv[1]))))
