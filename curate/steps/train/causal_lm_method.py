"""The method `causal_lm` of the `train` step: a small Llama from scratch, stopped and gone on with at will."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from curate.core.config import RESOURCE
from curate.core.files import ModelFile
from curate.core.step import Job, Receipt, Result
from curate.models.device import Device
from curate.models.lm.pretrain.train import MIN_VOCABULARY, train_causal_lm
from curate.models.trained import Trained
from curate.steps.train.method import Method, Sources, datasets, roles, shard_batches, trained_result

# With arguments that the fields below have checked.
TRAIN: Callable[..., Trained] = train_causal_lm


class CausalLM(Method):
    """A Llama and its tokenizer; see `train_causal_lm` for what the fields mean."""

    source: Sources = Field(alias="from")
    vocabulary: int = Field(4096, ge=MIN_VOCABULARY)
    tokenizer: ModelFile | None = None
    layers: int = Field(4, ge=1)
    width: int = Field(128, ge=2)
    heads: int = Field(4, ge=1)
    kv_heads: int | None = Field(None, ge=1)
    context: int = Field(256, ge=2)
    tokens: int = Field(5_000_000, ge=1)
    batch_tokens: int = Field(2048, ge=1)
    lr: float = Field(3e-3, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    held_out: float = Field(0.05, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    threads: int = Field(1, ge=1)
    device: Annotated[Device, RESOURCE] = "auto"
    checkpoint_every: Annotated[int, RESOURCE] = Field(100, ge=1)

    def inputs(self) -> dict[str, str]:
        """The texts it learns."""
        return roles("from", self.source)

    def run(self, job: Job) -> Result:
        """Train on a worker, as that is where a GPU may be, and put the card into the manifest."""
        shards = [data.path(shard) for data in datasets(job, "from") for shard in data.shards]
        arguments = self.model_dump(mode="python", exclude={"source", "tokenizer"})
        arguments["tokenizer"] = job.models.get("tokenizer")
        rows = sum(data.rows for data in datasets(job, "from"))
        task = _Task("model", rows, tuple(shards))
        train = functools.partial(TRAIN, out_dir=job.folder, scratch=job.scratch, **arguments)
        job.map("train", functools.partial(_Train, train), [task])
        return trained_result(job)


@dataclass(frozen=True)
class _Task:
    name: str
    rows: int
    shards: tuple[str, ...]


@dataclass(frozen=True)
class _Train:
    train: Callable[..., Trained]

    def __call__(self, task: _Task) -> Receipt:
        self.train(_documents(task.shards))
        return Receipt(task.name, task.rows)


def _documents(shards: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for shard in shards:
        for batch, texts in shard_batches(shard, ["id"]):
            yield from zip(batch.column("id").to_pylist(), texts.strings(), strict=True)
