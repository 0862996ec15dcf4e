"""The `score` step: every scorer over every batch, the scores beside the text.

    scores: {score: {from: docs, gopher_quality: {}, quality: {model: quality.bin, label: hq}}}

An entry's key names its columns. `scorer:` says which scorer it is when the key does not:

    edu: {scorer: quality, model: edu.bin, label: edu}
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field

from curate import config as configuration
from curate.config import BadValue, Path
from curate.digest import Plain
from curate.errors import RunError, nearest
from curate.map_shard import MapShard, shard_tasks
from curate.score import SCORERS
from curate.score.scorer import Columns, Scorer
from curate.step import Job, Result, StepConfig
from curate.text.batch import TextBatch
from curate.text.columns import column

VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One scorer with its arguments."""

    scorer: str
    args: BaseModel


class ScoreConfig(StepConfig):
    """What to score and by what."""

    source: str = Field(alias="from")
    entries: dict[str, Entry]

    def inputs(self) -> dict[str, str]:
        """The documents."""
        return {"from": self.source}

    def models(self) -> dict[str, str]:
        """The model files of all entries."""
        return {
            f"{name}.{key}": value
            for name, entry in self.entries.items()
            for key, value in configuration.model_files(entry.args).items()
        }

    def identity(self) -> dict[str, Plain]:
        """Scorers in order, as the columns are, and their arguments; model files by hash, elsewhere."""
        entries: list[Plain] = []
        for name, entry in self.entries.items():
            args = entry.args.model_dump(mode="json", exclude=set(configuration.model_files(entry.args)))
            entries.append([name, entry.scorer, args])
        return {"scorers": entries}


def parse(value: Plain, path: Path) -> ScoreConfig:
    """The config of the step from plain values.

    Raises:
        BadValue: an unknown scorer or argument.
    """
    if not isinstance(value, dict):
        raise BadValue(path, "expected `from:` and scorers")
    entries: dict[str, Entry] = {}
    for name, raw in value.items():
        if name == "from":
            continue
        args = dict(raw) if isinstance(raw, dict) else raw
        scorer = args.pop("scorer", name) if isinstance(args, dict) else name
        if not isinstance(scorer, str) or scorer not in SCORERS:
            raise BadValue((*path, name), f"no scorer {scorer!r}; {nearest(str(scorer), [*SCORERS, 'from'])}")
        model = configuration.model_of(SCORERS[scorer])
        entries[name] = Entry(scorer, configuration.validate(model, args, (*path, name)))
    if not isinstance(value.get("from"), str):
        raise BadValue(path, "`from` must name the step whose documents are scored")
    if not entries:
        raise BadValue(path, f"names no scorer; known: {', '.join(sorted(SCORERS))}")
    return ScoreConfig.model_construct(source=str(value["from"]), entries=entries)


def run(job: Job, config: ScoreConfig) -> Result:
    """Score every shard."""
    factories: dict[str, Callable[[], Scorer]] = {}
    for name, entry in config.entries.items():
        args = dict(entry.args)
        args.update({key: job.models[f"{name}.{key}"] for key in configuration.model_files(entry.args)})
        factories[name] = functools.partial(SCORERS[entry.scorer], **args)
    make = functools.partial(_make, factories, job.step.name, job.folder)
    return Result(job.map("", make, shard_tasks(job.inputs["from"])))


def _make(factories: Mapping[str, Callable[[], Scorer]], step: str, folder: str) -> MapShard:
    scorers = {name: factory() for name, factory in factories.items()}
    return MapShard(functools.partial(score_batch, scorers), step, folder, ["id", "text", "source"])


def score_batch(scorers: Mapping[str, Scorer], batch: pa.RecordBatch) -> pa.RecordBatch:
    """`id` and the columns of every scorer; all are null where the text is.

    Raises:
        RunError: a scorer returned another number of rows.
    """
    texts = TextBatch(batch.column("text"))
    columns: Columns = {"id": batch.column("id")}
    valid = column(texts.valid)
    for name, scorer in scorers.items():
        for suffix, values in scorer(texts).items():
            if len(values) != batch.num_rows:
                raise RunError(f"scorer {name}: returned {len(values)} values for {batch.num_rows} rows")
            if not texts.valid.all():
                values = pc.if_else(valid, values, pa.nulls(1, values.type)[0])
            columns[f"{name}_{suffix}" if suffix else name] = values
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
