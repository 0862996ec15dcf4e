"""The `score` step: every scorer over every batch, the scores beside the text or the conversations.

    scores: {score: {from: docs, gopher_quality: {}, quality: {model: quality.bin, label: hq}}}

An entry's key names its columns. `scorer:` says which scorer it is when the key does not:

    edu: {scorer: quality, model: edu.bin, label: edu}

`column:` is the string column that it reads, in place of `text`. Of conversations a scorer of texts reads the
turns, all of them (`text`) or those of one side:

    asked: {scorer: language, model: lid.176.ftz, column: question}      # or answer

`preset:` adds the scorers of a recipe, whose
arguments an entry of the same name completes:

    scores: {score: {from: docs, preset: fineweb, language: {model: lid.176.ftz}}}
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, Field

from curate.core import config as configuration
from curate.core import files
from curate.core.chat.messages import MESSAGES, PARTS, ChatBatch
from curate.core.config import BadValue, Path
from curate.core.digest import Plain
from curate.core.errors import RunError, nearest
from curate.core.map_shard import MapShard, shard_tasks
from curate.core.step import Job, Result, StepConfig
from curate.steps.score import CHAT_SCORERS, SCORERS
from curate.steps.score.scorer import Columns, ConversationScorer, Scorer
from curate.text.batch import TextBatch
from curate.text.columns import column as validity
from curate.text.rules.presets import BRINGS, PRESETS

VERSION = 2
TEXT = "text"
TURNS = "messages"
_NAMES = (*SCORERS, *CHAT_SCORERS)
# What a scorer reads by default, where that is not the text.
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
            outside = {configuration.field_of(key) for key in configuration.model_files(entry.args)}
            outside |= configuration.resources(entry.args)
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
        raise BadValue(path, f"names no scorer; known: {', '.join(sorted(_NAMES))}")
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
    if not isinstance(scorer, str) or scorer not in _NAMES:
        raise BadValue(path, f"no scorer {scorer!r}; {nearest(str(scorer), [*_NAMES, 'from', 'preset'])}")
    if not isinstance(column, str | None) or column == "":
        raise BadValue((*path, "column"), "expected the name of a column")
    if scorer in CHAT_SCORERS and column is not None:
        raise BadValue((*path, "column"), f"{scorer} reads the turns of conversations; remove the key")
    model = configuration.model_of(_factory(scorer))
    if fixed is not None and isinstance(args, dict):
        missing = [key for key, each in model.model_fields.items() if each.is_required() and key not in args]
        if missing:
            raise BadValue(path[:-1], f"the preset {preset!r} needs {BRINGS[name]}; add it here")
    reads = TURNS if scorer in CHAT_SCORERS else READS.get(scorer, TEXT)
    return Entry(scorer, configuration.validate(model, args, path), column or reads)


def _factory(scorer: str) -> Callable[..., Scorer | ConversationScorer]:
    return CHAT_SCORERS[scorer] if scorer in CHAT_SCORERS else SCORERS[scorer]


def run(job: Job, config: ScoreConfig) -> Result:
    """Score every shard."""
    factories: dict[str, Callable[[], Scorer | ConversationScorer]] = {}
    for name, entry in config.entries.items():
        models = {key: job.models[f"{name}.{key}"] for key in configuration.model_files(entry.args)}
        args = configuration.with_models(entry.args, models)
        factories[name] = functools.partial(_factory(entry.scorer), **args)
    columns = {name: entry.column for name, entry in config.entries.items()}
    from_turns = _from_turns(job, columns)
    _check_columns(job, {name: column for name, column in columns.items() if column not in from_turns})
    make = functools.partial(_make, factories, columns, from_turns, job.step.name, job.folder)
    return Result(job.map("", make, shard_tasks(job.inputs["from"])))


def _from_turns(job: Job, columns: Mapping[str, str]) -> frozenset[str]:
    """The columns that are not read but made of the turns: none where there are documents.

    Raises:
        BadValue: a scorer of conversations, and there are none.
    """
    data = job.inputs["from"]
    if not data.shards:
        return frozenset()
    with files.open_input(data.path(data.shards[0])) as stream:  # every shard of conversations has their column
        schema = pq.read_schema(stream)
    if _holds_turns(schema):
        # A column called text is the input's own, as documents have it.
        return frozenset({TURNS, *PARTS} - {TEXT}.intersection(schema.names))
    for name, column in columns.items():
        if column == TURNS:
            where: Path = ("steps", job.step.name, job.step.kind, name)
            message = f"step {data.manifest.step} holds documents; read it with `conversations: auto`"
            raise BadValue(where, f"scores conversations, and the {message}")
    return frozenset()


def _holds_turns(schema: pa.Schema) -> bool:
    if TURNS not in schema.names:
        return False
    try:
        pa.array([], schema.field(TURNS).type).cast(MESSAGES)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return False
    return True


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
    factories: Mapping[str, Callable[[], Scorer | ConversationScorer]],
    columns: Mapping[str, str],
    from_turns: frozenset[str],
    step: str,
    folder: str,
) -> MapShard:
    scorers = {name: factory() for name, factory in factories.items()}
    stored = set(columns.values()) - from_turns
    read = [
        "id",
        *([TEXT] if TEXT in stored else []),
        *([TURNS] if from_turns & set(columns.values()) else []),
        "source",
    ]
    return MapShard(
        functools.partial(score_batch, scorers, columns=columns), step, folder, read, sorted(stored - {TEXT})
    )


def score_batch(
    scorers: Mapping[str, Scorer | ConversationScorer],
    batch: pa.RecordBatch,
    columns: Mapping[str, str] | None = None,
) -> pa.RecordBatch:
    """`id` and the columns of every scorer; all are null where the text that is scored is.

    Args:
        scorers: by the name of their entry.
        batch: the documents, or conversations.
        columns: what each scorer reads; `text` where it is not said. Scorers of one column share one `TextBatch`; a
            part of conversations is made of their turns. What reads `messages` is a scorer of conversations.

    Raises:
        RunError: a scorer returned another number of rows.
    """
    out: Columns = {"id": batch.column("id")}
    chats = ChatBatch(batch.column(TURNS).cast(MESSAGES)) if TURNS in batch.schema.names else None
    texts: dict[str, TextBatch] = {}
    for name, scorer in scorers.items():
        column = (columns or {}).get(name, TEXT)
        valid = None
        if column == TURNS:
            found = cast(ConversationScorer, scorer)(cast(ChatBatch, chats))
        else:
            if column not in texts:
                texts[column] = _texts(batch, column, chats)
            valid = texts[column].valid
            found = cast(Scorer, scorer)(texts[column])
        for suffix, values in found.items():
            if len(values) != batch.num_rows:
                raise RunError(f"scorer {name}: returned {len(values)} values for {batch.num_rows} rows")
            if valid is not None and not valid.all():
                values = pc.if_else(validity(valid), values, pa.nulls(1, values.type)[0])
            out[f"{name}_{suffix}" if suffix else name] = values
    return pa.RecordBatch.from_arrays(list(out.values()), names=list(out))


def _texts(batch: pa.RecordBatch, column: str, chats: ChatBatch | None) -> TextBatch:
    """A column of strings, or the part of the conversations that is called so."""
    if column in batch.schema.names or chats is None:
        return TextBatch(batch.column(column))
    part = next(each for each in PARTS if each == column)
    there = chats.column.is_valid().to_pylist()
    return TextBatch.of([text if valid else None for text, valid in zip(chats.parts(part), there, strict=True)])
