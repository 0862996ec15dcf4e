"""The `train` step: fits a small model on datasets; scorers name the step to use its model.

    classifier: {train: {fasttext: {positive: good, negative: poor}}}
    lm:         {train: {ngram: {from: good, order: 5}}}
    scores:     {score: {from: docs, quality: {model: classifier, label: hq}, perplexity: {model: lm}}}

The output folder holds the model and its card; the model's hash enters the digest of whatever uses it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import orjson
from pydantic import Field

from curate import files
from curate.config import BadValue, Model, Path, validate
from curate.dataset import Dataset
from curate.digest import Plain
from curate.errors import nearest
from curate.map_shard import ShardTask
from curate.shards import read_shard
from curate.step import Job, Receipt, Result, StepConfig
from curate.text.batch import TextBatch
from curate.text.normalise import NormaliserName, TextForm, TokeniserName, card_path
from curate.train.fasttext import train_fasttext
from curate.train.ngram import fit_ngram
from curate.train.ngram_counts import count_shard

VERSION = 1
ARPA = "model.arpa"

Sources = str | list[str]


class FastText(Model):
    """A classifier of two classes; see `curate.train.fasttext.train_fasttext` for the arguments."""

    positive: Sources
    negative: Sources
    word_ngrams: int = Field(2, ge=1)
    lr: float = Field(0.1, gt=0)
    dim: int = Field(100, ge=1)
    epoch: int = Field(5, ge=1)
    min_count: int = Field(1, ge=1)
    bucket: int = Field(2_000_000, ge=1)
    held_out: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    labels: list[str] = Field(["hq", "lq"], min_length=2, max_length=2)


class Ngram(Model):
    """A modified Kneser-Ney model.

    Attributes:
        source: the steps whose texts it learns.
        order: the longest n-gram.
        normaliser, tokeniser: how a text becomes words; recorded beside the model.
    """

    source: Sources = Field(alias="from")
    order: int = Field(5, ge=2, le=6)
    normaliser: NormaliserName = "ccnet_spaced"
    tokeniser: TokeniserName = "punct"


METHODS: dict[str, type[FastText] | type[Ngram]] = {"fasttext": FastText, "ngram": Ngram}


class TrainConfig(StepConfig):
    """One method and its arguments."""

    method: FastText | Ngram

    def inputs(self) -> dict[str, str]:
        """The datasets, by the role they play."""
        if isinstance(self.method, Ngram):
            return _roles("from", self.method.source)
        return {**_roles("positive", self.method.positive), **_roles("negative", self.method.negative)}

    def identity(self) -> dict[str, Plain]:
        """The method and its arguments."""
        name = next(name for name, kind in METHODS.items() if isinstance(self.method, kind))
        return {name: self.method.model_dump(mode="json", exclude={"source", "positive", "negative"})}


def _roles(role: str, sources: Sources) -> dict[str, str]:
    names = [sources] if isinstance(sources, str) else sources
    return {f"{role}[{i}]": name for i, name in enumerate(names)}


def parse(value: Plain, path: Path) -> TrainConfig:
    """The config of the step from plain values.

    Raises:
        BadValue: an unknown method or argument.
    """
    if not isinstance(value, dict) or len(value) != 1:
        raise BadValue(path, f"expected one of {', '.join(METHODS)} and its arguments")
    ((name, args),) = value.items()
    if name not in METHODS:
        raise BadValue((*path, name), f"no method {name!r}; {nearest(name, METHODS)}")
    return TrainConfig.model_construct(method=validate(METHODS[name], args, (*path, name)))


def run(job: Job, config: TrainConfig) -> Result:
    """Train, and record the model's hash and card."""
    if isinstance(config.method, Ngram):
        return _ngram(job, config.method)
    return _fasttext(job, config.method)


def _fasttext(job: Job, method: FastText) -> Result:
    def texts(role: str) -> Iterator[str]:
        return (t for name, data in job.inputs.items() if name.startswith(f"{role}[") for t in _texts(data))

    args = method.model_dump(exclude={"positive", "negative", "labels"})
    labels = (method.labels[0], method.labels[1])
    trained = train_fasttext(texts("positive"), texts("negative"), job.folder, labels=labels, **args)
    name = trained.model.rsplit("/", 1)[-1]
    return _result(job, name, cast("dict[str, Plain]", dict(trained.card)), [name, f"{name}.json", f"{name}.md"])


def _ngram(job: Job, method: Ngram) -> Result:
    tasks: list[ShardTask] = []
    for i, data in enumerate(job.inputs.values()):
        tasks += [ShardTask(f"{i:03d}-{shard.name}", shard.rows, data.path(shard)) for shard in data.shards]
    form = TextForm(method.normaliser, method.tokeniser)
    receipts = job.map("count", functools.partial(_Count, job.scratch, method.order, form), tasks)
    counted = [files.join(job.scratch, receipt.task) for receipt in receipts]
    model = files.join(job.folder, ARPA)
    orders = fit_ngram(counted, model)
    card = orjson.loads(files.read_bytes(card_path(model)))
    card["ngrams"] = [len(order.words) for order in orders]
    return _result(job, ARPA, card, [ARPA, card_path(ARPA)])


def _result(job: Job, model: str, card: dict[str, Plain], names: Sequence[str]) -> Result:
    hashes = {name: files.content_hash(files.join(job.folder, name)) for name in names}
    return Result(details={"model": model, "card": card}, files=hashes)


def _texts(data: Dataset) -> Iterator[str]:
    for shard in data.shards:
        yield from _shard_texts(data.path(shard))


def _shard_texts(path: str) -> Iterator[str]:
    for batch in read_shard(path, ["text"]):
        yield from TextBatch(batch.column("text")).strings()


@dataclass(frozen=True)
class _Count:
    scratch: str
    order: int
    form: TextForm

    def __call__(self, task: ShardTask) -> Receipt:
        path = files.join(self.scratch, task.name)
        count_shard(_shard_texts(task.source), path, order=self.order, form=self.form)
        return Receipt(task.name, task.rows)
