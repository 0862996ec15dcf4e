"""What a method of training is to the `train` step: its arguments, what it reads, and how it runs.

    class Ngram(Method):
        source: Sources = Field(alias="from")
        def inputs(self) -> dict[str, str]: return roles("from", self.source)
        def run(self, job: Job) -> Result: ...

The fields that `inputs` and `models` name are not part of the identity: the datasets and files they stand for are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core import files
from curate.core.chat.messages import ChatBatch, content_of
from curate.core.config import Model, field_of, model_files, resources
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.shards import read_shard
from curate.core.step import Job, Result
from curate.text.batch import TextBatch

Sources = str | list[str]


class Method(Model, ABC):
    """Base of the arguments of a method; `REVISION` is raised where its models get other bits."""

    REVISION: ClassVar[int] = 1

    @abstractmethod
    def inputs(self) -> dict[str, str]:
        """The datasets it learns from: role -> name of the step."""

    @abstractmethod
    def run(self, job: Job) -> Result:
        """Train, and return what `result` makes of the files."""

    def models(self) -> dict[str, str]:
        """The model files it reads: field -> path, or name of a step that trains one."""
        return model_files(self)

    def identity(self) -> dict[str, Plain]:
        """The arguments that are neither datasets, model files nor resources."""
        named = {field_of(key) for key in (*self.inputs(), *self.models())}
        outside = {name for name, field in type(self).model_fields.items() if {name, field.alias} & named}
        dumped: dict[str, Plain] = self.model_dump(mode="json", exclude=outside | resources(self))
        return dumped


def roles(role: str, sources: Sources) -> dict[str, str]:
    """`{"positive[0]": "good", ...}` for the field `positive`."""
    names = [sources] if isinstance(sources, str) else sources
    return {f"{role}[{i}]": name for i, name in enumerate(names)}


def datasets(job: Job, role: str) -> list[Dataset]:
    """The inputs of a job that play a role, in order."""
    return [data for name, data in job.inputs.items() if name.startswith(f"{role}[")]


def texts(data: Dataset) -> Iterator[str]:
    """Every text of a dataset, in order."""
    for shard in data.shards:
        yield from shard_texts(data.path(shard))


def shard_texts(path: str) -> Iterator[str]:
    """Every text of a shard."""
    for _, batch in shard_batches(path):
        yield from batch.strings()


def shard_batches(path: str, columns: Sequence[str] = ()) -> Iterator[tuple[pa.RecordBatch, TextBatch]]:
    """The rows of a shard with some columns, and their texts as `text_batch` has them."""
    with files.open_input(path) as stream:
        content = content_of(pq.read_schema(stream).names)
    for batch in read_shard(path, [*columns, content]):
        yield batch, text_batch(batch.column(content))


def text_batch(column: pa.Array | pa.ChunkedArray) -> TextBatch:
    """The texts of documents, or of conversations those of all turns, as scorers of text get them too."""
    if not pa.types.is_list(column.type):
        return TextBatch(column)
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return TextBatch.of(ChatBatch(whole).parts("text"))


def result(job: Job, model: str, card: Mapping[str, Plain], names: Sequence[str]) -> Result:
    """The result of a job that wrote a model: the model's name, its card, and the hashes of its files."""
    hashes = {name: files.content_hash(files.join(job.folder, name)) for name in names}
    return Result(details={"model": model, "card": dict(card)}, files=hashes)


def trained_result(job: Job) -> Result:
    """The result of a job whose worker called `write_trained` for the job's folder."""
    from curate.models.lm.save import CARD, CSV, MODEL, SVG

    card: dict[str, Plain] = orjson.loads(files.read_bytes(files.join(job.folder, CARD)))
    names = sorted(each.name for each in files.list_inputs(files.join(job.folder, MODEL)))
    return result(job, MODEL, card, [*(f"{MODEL}/{name}" for name in names), CARD, CSV, SVG])
