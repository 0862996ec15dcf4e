"""The method `finetune` of the `train` step: a model of this machine, tuned on conversations.

    tuned: {train: {finetune: {from: [pool, picks], model: models/smol, lora: {rank: 8, alpha: 16}, epochs: 2}}}

A dataset with `keep` (a `select` or `filter` step) skips, of the conversations named before it, those with `keep =
false`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, field_validator

from curate.core.config import RESOURCE
from curate.core.errors import nearest
from curate.core.files import ModelFile
from curate.core.rows.kept import KeptShard, find_shards
from curate.core.step import Job, Receipt, Result
from curate.models.device import Device
from curate.models.lm.chat_encode import TEMPLATES
from curate.models.lm.finetune.data import sample_rows
from curate.models.lm.finetune.loop import Tuning
from curate.models.lm.finetune.train import train_finetune
from curate.models.trained import Trained
from curate.steps.train.method import Method, Sources, datasets, roles, trained_result

# With arguments that the fields below have checked.
TRAIN: Callable[..., Trained] = train_finetune
OUTSIDE = {"source", "model", "sample"}


class Finetune(Tuning, Method):
    """A causal language model tuned on conversations; see `Tuning` and `train_finetune` for the other fields.

    Attributes:
        source: datasets of conversations, and datasets beside them that say which to keep.
        sample: the part of the kept conversations that is learnt, chosen by the seed; null for all.
    """

    source: Sources = Field(alias="from")
    model: ModelFile
    sample: float | None = Field(None, gt=0, le=1)
    template: str | None = None
    context: int | None = Field(None, ge=2)
    held_out: float = Field(0.0, ge=0, lt=1)
    threads: int = Field(1, ge=1)
    device: Annotated[Device, RESOURCE] = "auto"
    checkpoint_every: Annotated[int, RESOURCE] = Field(100, ge=1)

    @field_validator("template")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in TEMPLATES:
            raise ValueError(f"no chat template {name!r}; {nearest(name, TEMPLATES)}")
        return name

    def inputs(self) -> dict[str, str]:
        """The conversations it learns, and their attributes."""
        return roles("from", self.source)

    def run(self, job: Job) -> Result:
        """Tune on a worker, as that is where a GPU may be, and put the card into the manifest."""
        data = datasets(job, "from")
        arguments = {name: getattr(self, name) for name in type(self).model_fields if name not in Tuning.model_fields}
        train = functools.partial(
            TRAIN,
            **{name: value for name, value in arguments.items() if name not in OUTSIDE},
            model=job.models["model"],
            tuning=self,
            out_dir=job.folder,
            scratch=job.scratch,
        )
        task = _Task("model", sum(each.rows for each in data), tuple(find_shards(data)))
        job.map("train", functools.partial(_Train, train, self.sample, self.seed), [task])
        return trained_result(job)


@dataclass(frozen=True)
class _Task:
    name: str
    rows: int
    shards: tuple[KeptShard, ...]


@dataclass(frozen=True)
class _Train:
    train: Callable[..., Trained]
    sample: float | None
    seed: int

    def __call__(self, task: _Task) -> Receipt:
        self.train(sample_rows(task.shards, self.sample, self.seed))
        return Receipt(task.name, task.rows)
