"""The `clean` step: edits of the text, each counted.

    cleaned: {clean: {from: docs, c4: {}, pii: {phone: true}}}

The cleaners run in the order given. The output is a dataset of documents again, with the counts as columns. Of
conversations every turn is cleaned, and the counts are those of all turns; not every cleaner is made for that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field

from curate.core import config as configuration
from curate.core.chat.messages import MESSAGES, content_of
from curate.core.config import BadValue, Path
from curate.core.digest import Plain
from curate.core.errors import nearest
from curate.core.map_shard import MapShard, shard_tasks
from curate.core.step import Job, Result, StepConfig
from curate.steps.clean import CLEANERS, OF_TURNS, Cleaner
from curate.text.batch import TextBatch

VERSION = 1


class CleanConfig(StepConfig):
    """What to clean and how."""

    source: str = Field(alias="from")
    cleaners: dict[str, BaseModel]

    def inputs(self) -> dict[str, str]:
        """The documents or conversations."""
        return {"from": self.source}

    def identity(self) -> dict[str, Plain]:
        """The cleaners in order, with their arguments."""
        return {"cleaners": [[name, args.model_dump(mode="json")] for name, args in self.cleaners.items()]}


def parse(value: Plain, path: Path) -> CleanConfig:
    """The config of the step from plain values.

    Raises:
        BadValue: an unknown cleaner or argument.
    """
    if not isinstance(value, dict) or not isinstance(value.get("from"), str):
        raise BadValue(path, "`from` must name the step whose documents are cleaned")
    cleaners: dict[str, BaseModel] = {}
    for name, args in value.items():
        if name == "from":
            continue
        if name not in CLEANERS:
            raise BadValue((*path, name), f"no cleaner {name!r}; {nearest(name, [*CLEANERS, 'from'])}")
        cleaners[name] = configuration.validate(configuration.model_of(CLEANERS[name]), args, (*path, name))
    if not cleaners:
        raise BadValue(path, f"names no cleaner; known: {', '.join(sorted(CLEANERS))}")
    return CleanConfig.model_construct(source=str(value["from"]), cleaners=cleaners)


def run(job: Job, config: CleanConfig) -> Result:
    """Clean every shard.

    Raises:
        BadValue: a cleaner of documents alone, and there are conversations.
    """
    content = content_of(job.inputs["from"].schema().names)
    for name in config.cleaners:
        if content == "messages" and name not in OF_TURNS:
            where: Path = ("steps", job.step.name, job.step.kind, name)
            raise BadValue(where, f"cleans documents, not conversations; of those {', '.join(OF_TURNS)} can be used")
    factories = {name: functools.partial(CLEANERS[name], **dict(args)) for name, args in config.cleaners.items()}
    return Result(
        job.map(
            "",
            functools.partial(_make, factories, content, job.step.name, job.folder),
            shard_tasks(job.inputs["from"]),
        )
    )


def _make(factories: Mapping[str, Callable[[], Cleaner]], content: str, step: str, folder: str) -> MapShard:
    cleaners = {name: factory() for name, factory in factories.items()}
    return MapShard(functools.partial(_CLEAN[content], cleaners), step, folder, None)


def clean_turns(cleaners: Mapping[str, Cleaner], batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the content of every turn edited, and what each cleaner counted in all turns appended."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    messages = columns["messages"].cast(MESSAGES)
    ends = np.cumsum(np.r_[0, pc.fill_null(pc.list_value_length(messages), 0).to_numpy()])
    turns = messages.flatten()
    content = turns.field("content")
    for name, cleaner in cleaners.items():
        texts = TextBatch(content)
        edited, counts = cleaner(texts)
        content = pc.if_else(pa.array(texts.valid), edited, pa.scalar(None, edited.type))
        for suffix, values in counts.items():
            columns[f"{name}_{suffix}" if suffix else name] = pa.array(_sums(values, ends), values.type)
    said = pa.StructArray.from_arrays([turns.field("role"), content], fields=list(MESSAGES.value_type))
    columns["messages"] = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), said, MESSAGES)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _sums(values: pa.Array, ends: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The sum over the turns of each conversation."""
    total = np.cumsum(np.r_[0, values.to_numpy()])
    sums: npt.NDArray[np.int64] = total[ends[1:]] - total[ends[:-1]]
    return sums


def clean_batch(cleaners: Mapping[str, Cleaner], batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its text edited and the counts of every cleaner appended."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name, cleaner in cleaners.items():
        texts = TextBatch(columns["text"])
        edited, counts = cleaner(texts)
        columns["text"] = pc.if_else(pa.array(texts.valid), edited, pa.scalar(None, edited.type))
        columns.update({f"{name}_{suffix}" if suffix else name: values for suffix, values in counts.items()})
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


_CLEAN = {"text": clean_batch, "messages": clean_turns}
