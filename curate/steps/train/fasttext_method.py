"""The method `fasttext` of the `train` step.

classifier: {train: {fasttext: {positive: good, negative: poor}}}
"""

from __future__ import annotations

from typing import cast

from pydantic import Field

from curate.core.config import Model
from curate.core.digest import Plain
from curate.core.step import Job, Result
from curate.steps.train.method import Method, Sources, datasets, result, roles, texts


class Classifier(Model):
    """How a classifier learns; see `curate.models.fasttext.train.train_fasttext` for the arguments."""

    word_ngrams: int = Field(2, ge=1)
    lr: float = Field(0.1, gt=0)
    dim: int = Field(100, ge=1)
    epoch: int = Field(5, ge=1)
    min_count: int = Field(1, ge=1)
    bucket: int = Field(2_000_000, ge=1)
    held_out: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(0, ge=0)


class FastText(Method, Classifier):
    """A classifier of two classes."""

    positive: Sources
    negative: Sources
    labels: list[str] = Field(["hq", "lq"], min_length=2, max_length=2)

    def inputs(self) -> dict[str, str]:
        """The texts of the two classes."""
        return {**roles("positive", self.positive), **roles("negative", self.negative)}

    def run(self, job: Job) -> Result:
        """Train; the model's card goes into the manifest."""
        from curate.models.fasttext.train import train_fasttext

        positive, negative = ((t for data in datasets(job, role) for t in texts(data)) for role in _ROLES)
        args = self.model_dump(exclude={*_ROLES, "labels"})
        trained = train_fasttext(positive, negative, job.folder, labels=(self.labels[0], self.labels[1]), **args)
        name = trained.model.rsplit("/", 1)[-1]
        return result(job, name, cast("dict[str, Plain]", dict(trained.card)), [name, f"{name}.json", f"{name}.md"])


_ROLES = ("positive", "negative")
