"""The work of a `route` step on one shard: which rows are graded, their features, the chances of all, the columns.

job.map("grades", functools.partial(FindGrades, prompts), tasks)         # prompts says what is read, and where files go
job.map("learn", functools.partial(MakeFeatures, prompts, limit, embed), tasks)
job.map("chance", functools.partial(Predict, prompts, embed), tasks)
job.map("", functools.partial(Write, prompts, threshold, folder), tasks)
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.core import files
from curate.core.chat.messages import MESSAGES, ChatBatch
from curate.core.dataset import Dataset, align
from curate.core.map_shard import ShardTask
from curate.core.shards import ShardWriter
from curate.core.step import Receipt
from curate.models.device import Device
from curate.models.encoder.encoder import load_encoder
from curate.steps.route.crossfit import Bools, Fitted, Floats, id_hashes
from curate.steps.route.model import hashed_features

SCHEMA = pa.schema([("id", pa.string()), ("chance", pa.float64()), ("to", pa.string())])
SMALL, LARGE = "small", "large"
_CONTEXT = 512
_AT_ONCE = 1000
Embed = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True)
class Prompts:
    """Where the prompts and their grades stand.

    Attributes:
        datasets: the prompts, and their attributes.
        content: the column of the first that holds the prompts, `text` or `messages`.
        owner: which of the datasets has the grades.
        grade: their column, a number or a bool.
        at_least: the least grade that is good; None for a bool.
        scratch: the folder for what passes between the maps.
    """

    datasets: tuple[Dataset, ...]
    content: str
    owner: int
    grade: str
    at_least: int | float | None
    scratch: str

    def graded(self, shard: str) -> tuple[pa.Table, Bools, Bools]:
        """Ids of a shard's rows, which of them are graded, and which are good."""
        table, _ = align(self.datasets, shard, {self.owner: [self.grade]})
        grades = table.column(self.grade).combine_chunks()
        known = pc.is_valid(grades)
        if pa.types.is_floating(grades.type):
            known = pc.and_(known, pc.invert(pc.is_nan(grades).fill_null(True)))
        good = grades if pa.types.is_boolean(grades.type) else pc.greater_equal(grades, self.at_least)
        return table, known.to_numpy(zero_copy_only=False), good.fill_null(False).to_numpy(zero_copy_only=False)

    def texts(self, shard: str) -> tuple[pa.Table, int]:
        """Ids and contents of a shard's rows, and how many are left out by their attributes."""
        return align(self.datasets, shard, {0: [self.content]})

    def strings(self, column: pa.ChunkedArray) -> list[str]:
        """What prompts say."""
        if self.content == "text":
            return [text or "" for text in column.to_pylist()]
        return [text for chunk in column.chunks for text in ChatBatch(chunk.cast(MESSAGES)).parts("question")]

    def path(self, shard: str, what: str) -> str:
        """A file of the scratch folder."""
        return files.join(self.scratch, f"{shard}.{what}")


def features_of(encoder: str | None, device: Device) -> Embed:
    """What makes features of prompts; loads the encoder."""
    if encoder is None:
        return hashed_features
    return load_encoder(encoder, context=_CONTEXT, device=device).embed


def load(path: str) -> Mapping[str, np.ndarray]:
    """The arrays that `save` wrote, by name."""
    with np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def save(path: str, **arrays: np.ndarray) -> None:
    """Write arrays to a file of the scratch folder."""
    with files.atomic_output(path) as out:
        np.savez_compressed(out, allow_pickle=False, **arrays)


@dataclass(frozen=True)
class FindGrades:
    """Which rows of a shard are graded: their places, outcomes, and hashes of ids."""

    prompts: Prompts

    def __call__(self, task: ShardTask) -> Receipt:
        """Do one shard."""
        table, known, good = self.prompts.graded(task.name)
        places = np.flatnonzero(known)
        hashes = id_hashes(table.column("id").take(pa.array(places)).to_pylist())
        save(self.prompts.path(task.name, "grades.npz"), places=places, good=good[places], hashes=hashes)
        return Receipt(task.name, task.rows)


class MakeFeatures:
    """The features of the graded rows of a shard that are learnt from."""

    def __init__(self, prompts: Prompts, limit: int, embed: Callable[[], Embed]) -> None:
        self._prompts, self._limit, self._embed = prompts, limit, embed()

    def __call__(self, task: ShardTask) -> Receipt:
        """Do one shard."""
        grades = load(self._prompts.path(task.name, "grades.npz"))
        few = grades["hashes"] <= np.uint64(self._limit)
        table, _ = self._prompts.texts(task.name)
        some = table.take(pa.array(grades["places"][few]))
        features = np.concatenate(list(_blocks(self._prompts, some, self._embed)))
        filled = ~np.isnan(features).any(axis=1)
        found = {name: values[few][filled] for name, values in grades.items()}
        save(self._prompts.path(task.name, "learn.npz"), features=features[filled].astype(np.float32), **found)
        return Receipt(task.name, len(features))


def _blocks(prompts: Prompts, table: pa.Table, embed: Embed) -> Iterator[Floats]:
    """Features of the rows of a table, some at a time and one block at least; NaN for a prompt without a word."""
    for start in range(0, max(1, table.num_rows), _AT_ONCE):
        texts = prompts.strings(table.column(prompts.content).slice(start, _AT_ONCE))
        features = embed(texts)
        features[[not text.strip() for text in texts]] = np.nan
        yield features


class Predict:
    """The chances of all rows of a shard."""

    def __init__(self, prompts: Prompts, embed: Callable[[], Embed]) -> None:
        self._prompts, self._embed, self._fitted = prompts, embed(), Fitted.load(prompts.path("all", "router"))

    def __call__(self, task: ShardTask) -> Receipt:
        """Do one shard."""
        table, _ = self._prompts.texts(task.name)
        chance = np.full(table.num_rows, np.nan)
        start = 0
        for features in _blocks(self._prompts, table, self._embed):
            filled = np.flatnonzero(~np.isnan(features).any(axis=1))
            chance[start + filled] = self._fitted.predict(features[filled])
            start += len(features)
        crossed = load(self._prompts.path(task.name, "crossed.npz"))
        chance[crossed["places"]] = crossed["chance"]
        save(self._prompts.path(task.name, "chance.npz"), chance=chance)
        return Receipt(task.name, task.rows)


@dataclass(frozen=True)
class Write:
    """The columns of all rows of a shard."""

    prompts: Prompts
    threshold: float
    folder: str

    def __call__(self, task: ShardTask) -> Receipt:
        """Do one shard."""
        table, absent = align(self.prompts.datasets, task.name, {})
        chance = load(self.prompts.path(task.name, "chance.npz"))["chance"]
        missing = np.isnan(chance)
        large = missing | (chance < self.threshold)
        columns = [
            table.column("id").combine_chunks().cast(pa.string()),
            pa.array(chance, pa.float64(), mask=missing),
            pa.array(np.where(large, LARGE, SMALL), pa.string()),
        ]
        with ShardWriter(files.join(self.folder, task.name), SCHEMA) as writer:
            writer.write(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
        counts = {"to-large": int(large.sum()), "to-small": int((~large).sum())}
        return Receipt(task.name, task.rows, (writer.shard,), absent=absent, counts=counts)
