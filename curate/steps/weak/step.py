"""The `weak_labels` step: one label from several weak labelers, each trusted as far as it agrees with the others.

    topics:
      weak_labels:
        from: rows
        labels: [HUM, LOC, NUM]
        labelers:
          large: {column: label, from: labelled, confidence: sure}      # rows that a recipe made of these
          words: {keywords: {HUM: [who], LOC: [where], NUM: [how many, when]}}
          small: {model: classifier, at_least: 0.5}                     # `train: {labels: ...}` on real rows
        at_least: 0.8

Columns: `label`, `confidence` (its chance; by majority the part of the votes), `disagreement` (entropy of the votes in
bits), `votes` (labeler, label, confidence), and with `at_least` also `keep` and `reason` (`no-vote`,
`low-confidence`). The details say how accurate each labeler is thought to be; that takes three labelers at least, as
of two nobody can say which one errs. In memory are the ids, and for each row some numbers a labeler and a label.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate.core import files
from curate.core.chat.messages import content_of
from curate.core.config import model_files
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.errors import ConfigError, nearest
from curate.core.map_shard import ShardTask, shard_tasks
from curate.core.shards import ShardWriter, read_shard
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.steps.verify.batch import VerifyBatch
from curate.steps.weak.combine import DECIMALS, Combination, Method, combine, details
from curate.steps.weak.dawid_skene import NONE
from curate.steps.weak.labelers import (
    Classifier,
    Floats,
    Ints,
    Keywords,
    Labeler,
    LabelSet,
    Votes,
    check_columns,
    column_votes,
    joined_votes,
)

VERSION = 1
_VOTES = pa.list_(pa.struct([("labeler", pa.string()), ("label", pa.string()), ("confidence", pa.float64())]))
_COLUMNS = [
    ("id", pa.string()),
    ("label", pa.string()),
    ("confidence", pa.float64()),
    ("disagreement", pa.float64()),
    ("votes", _VOTES),
]
_JUDGED = [("keep", pa.bool_()), ("reason", pa.string())]
LOW, NO_VOTE = "low-confidence", "no-vote"
T = TypeVar("T")


class WeakLabelsConfig(StepConfig):
    """Which labels, who votes, and how the votes are combined.

    Attributes:
        source: the rows.
        labels: the set; what a labeler says besides is no vote.
        labelers: by name, see `Labeler`.
        method: `dawid_skene` finds out how reliable each labeler is; to `majority` all are alike, and of labels with
            as many votes the first of `labels` wins.
        weigh: whether a vote counts for its confidence; in full where it has none.
        at_least: the lowest confidence of a label that is kept; None to judge nothing.
    """

    source: str = Field(alias="from")
    labels: list[str] = Field(min_length=2)
    labelers: dict[str, Labeler] = Field(min_length=1)
    method: Method = "dawid_skene"
    weigh: bool = False
    at_least: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _labels_fit(self) -> WeakLabelsConfig:
        if len(set(self.labels)) != len(self.labels) or any(not each or each.strip() != each for each in self.labels):
            raise ValueError(f"`labels` {self.labels}: expected different names without white space around them")
        for name, labeler in self.labelers.items():
            for label, words in (labeler.keywords or {}).items():
                if label not in self.labels:
                    raise ValueError(f"labeler {name!r}: no label {label!r}; {nearest(label, self.labels)}")
                if any(not word.strip() for word in words):
                    raise ValueError(f"labeler {name!r}: an empty keyword of {label!r}; take it out")
        return self

    def inputs(self) -> dict[str, str]:
        """The rows, and the steps whose columns vote."""
        named = {f"labelers.{name}.from": each.source for name, each in self.labelers.items()}
        return {"from": self.source, **{role: step for role, step in named.items() if step is not None}}

    def models(self) -> dict[str, str]:
        """The classifiers."""
        return {
            f"labelers.{name}.{key}": value
            for name, labeler in self.labelers.items()
            for key, value in model_files(labeler).items()
        }

    def identity(self) -> dict[str, Plain]:
        """Everything but inputs and models; the labelers in order, as their votes are."""
        labelers: list[Plain] = [
            [name, each.model_dump(mode="json", exclude={"source", "model"})] for name, each in self.labelers.items()
        ]
        return {**self.model_dump(mode="json", exclude={"source", "labelers"}), "labelers": labelers}


def run(job: Job, config: WeakLabelsConfig) -> Result:
    """Collect the votes, combine them, and write a verdict for every row.

    Raises:
        ConfigError: a column is missing, or a confidence that is to weigh is not from 0 to 1.
    """
    rows = job.inputs["from"]
    for name, labeler in config.labelers.items():
        if labeler.column is not None:
            data = job.inputs.get(f"labelers.{name}.from", rows)
            _named(name, functools.partial(check_columns, data, labeler))
    tasks = shard_tasks(rows)
    receipts = job.map("vote", functools.partial(_Vote, config, dict(job.models), rows, job.scratch), tasks)
    there = {receipt.task for receipt in receipts}
    tasks = [task for task in tasks if task.name in there]
    ids = [_ids(task) for task in tasks]
    unknown = {name: sum(r.counts.get(name, 0) for r in receipts) for name in config.labelers}
    votes, confidence = _load([_stored(job.scratch, task) for task in tasks], len(config.labelers))
    every = pa.concat_arrays([pa.array([], pa.string()), *ids])
    for j, (name, labeler) in enumerate(config.labelers.items()):
        if labeler.source is not None:
            data = job.inputs[f"labelers.{name}.from"]
            join = functools.partial(joined_votes, data, labeler, LabelSet(config.labels), every)
            found = _named(name, join)
            votes[:, j], confidence[:, j], unknown[name] = found.labels, found.confidence, found.unknown
    combined = combine(votes, confidence, config.labels, [*config.labelers], config.method, weigh=config.weigh)
    starts = np.cumsum([0, *map(len, ids)]).tolist()
    written = [
        _write(files.join(job.folder, task.name), config, each, votes[a:b], confidence[a:b], combined.part(a, b))
        for task, each, a, b in zip(tasks, ids, starts[:-1], starts[1:], strict=True)
    ]
    return Result(written, details(votes, combined, config.labels, [*config.labelers], unknown))


class _Vote:
    """The votes on one shard of the labelers that read the rows themselves."""

    def __init__(self, config: WeakLabelsConfig, models: Mapping[str, str], rows: Dataset, scratch: str) -> None:
        self._config, self._scratch = config, scratch
        self._labels = LabelSet(config.labels)
        own = [each for each in config.labelers.values() if each.source is None]
        self._columns = [c for each in own for c in (each.column, each.confidence) if c is not None]
        if any(each.column is None for each in own):
            self._columns.append(content_of(rows.schema().names))
        self._keywords = {
            name: Keywords(each.keywords, config.labels)
            for name, each in config.labelers.items()
            if each.keywords is not None
        }
        self._classifiers = {
            name: Classifier(models[f"labelers.{name}.model"], each.at_least or 0.0, self._labels)
            for name, each in config.labelers.items()
            if each.model is not None
        }

    def __call__(self, task: ShardTask) -> Receipt:
        parts = [self._votes(batch) for batch in read_shard(task.source, ["id", *self._columns])]
        names = [*self._config.labelers]
        votes = np.stack([np.concatenate([[], *(part[name].labels for part in parts)]) for name in names], 1)
        sure = np.stack([np.concatenate([[], *(part[name].confidence for part in parts)]) for name in names], 1)
        with files.atomic_output(_stored(self._scratch, task)) as out:
            np.save(out, np.stack([votes, sure]), allow_pickle=False)
        unknown = {name: sum(part[name].unknown for part in parts) for name in names}
        return Receipt(task.name, len(votes), counts=unknown)

    def _votes(self, batch: pa.RecordBatch) -> dict[str, Votes]:
        rows = batch.num_rows
        none = Votes(np.full(rows, NONE, np.int64), np.full(rows, np.nan))
        found = dict.fromkeys(self._config.labelers, none)
        if self._keywords or self._classifiers:
            texts = VerifyBatch(batch, {}).texts("text")
            plain = [text or "" for text in texts]
            found.update({name: Votes(each.votes(plain), none.confidence) for name, each in self._keywords.items()})
            found.update({name: each.votes(texts) for name, each in self._classifiers.items()})
        for name, labeler in self._config.labelers.items():
            if labeler.column is not None and labeler.source is None:
                found[name] = column_votes(batch, labeler, self._labels)
        return found


def _write(
    path: str, config: WeakLabelsConfig, ids: pa.Array, votes: Ints, confidence: Floats, combined: Combination
) -> Receipt:
    names, labelers = pa.array(config.labels, pa.string()), pa.array([*config.labelers], pa.string())
    some = combined.labels != NONE
    sure = np.round(combined.confidence, DECIMALS)
    row, who = np.nonzero(votes != NONE)
    each = [
        labelers.take(pa.array(who)),
        names.take(pa.array(votes[row, who])),
        pa.array(confidence[row, who], pa.float64(), from_pandas=True),
    ]
    ends = np.concatenate([[0], np.cumsum((votes != NONE).sum(1))])
    votes = pa.StructArray.from_arrays(each, fields=[*_VOTES.value_type])
    columns = [
        ids,
        names.take(pa.array(combined.labels, mask=~some)),
        pa.array(sure),
        pa.array(np.round(combined.disagreement, DECIMALS)),
        pa.ListArray.from_arrays(pa.array(ends, pa.int32()), votes),
    ]
    counts: dict[str, int] = {}
    schema = pa.schema(_COLUMNS)
    if config.at_least is not None:
        keep = some & (sure >= config.at_least)
        reasons = np.where(some, LOW, NO_VOTE)
        columns += [pa.array(keep), pa.array(reasons, pa.string(), mask=keep)]
        schema = pa.schema([*_COLUMNS, *_JUDGED])
        first = {f"first:{reason}": int((~keep & (reasons == reason)).sum()) for reason in (LOW, NO_VOTE)}
        counts = {**first, "kept": int(keep.sum())}
    with ShardWriter(path, schema) as writer:
        writer.write(pa.RecordBatch.from_arrays(columns, schema=schema))
    return Receipt(writer.shard.name, len(ids), (writer.shard,), counts=counts)


def _named(name: str, find: Callable[[], T]) -> T:
    """Give the errors of a labeler its name."""
    try:
        return find()
    except ConfigError as error:
        raise ConfigError(f"labeler {name!r}: {error}") from None


def _stored(scratch: str, task: ShardTask) -> str:
    return files.join(scratch, f"{task.name}.votes.npy")


def _load(paths: Sequence[str], labelers: int) -> tuple[Ints, Floats]:
    """The votes and confidences of all shards, shape (rows, labelers)."""
    parts = [np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False) for path in paths]
    both = np.concatenate([np.zeros((2, 0, labelers)), *parts], axis=1)
    return both[0].astype(np.int64), both[1].copy()


def _ids(task: ShardTask) -> pa.Array:
    parts = [batch.column("id").cast(pa.string()) for batch in read_shard(task.source, ["id"])]
    return pa.concat_arrays([pa.array([], pa.string()), *parts])
