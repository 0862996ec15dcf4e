"""The method `ngram` of the `train` step: counts by shard through the engine, then one fit.

lm: {train: {ngram: {from: good, order: 5}}}

The step's model is `model.ngram`, tables that all workers of a machine share; `model.arpa` is the same for other tools.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, model_validator

from curate.core import files
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.core.map_shard import ShardTask
from curate.core.step import Job, Receipt, Result
from curate.models.ngram.counts import count_shard
from curate.models.ngram.plan import Options, thresholds
from curate.models.ngram.text_form import NormaliserName, TextForm, TokeniserName, card_path, check_sentencepiece
from curate.steps.train.method import Method, Sources, result, roles, shard_texts

ARPA = "model.arpa"
TABLES = "model.ngram"


class Ngram(Method):
    """A modified Kneser-Ney model.

    Attributes:
        source: the steps whose texts it learns.
        order: the longest n-gram.
        prune: n-grams of order 1, 2, ... that occur this often or less are left out, as `lmplz --prune` does; the
            last number holds for the higher orders. `[0, 0, 1]` leaves out what is seen once from order 3 up.
        vocabulary: only so many of the most frequent words stay in the model; the others score as `<unk>`.
        normaliser, tokeniser: how a text becomes words; recorded beside the model.
        sentencepiece: the model of the tokeniser `sentencepiece`; its hash is recorded, too.
    """

    source: Sources = Field(alias="from")
    order: int = Field(5, ge=2, le=6)
    prune: list[Annotated[int, Field(ge=0)]] = []
    vocabulary: int | None = Field(None, ge=1)
    normaliser: NormaliserName = "ccnet_spaced"
    tokeniser: TokeniserName = "punct"
    sentencepiece: ModelFile | None = None

    @model_validator(mode="after")
    def _arguments_fit(self) -> Ngram:
        try:
            thresholds(self.prune, self.order)
            check_sentencepiece(self.tokeniser, self.sentencepiece)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def inputs(self) -> dict[str, str]:
        """The texts it learns."""
        return roles("from", self.source)

    def run(self, job: Job) -> Result:
        """Count, fit, and put the model's card into the manifest."""
        from curate.models.ngram.fit import fit_stages

        tasks: list[ShardTask] = []
        for i, data in enumerate(job.inputs.values()):
            tasks += [ShardTask(f"{i:03d}-{shard.name}", shard.rows, data.path(shard)) for shard in data.shards]
        form = TextForm.of(self.normaliser, self.tokeniser, job.models.get("sentencepiece"))
        receipts = job.map("count", functools.partial(_Count, job.scratch, self.order, form), tasks)
        counted = [files.join(job.scratch, receipt.task) for receipt in receipts]
        model = files.join(job.folder, ARPA)
        options = Options(prune=tuple(self.prune), vocabulary=self.vocabulary)
        card = fit_stages(job.map, files.join(job.scratch, "fit"), counted, model, options)
        _write_tables(model, files.join(job.folder, TABLES), form)
        return result(job, TABLES, card, [TABLES, ARPA, card_path(ARPA)])


def _write_tables(arpa: str, path: str, form: TextForm) -> None:
    from curate.models.ngram.arpa import read_arpa
    from curate.models.ngram.tables import save

    if not files.is_remote(arpa):
        save(read_arpa(arpa), path, form)
        return
    with tempfile.NamedTemporaryFile() as copy, files.open_input(arpa) as stream:
        shutil.copyfileobj(stream, copy)
        copy.flush()
        save(read_arpa(copy.name), path, form)


@dataclass(frozen=True)
class _Count:
    scratch: str
    order: int
    form: TextForm

    def __call__(self, task: ShardTask) -> Receipt:
        path = files.join(self.scratch, task.name)
        count_shard(shard_texts(task.source), path, order=self.order, form=self.form)
        return Receipt(task.name, task.rows)
