"""The `route` step: for which prompts the small model will do, learnt from those whose small answer was graded.

    routed: {route: {from: [prompts, graded], good: {column: score, at_least: 4}, share: 0.3}}

Columns: `chance`, that the small model's answer is good, and `to`, `small` or `large`: the `share` of the prompts with
the lowest chances goes to the large model. A prompt without a word has no chance and goes there too. A graded prompt's
chance is that of a router which has not seen it (`cross_fit`), so that what the manifest's details say is true of
prompts that nobody graded. Two `synthesize` steps, with `where: {to: small}` and `where: {to: large}`, do the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.core.config import RESOURCE, BadValue, Model, Path
from curate.core.digest import Plain
from curate.core.errors import nearest
from curate.core.files import ModelFile
from curate.core.map_shard import ShardTask, shard_tasks
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.models.device import Device
from curate.steps.route.crossfit import FOLDS, LEAST, Learnt, Method, auroc_interval, cross_fit, fit
from curate.steps.route.model import threshold_for
from curate.steps.route.work import FindGrades, MakeFeatures, Predict, Prompts, Write, features_of, load, save

VERSION = 2
MOST = 50_000  # that are learnt from: their features are held in memory


class Good(Model):
    """When the small model's answer is good.

    Attributes:
        column: a grade, null where there is none; or whether it is good.
        at_least: the least grade that is good.
    """

    column: str
    at_least: int | float | None = None


class EncoderFeatures(Model):
    """Prompts as an encoder's embeddings.

    Attributes:
        encoder: its folder.
        device: `auto` takes the GPU where there is one.
    """

    encoder: ModelFile
    device: Annotated[Device, RESOURCE] = "auto"


class RouteConfig(StepConfig):
    """What is learnt from which prompts.

    Attributes:
        source: the prompts (`text`, or the questions of `messages`), and datasets beside them.
        good: which of them the small model answered well.
        features: hashed words, or the embeddings of an encoder.
        method: how it is learnt.
        share: of the prompts, to the large model.
    """

    source: str | list[str] = Field(alias="from")
    good: Good
    features: Literal["hashed"] | EncoderFeatures = "hashed"
    method: Method = "logistic"
    share: float = Field(ge=0, le=1)

    def inputs(self) -> dict[str, str]:
        """The prompts and their attributes."""
        names = [self.source] if isinstance(self.source, str) else self.source
        return {f"from[{i}]": name for i, name in enumerate(names)}

    def models(self) -> dict[str, str]:
        """The encoder."""
        return {"features.encoder": self.features.encoder} if isinstance(self.features, EncoderFeatures) else {}

    def identity(self) -> dict[str, Plain]:
        """Everything but the inputs and the encoder, which enters by its content."""
        dumped: dict[str, Plain] = self.model_dump(mode="json", exclude={"source", "features"})
        return {**dumped, "features": "hashed" if self.features == "hashed" else "encoder"}


def run(job: Job, config: RouteConfig) -> Result:
    """Learn from the graded prompts, then route all.

    Raises:
        BadValue: a column is missing or of another type, or too few prompts are graded.
    """
    path: Path = ("steps", job.step.name, job.step.kind)
    prompts = _prompts(job, config, path)
    encoder = job.models.get("features.encoder")
    device = config.features.device if isinstance(config.features, EncoderFeatures) else "cpu"
    embed = functools.partial(features_of, encoder, device)
    tasks = shard_tasks(prompts.datasets[0])
    tasks = _done(tasks, job.map("grades", functools.partial(FindGrades, prompts), tasks))
    limit = _check(prompts, tasks, (*path, "good"))
    tasks = _done(tasks, job.map("learn", functools.partial(MakeFeatures, prompts, limit, embed), tasks))
    details = _learn(prompts, tasks, config)
    tasks = _done(tasks, job.map("chance", functools.partial(Predict, prompts, embed), tasks))
    every = np.concatenate([np.zeros(0), *(load(prompts.path(task.name, "chance.npz"))["chance"] for task in tasks)])
    known = every[~np.isnan(every)]
    threshold = threshold_for(known, share=config.share) if len(known) else 0.0
    sent = int((known < threshold).sum()) + len(every) - len(known)
    receipts = job.map("", functools.partial(Write, prompts, threshold, job.folder), tasks)
    figures: dict[str, Plain] = {
        **details,
        "share": sent / max(1, len(every)),
        "threshold": threshold if np.isfinite(threshold) else None,
        "without_chance": len(every) - len(known),
    }
    return Result(receipts, figures)


def _prompts(job: Job, config: RouteConfig, path: Path) -> Prompts:
    datasets = tuple(job.inputs.values())
    first = datasets[0].schema().names
    if "text" not in first and "messages" not in first:
        raise BadValue((*path, "from"), f"the rows of {datasets[0].manifest.step} have neither `text` nor `messages`")
    schemas = [dataset.schema() for dataset in datasets]
    wanted, where = config.good.column, (*path, "good", "column")
    # Of a column that several have, the last one's is read, as `align` takes it.
    owners = [i for i, schema in enumerate(schemas) if wanted in schema.names]
    if not owners:
        every = [name for schema in schemas for name in schema.names]
        raise BadValue(where, f"no such column in what `from` names; {nearest(wanted, every)}")
    kind = schemas[owners[-1]].field(wanted).type
    if pa.types.is_boolean(kind) == (config.good.at_least is not None):
        message = "is yes or no; leave `at_least` out" if pa.types.is_boolean(kind) else "needs `at_least`, a grade"
        raise BadValue(where, f"{wanted!r} {message}")
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise BadValue(where, f"{wanted!r} holds {kind}; a grade is a number or a bool")
    return Prompts(
        datasets, "text" if "text" in first else "messages", owners[-1], wanted, config.good.at_least, job.scratch
    )


def _done(tasks: Sequence[ShardTask], receipts: Sequence[Receipt]) -> list[ShardTask]:
    """The tasks that did not fail."""
    names = {receipt.task for receipt in receipts}
    return [task for task in tasks if task.name in names]


def _check(prompts: Prompts, tasks: Sequence[ShardTask], path: Path) -> int:
    """The highest hash of an id that is learnt from.

    Raises:
        BadValue: too few prompts are graded.
    """
    found = [load(prompts.path(task.name, "grades.npz")) for task in tasks]
    good = np.concatenate([np.zeros(0, np.bool_), *(each["good"] for each in found)])
    if min(good.sum(), len(good) - good.sum()) < LEAST:
        message = f"{len(good):,} prompts are graded, {int(good.sum()):,} of them good: too few to learn from"
        raise BadValue(
            path, f"{message}; grade more, until {LEAST} are good and {LEAST} are not, or set another `at_least`"
        )
    hashes = np.sort(np.concatenate([each["hashes"] for each in found]))
    return int(hashes[min(MOST, len(hashes)) - 1])


def _learn(prompts: Prompts, tasks: Sequence[ShardTask], config: RouteConfig) -> dict[str, Plain]:
    """Fit, store the router and the chances of the prompts that it learnt from; what the details say of it."""
    found = [load(prompts.path(task.name, "learn.npz")) for task in tasks]
    learnt = Learnt(*(np.concatenate([each[name] for each in found]) for name in ("features", "good", "hashes")))
    hashed = config.features == "hashed"
    chance = cross_fit(learnt, hashed=hashed, method=config.method)
    fit(learnt, hashed=hashed, method=config.method).save(prompts.path("all", "router"))
    start = 0
    for task, each in zip(tasks, found, strict=True):
        size = len(each["places"])
        save(prompts.path(task.name, "crossed.npz"), places=each["places"], chance=chance[start : start + size])
        start += size
    return {
        "graded": sum(len(load(prompts.path(task.name, "grades.npz"))["good"]) for task in tasks),
        "learnt": len(chance),
        "good": float(learnt.good.mean()),
        "auroc": {name: round(value, 6) for name, value in asdict(auroc_interval(chance, learnt.good)).items()},
        "folds": FOLDS,
        "method": config.method,
        "features": "hashed" if hashed else "encoder",
    }
