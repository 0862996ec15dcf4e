"""The `score` step: every scorer over every batch, the scores beside the text.

    scores: {score: {from: docs, gopher_quality: {}, quality: {model: quality.bin, label: hq}}}

An entry's key names its columns. `scorer:` says which scorer it is when the key does not:

    edu: {scorer: quality, model: edu.bin, label: edu}

`column:` is the string column that it reads, in place of `text`. `preset:` adds the scorers of a recipe, whose
arguments an entry of the same name completes:

    scores: {score: {from: docs, preset: fineweb, language: {model: lid.176.ftz}}}
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
from curate.recipes import BRINGS, PRESETS
from curate.score import SCORERS
from curate.score.scorer import Columns, Scorer
from curate.step import Job, Result, StepConfig
from curate.text.batch import TextBatch
from curate.text.columns import column as validity

VERSION = 2
TEXT = "text"
# What a scorer reads unless it is told otherwise, where that is not the text.
READS = {"url": "url"}


@dataclass(frozen=True)
class Entry:
    """One scorer with its arguments, and the column that it reads."""

    scorer: str
    args: BaseModel
    column: str = TEXT


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
            outside = configuration.model_files(entry.args).keys() | configuration.resources(entry.args)
            args = entry.args.model_dump(mode="json", exclude=outside)
            entries.append([name, entry.scorer, args, *([entry.column] if entry.column != TEXT else [])])
        return {"scorers": entries}


def parse(value: Plain, path: Path) -> ScoreConfig:
    """The config of the step from plain values.

    Raises:
        BadValue: an unknown scorer or argument.
    """
    if not isinstance(value, dict):
        raise BadValue(path, "expected `from:` and scorers")
    if not isinstance(value.get("from"), str):
        raise BadValue(path, "`from` must name the step whose documents are scored")
    preset = value.get("preset")
    entries = {
        name: _entry(name, raw, str(preset), (*path, name))
        for name, raw in {**_fixed(preset, (*path, "preset")), **value}.items()
        if name not in ("from", "preset")
    }
    if not entries:
        raise BadValue(path, f"names no scorer; known: {', '.join(sorted(SCORERS))}")
    return ScoreConfig.model_construct(source=str(value["from"]), entries=entries)


def _fixed(preset: Plain, path: Path) -> dict[str, Plain]:
    """The entries of a preset, in its order, with the arguments that it fixes."""
    if preset is None:
        return {}
    if not isinstance(preset, str) or preset not in PRESETS:
        raise BadValue(path, f"no preset {preset!r}; {nearest(str(preset), PRESETS)}")
    return {name: dict(args) for name, args in PRESETS[preset].scorers.items()}


def _entry(name: str, raw: Plain, preset: str, path: Path) -> Entry:
    fixed = PRESETS[preset].scorers.get(name) if preset in PRESETS else None
    args: Plain = {**(fixed or {}), **(raw or {})} if isinstance(raw, dict | None) else raw
    scorer: Plain = name
    column: Plain = None
    if isinstance(args, dict):
        scorer, column = args.pop("scorer", name), args.pop("column", None)
    if not isinstance(scorer, str) or scorer not in SCORERS:
        raise BadValue(path, f"no scorer {scorer!r}; {nearest(str(scorer), [*SCORERS, 'from', 'preset'])}")
    if not isinstance(column, str | None) or column == "":
        raise BadValue((*path, "column"), "expected the name of a column")
    model = configuration.model_of(SCORERS[scorer])
    if fixed is not None and isinstance(args, dict):
        missing = [key for key, each in model.model_fields.items() if each.is_required() and key not in args]
        if missing:
            raise BadValue(path[:-1], f"the preset {preset!r} needs {BRINGS[name]}; add it here")
    return Entry(scorer, configuration.validate(model, args, path), column or READS.get(scorer, TEXT))


def run(job: Job, config: ScoreConfig) -> Result:
    """Score every shard."""
    factories: dict[str, Callable[[], Scorer]] = {}
    for name, entry in config.entries.items():
        args = dict(entry.args)
        args.update({key: job.models[f"{name}.{key}"] for key in configuration.model_files(entry.args)})
        factories[name] = functools.partial(SCORERS[entry.scorer], **args)
    columns = {name: entry.column for name, entry in config.entries.items()}
    _check_columns(job, columns)
    make = functools.partial(_make, factories, columns, job.step.name, job.folder)
    return Result(job.map("", make, shard_tasks(job.inputs["from"])))


def _check_columns(job: Job, columns: Mapping[str, str]) -> None:
    """See that every column but the text is there and holds strings, before a shard is read."""
    others = {name: column for name, column in columns.items() if column != TEXT}
    schema = job.inputs["from"].schema() if others else pa.schema([])  # a look at every shard
    for name, column in others.items():
        where: Path = ("steps", job.step.name, job.step.kind, name, "column")
        if column not in schema.names:
            raise BadValue(where, f"the documents have no column {column!r}; {nearest(column, schema.names)}")
        kind = schema.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise BadValue(where, f"the column {column!r} holds {kind}, not strings; name another")


def _make(
    factories: Mapping[str, Callable[[], Scorer]], columns: Mapping[str, str], step: str, folder: str
) -> MapShard:
    scorers = {name: factory() for name, factory in factories.items()}
    others = sorted(set(columns.values()) - {TEXT})
    read = ["id", TEXT, "source"] if TEXT in columns.values() else ["id", "source"]
    return MapShard(functools.partial(score_batch, scorers, columns=columns), step, folder, read, others)


def score_batch(
    scorers: Mapping[str, Scorer], batch: pa.RecordBatch, columns: Mapping[str, str] | None = None
) -> pa.RecordBatch:
    """`id` and the columns of every scorer; all are null where the text is.

    Args:
        scorers: by the name of their entry.
        batch: the documents.
        columns: what each scorer reads; `text` where it is not said. Scorers of one column share one `TextBatch`.

    Raises:
        RunError: a scorer returned another number of rows.
    """
    out: Columns = {"id": batch.column("id")}
    texts: dict[str, TextBatch] = {}
    for name, scorer in scorers.items():
        column = (columns or {}).get(name, TEXT)
        if column not in texts:
            texts[column] = TextBatch(batch.column(column))
        valid = texts[column].valid
        for suffix, values in scorer(texts[column]).items():
            if len(values) != batch.num_rows:
                raise RunError(f"scorer {name}: returned {len(values)} values for {batch.num_rows} rows")
            if not valid.all():
                values = pc.if_else(validity(valid), values, pa.nulls(1, values.type)[0])
            out[f"{name}_{suffix}" if suffix else name] = values
    return pa.RecordBatch.from_arrays(list(out.values()), names=list(out))
