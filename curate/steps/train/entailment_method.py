"""The method `entailment` of the `train` step: a head over a frozen encoder, learnt from labelled pairs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import orjson
from pydantic import Field

from curate.core import files
from curate.core.config import RESOURCE
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError, nearest
from curate.core.files import ModelFile
from curate.core.step import Job, Receipt, Result
from curate.models.device import Device
from curate.models.encoder.fit_pair_head import CARD, MODEL, Pair, train_entailment
from curate.models.trained import Trained
from curate.steps.train.method import Method, Sources, datasets, result, roles


class Entailment(Method):
    """An encoder with a head for pairs; see `train_entailment` for what the fields mean.

    Attributes:
        source: the steps whose rows are pairs.
        premise, hypothesis, label: the columns that hold them.
        encoder: the folder of the encoder, or a step that trains a language model.
    """

    REVISION: ClassVar[int] = 2

    source: Sources = Field(alias="from")
    premise: str = "premise"
    hypothesis: str = "hypothesis"
    label: str = "label"
    encoder: ModelFile
    context: int = Field(128, ge=1)
    strength: float = Field(0.3, gt=0)
    held_out: float = Field(0.2, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    batch_tokens: Annotated[int, RESOURCE] = Field(8192, ge=1)
    device: Annotated[Device, RESOURCE] = "auto"

    def inputs(self) -> dict[str, str]:
        """The pairs."""
        return roles("from", self.source)

    def run(self, job: Job) -> Result:
        """Train on a worker, as that is where a GPU may be, and put the card into the manifest.

        Raises:
            ConfigError: the pairs have no such column, or it holds no strings.
        """
        sources = datasets(job, "from")
        columns = (self.premise, self.hypothesis, self.label)
        for data in sources:
            for key, name in zip(("premise", "hypothesis", "label"), columns, strict=True):
                _check(data, key, name)
        task = _Task(MODEL, sum(data.rows for data in sources), tuple(sources))
        train = functools.partial(
            train_entailment,
            encoder=job.models["encoder"],
            out_dir=job.folder,
            context=self.context,
            strength=self.strength,
            held_out=self.held_out,
            seed=self.seed,
            batch_tokens=self.batch_tokens,
            device=self.device,
        )
        job.map("train", functools.partial(_Train, train, columns), [task])
        found = files.list_inputs(files.join(job.folder, MODEL))
        card = orjson.loads(files.read_bytes(files.join(job.folder, CARD)))
        return result(job, MODEL, card, [*sorted(f"{MODEL}/{each.name}" for each in found), CARD])


def _check(data: Dataset, key: str, name: str) -> None:
    names = data.schema().names
    if name not in names:
        others = [each for each in names if each not in ("id", "source")]
        raise ConfigError(f"no column {name!r} in {data.manifest.step}, which `{key}:` names; {nearest(name, others)}")
    kind = str(data.schema().field(name).type)
    if kind not in ("string", "large_string", "null"):
        raise ConfigError(f"the column {name!r} in {data.manifest.step} holds {kind}, not strings; name another")


@dataclass(frozen=True)
class _Task:
    name: str
    rows: int
    sources: tuple[Dataset, ...]


class _Train:
    """Reads all pairs and trains."""

    def __init__(self, train: Callable[[Iterator[Pair]], Trained], columns: tuple[str, str, str]) -> None:
        self._train, self._columns = train, columns

    def __call__(self, task: _Task) -> Receipt:
        self._train(self._pairs(task))
        return Receipt(task.name, task.rows)

    def _pairs(self, task: _Task) -> Iterator[Pair]:
        names = ["id", *self._columns]
        for data in task.sources:
            for shard in data.shards:
                for batch in data.read(shard, sorted(set(names))):
                    rows = zip(*(batch.column(name).to_pylist() for name in names), strict=True)
                    for id_, premise, hypothesis, label in rows:
                        yield Pair(id_, premise or "", hypothesis or "", label)
