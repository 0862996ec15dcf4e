"""The method `labels` of the `train` step.

    topics: {train: {labels: {from: [made, kept], label: label}}}
    checks: {verify: {from: made, label_agreement: {model: topics}}}

A dataset without texts lies beside the rows before it: its labels are taken where it has some, rows with `keep = false`
are skipped.
"""

from __future__ import annotations

from typing import cast

from pydantic import Field

from curate.core.digest import Plain
from curate.core.rows.labelled import check_labelled, read_labelled
from curate.core.step import Job, Result
from curate.models.fasttext.train_labels import train_labels
from curate.steps.train.method import Method, Sources, datasets, result, roles


class Labels(Method):
    """A classifier of any number of labels; see `curate.models.fasttext.train_labels.train_labels` for the arguments.

    Attributes:
        source: the steps whose rows it learns, each with its attributes.
        label: the column of the labels.
    """

    source: Sources = Field(alias="from")
    label: str = "label"
    word_ngrams: int = Field(2, ge=1)
    lr: float = Field(0.5, gt=0)
    dim: int = Field(50, ge=1)
    epoch: int = Field(50, ge=1)
    min_count: int = Field(1, ge=1)
    bucket: int = Field(50_000, ge=1)
    held_out: float = Field(0.1, ge=0, lt=1)
    seed: int = Field(0, ge=0)

    def inputs(self) -> dict[str, str]:
        """The labelled rows."""
        return roles("from", self.source)

    def run(self, job: Job) -> Result:
        """Train; the model's card goes into the manifest."""
        data = datasets(job, "from")
        check_labelled(data, self.label)
        rows = ((row.text, row.label) for row in read_labelled(data, self.label))
        trained = train_labels(rows, job.folder, **self.model_dump(exclude={"source", "label"}))
        name = trained.model.rsplit("/", 1)[-1]
        return result(job, name, cast("dict[str, Plain]", dict(trained.card)), [name, f"{name}.json", f"{name}.md"])
