"""The method `embedding` of the `train` step: texts are embedded shard by shard, then one head is fitted."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import orjson
import pyarrow as pa
from pydantic import Field

from curate.core import files
from curate.core.chat.messages import content_of
from curate.core.config import RESOURCE
from curate.core.dataset import Dataset, align
from curate.core.errors import ConfigError, nearest
from curate.core.files import ModelFile
from curate.core.shards import ShardWriter, read_shard
from curate.core.step import Job, Receipt, Result
from curate.models.device import Device
from curate.models.encoder.encoder import load_encoder
from curate.models.encoder.fit_head import CARD, MODEL, Embedded, Labelled, embed_rows, fit_embedding
from curate.models.encoder.head import Settings
from curate.steps.train.method import Method, result, roles, text_batch


class Embedding(Method):
    """An encoder with a head; see `train_embedding` for what the fields mean.

    Attributes:
        source: the step whose texts it learns.
        labels: a step with the labels of the same rows; by default the texts' own dataset.
        label: the column of the labels.
        encoder: the folder of the encoder, or a step that trains a language model.
    """

    source: str = Field(alias="from")
    labels: str | None = None
    label: str
    encoder: ModelFile
    lowest: int = 0
    highest: int = 5
    threshold: int = 3
    context: int = Field(512, ge=1)
    ridge: float = Field(0.01, ge=0)
    held_out: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    device: Annotated[Device, RESOURCE] = "auto"

    def inputs(self) -> dict[str, str]:
        """The texts and the labels."""
        return {**roles("from", self.source), **(roles("labels", self.labels) if self.labels else {})}

    def run(self, job: Job) -> Result:
        """Embed, fit, and put the card into the manifest.

        Raises:
            ConfigError: no such column, it holds no numbers, or no row has a label.
        """
        inputs = list(job.inputs.values())
        where, names = inputs[-1].manifest.step, inputs[-1].schema().names
        if self.label not in names:
            raise ConfigError(f"no column {self.label!r} of labels in {where}; {_hint(self.label, names)}")
        settings = Settings(self.lowest, self.highest, self.threshold, self.context)
        encoder = job.models["encoder"]
        tasks = [_Task(shard.name, shard.rows) for shard in inputs[0].shards]
        make = functools.partial(_Embed, encoder, self.device, tuple(inputs), self.label, settings, job.scratch)
        receipts = job.map("embed", make, tasks)
        parts = [_read(files.join(job.scratch, receipt.task), receipt) for receipt in receipts]
        if not any(len(part.ids) for part in parts):
            empty = sum(part.empty for part in parts)
            if empty:
                raise ConfigError(f"the {empty} rows with a label in {self.label!r} have no text; give it others")
            raise ConfigError(f"no row has a label in {self.label!r}; {_hint('', names)}")
        trained = fit_embedding(
            parts, encoder, job.folder, settings, ridge=self.ridge, held_out=self.held_out, seed=self.seed
        )
        found = files.list_inputs(files.join(job.folder, MODEL))
        card = orjson.loads(files.read_bytes(files.join(job.folder, CARD)))
        assert card["model"] == trained.card["model"]
        return result(job, MODEL, card, [*sorted(f"{MODEL}/{each.name}" for each in found), CARD])


def _hint(name: str, names: list[str]) -> str:
    return nearest(name, [each for each in names if each not in ("id", "text", "messages", "source")])


@dataclass(frozen=True)
class _Task:
    name: str
    rows: int


class _Embed:
    """Embeds the labelled rows of a shard into a file of the same name in `scratch`."""

    def __init__(
        self, encoder: str, device: Device, inputs: tuple[Dataset, ...], label: str, settings: Settings, scratch: str
    ) -> None:
        self._encoder = load_encoder(encoder, context=settings.context, device=device)
        self._inputs, self._label, self._settings, self._scratch = inputs, label, settings, scratch

    def __call__(self, task: _Task) -> Receipt:
        content: str = content_of(self._inputs[0].schema().names)
        wanted = {0: [content], len(self._inputs) - 1: [self._label]}
        if len(self._inputs) == 1:
            wanted = {0: [content, self._label]}
        table, absent = align(self._inputs, task.name, wanted)
        labels = _numbers(table.column(self._label), self._label)
        ids, texts = table.column("id").to_pylist(), text_batch(table.column(content)).strings()
        rows = [Labelled(*row) for row in zip(ids, texts, labels, strict=True)]
        found = embed_rows(self._encoder, rows, self._settings)
        ends = np.arange(0, found.embeddings.size + 1, self._encoder.width, dtype=np.int32)
        batch = pa.record_batch(
            {
                "id": pa.array(found.ids, pa.string()),
                "hash": pa.array(found.hashes),
                "label": pa.array(found.labels),
                "embedding": pa.ListArray.from_arrays(pa.array(ends), pa.array(found.embeddings.ravel())),
            }
        )
        with ShardWriter(files.join(self._scratch, task.name)) as writer:
            writer.write(batch)
        return Receipt(task.name, task.rows, counts={"missing": found.missing + absent, "empty": found.empty})


def _numbers(column: pa.ChunkedArray, name: str) -> list[float | None]:
    try:
        values: list[float | None] = column.cast(pa.float64()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        line = " ".join(str(error).split())[:100]
        raise ConfigError(f"the column {name!r} holds {column.type}, not numbers ({line}); choose another") from None
    return values


def _read(path: str, receipt: Receipt) -> Embedded:
    table = pa.Table.from_batches(list(read_shard(path)))
    flat = table.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Embedded(
        table.column("id").to_pylist(),
        table.column("hash").to_numpy(),
        table.column("label").to_numpy(),
        flat.reshape(table.num_rows, -1) if table.num_rows else np.zeros((0, 0)),
        receipt.counts["missing"],
        receipt.counts["empty"],
    )
