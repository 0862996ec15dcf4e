"""The `gather` step: columns of synthetic rows, back beside the rows that they were made from.

    graded: {gather: {from: prompts, rows: [answers, rated], columns: [score]}}

Synthetic rows have ids of their own. What was found of them (a judge's score, a label) is brought to their first
parent, so that `route`, `weak_labels` or a filter can read it beside the parent's own columns. Of several synthetic
rows of one parent the first that has a value counts; a parent without synthetic rows has nulls.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pyarrow as pa
from pydantic import Field

from curate.core.config import BadValue, Path
from curate.core.dataset import Dataset, align
from curate.core.digest import Plain
from curate.core.errors import nearest
from curate.core.map_shard import MapShard, shard_tasks
from curate.core.step import Job, Result, StepConfig

VERSION = 1
_PARENTS = "parents"


class GatherConfig(StepConfig):
    """What is brought to which rows.

    Attributes:
        source: the rows that others were made of.
        rows: the synthetic rows, and their attributes.
        columns: of any of those.
    """

    source: str = Field(alias="from")
    rows: list[str] = Field(min_length=1)
    columns: list[str] = Field(min_length=1)

    def inputs(self) -> dict[str, str]:
        """The rows, the synthetic rows, and their attributes."""
        return {"from": self.source, **{f"rows[{i}]": name for i, name in enumerate(self.rows)}}

    def identity(self) -> dict[str, Plain]:
        """The columns."""
        return {"columns": list(self.columns)}


def run(job: Job, config: GatherConfig) -> Result:
    """Bring the columns to every shard.

    Raises:
        BadValue: the rows were not made of others, or have no such column.
    """
    made = [dataset for role, dataset in job.inputs.items() if role.startswith("rows[")]
    path: Path = ("steps", job.step.name, job.step.kind)
    schemas = [dataset.schema() for dataset in made]
    if _PARENTS not in schemas[0].names:
        raise BadValue((*path, "rows"), f"the rows of {made[0].manifest.step} were not made of others: no `parents`")
    fields: list[pa.Field] = []
    for i, name in enumerate(config.columns):
        owner = next((schema for schema in reversed(schemas) if name in schema.names), None)
        if owner is None:
            every = [each for schema in schemas for each in schema.names]
            raise BadValue((*path, "columns", i), f"no such column; {nearest(name, every)}")
        fields.append(owner.field(name))
    make = functools.partial(_make, made, pa.schema(fields), job.step.name, job.folder)
    return Result(job.map("", make, shard_tasks(job.inputs["from"])))


def _make(made: Sequence[Dataset], schema: pa.Schema, step: str, folder: str) -> MapShard:
    found = [_first_values(made, name) for name in schema.names]

    def beside(batch: pa.RecordBatch) -> pa.RecordBatch:
        ids = batch.column("id").to_pylist()
        columns = [
            pa.array([values.get(key) for key in ids], field.type) for values, field in zip(found, schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays([batch.column("id"), *columns], names=["id", *schema.names])

    return MapShard(beside, step, folder, ["id"])


def _first_values(made: Sequence[Dataset], name: str) -> dict[str, object]:
    """The value of a column by the first parent's id, of the first synthetic row that has one."""
    owner = max(i for i, dataset in enumerate(made) if name in dataset.schema().names)
    found: dict[str, object] = {}
    for shard in made[0].shards:
        wanted: dict[int, list[str]] = {0: [_PARENTS]}
        wanted.setdefault(owner, []).append(name)
        table, _ = align(made, shard.name, wanted)
        for parents, value in zip(table.column(_PARENTS).to_pylist(), table.column(name).to_pylist(), strict=True):
            if parents and value is not None:
                found.setdefault(parents[0], value)
    return found
