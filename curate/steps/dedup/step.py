"""The `dedup` step, exact: rows whose text, or whose turns, have the same hash are copies of the first of them.

    dups: {dedup: {from: docs, exact: {normalised: true}}}

Columns: `keep`, `reason` (`exact-duplicate`), `duplicate_of` (the id of the row that stays), `cluster` (the hash
that a copy shares with the row that stays). The row that stays is the first in the order of shards.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from curate.core import files
from curate.core.chat.messages import ChatBatch, content_of
from curate.core.config import Model, Path, validate
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.map_shard import ShardTask, shard_tasks
from curate.core.shards import ShardWriter, read_shard
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.steps.dedup.normalise import text_hashes, turn_hashes
from curate.text.batch import TextBatch

VERSION = 1

# Rows whose hashes are compared at once, in 24 bytes each: more rows are taken by ranges of the hash.
ROWS_AT_ONCE = 100_000_000

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("keep", pa.bool_()),
        ("reason", pa.string()),
        ("duplicate_of", pa.string()),
        ("cluster", pa.string()),
    ]
)


class Exact(Model):
    """Exact duplicates.

    Attributes:
        normalised: compare texts, and the contents of turns, after NFC, case folding and squeezing of white space.
    """

    normalised: bool = True


class DedupConfig(StepConfig):
    """What to compare and how."""

    source: str = Field(alias="from")
    exact: Exact

    def inputs(self) -> dict[str, str]:
        """The documents or conversations."""
        return {"from": self.source}

    def identity(self) -> dict[str, Plain]:
        """The method and its arguments."""
        return {"exact": self.exact.model_dump(mode="json")}


def parse(value: Plain, path: Path) -> DedupConfig:
    """The config of the step from plain values; `exact:` alone takes the defaults."""
    if isinstance(value, dict) and value.get("exact", 0) is None:
        value = {**value, "exact": {}}
    return validate(DedupConfig, value, path)


def run(job: Job, config: DedupConfig, *, at_once: int = ROWS_AT_ONCE) -> Result:
    """Hash every shard, find the copies, write the columns."""
    documents = job.inputs["from"]
    tasks = shard_tasks(documents)
    content = content_of(documents.schema().names)
    hashed = job.map("hash", functools.partial(_Hash, content, config.exact.normalised, job.scratch), tasks)
    done = {receipt.task for receipt in hashed}
    tasks = [task for task in tasks if task.name in done]
    copies = find_copies(job.scratch, tasks, at_once)
    for number, task in enumerate(tasks):
        _save(files.join(job.scratch, f"{task.name}.copies.npy"), copies[number])
    receipts = job.map(
        "write",
        functools.partial(_Write, documents, tuple(task.name for task in tasks), job.scratch, job.folder),
        tasks,
    )
    return Result(receipts)


def _save(path: str, array: npt.NDArray[np.int64] | npt.NDArray[np.uint64]) -> None:
    with files.atomic_output(path) as out:
        np.save(out, array, allow_pickle=False)


def _load(path: str) -> npt.NDArray[np.uint64]:
    array: npt.NDArray[np.uint64] = np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False)
    return array


@dataclass(frozen=True)
class _Hash:
    content: str
    normalised: bool
    scratch: str

    def __call__(self, task: ShardTask) -> Receipt:
        parts = [self._hashes(batch.column(0)) for batch in read_shard(task.source, [self.content])]
        hashes = np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)
        _save(files.join(self.scratch, f"{task.name}.hashes.npy"), hashes)
        return Receipt(task.name, len(hashes))

    def _hashes(self, column: pa.Array) -> npt.NDArray[np.uint64]:
        if self.content == "messages":
            return turn_hashes(ChatBatch(column), normalised=self.normalised)
        return text_hashes(TextBatch(column), normalised=self.normalised)


def find_copies(scratch: str, tasks: Sequence[ShardTask], at_once: int) -> list[npt.NDArray[np.int64]]:
    """For each shard, its copies as rows (row in the shard, number of the first's shard, its row there)."""
    starts = np.cumsum([0, *(task.rows for task in tasks)])
    passes = int(starts[-1] // at_once) + 1
    found: list[npt.NDArray[np.int64]] = []
    for number in range(passes):
        hashes, places = [], []
        for i, task in enumerate(tasks):
            each = _load(files.join(scratch, f"{task.name}.hashes.npy"))
            inside = np.flatnonzero(each[:, 0] % np.uint64(passes) == number)
            hashes.append(each[inside])
            places.append(inside + starts[i])
        if hashes:
            found.append(_copies(np.concatenate(hashes), np.concatenate(places)))
    pairs = np.concatenate(found) if found else np.empty((0, 2), np.int64)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    shard_of = np.searchsorted(starts, pairs, side="right") - 1
    inside = pairs - starts[shard_of]
    rows = np.stack([inside[:, 0], shard_of[:, 1], inside[:, 1]], axis=1)
    return [rows[shard_of[:, 0] == i] for i in range(len(tasks))]


def _copies(hashes: npt.NDArray[np.uint64], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Pairs (place of a copy, place of the first) among rows with equal hashes."""
    order = np.lexsort((places, hashes[:, 1], hashes[:, 0]))
    hashes, places = hashes[order], places[order]
    same = np.zeros(len(places), np.bool_)
    same[1:] = (hashes[1:] == hashes[:-1]).all(axis=1)
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(places))))
    return np.stack([places[same], places[first[same]]], axis=1)


class _Write:
    def __init__(self, documents: Dataset, shards: Sequence[str], scratch: str, folder: str) -> None:
        self._documents, self._shards, self._scratch, self._folder = documents, shards, scratch, folder

    def __call__(self, task: ShardTask) -> Receipt:
        copies = _load(files.join(self._scratch, f"{task.name}.copies.npy")).astype(np.int64)
        firsts = self._ids(copies[:, 1:])
        ids = _column(self._documents, task.name)
        hashes = _load(files.join(self._scratch, f"{task.name}.hashes.npy"))
        keep = np.ones(len(ids), np.bool_)
        keep[copies[:, 0]] = False
        duplicate_of: list[str | None] = [None] * len(ids)
        cluster: list[str | None] = [None] * len(ids)
        for row, first in zip(copies[:, 0].tolist(), firsts, strict=True):
            duplicate_of[row] = first
            cluster[row] = f"{int(hashes[row, 0]):016x}{int(hashes[row, 1]):016x}"
        with ShardWriter(files.join(self._folder, task.name), SCHEMA) as writer:
            reason = [None if k else "exact-duplicate" for k in keep]
            columns = [
                ids,
                pa.array(keep),
                *(pa.array(c, pa.string()) for c in (reason, duplicate_of, cluster)),
            ]
            writer.write(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
        return Receipt(task.name, len(ids), (writer.shard,), counts={"copies": len(copies)})

    def _ids(self, places: npt.NDArray[np.int64]) -> Sequence[str]:
        """The ids of rows in other shards, each shard read once."""
        result = np.empty(len(places), object)
        for shard in np.unique(places[:, 0]).tolist():
            here = places[:, 0] == shard
            ids = _column(self._documents, self._shards[shard])
            result[here] = ids.take(pa.array(places[here, 1])).to_pylist()
        return result.tolist()


def _column(documents: Dataset, shard: str) -> pa.Array:
    """The ids of a shard."""
    chunks = [batch.column("id") for batch in documents.read(shard, ["id"])]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())
