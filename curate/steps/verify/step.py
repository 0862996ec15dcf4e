"""The `verify` step: every verifier over the synthetic rows, what they find beside them.

    checks: {verify: {from: made, parents: [seeds], rouge_l: {}, similarity: {model: minilm}, near: {to: heldout}}}

An entry's key names its columns; `verifier:` says which one it is when the key does not. `parents` are the datasets in
which the rows' parents are found, for verifiers that compare with them. Scorers of texts, such as `language` or
`perplexity`, are for a `score` step, which reads synthetic rows as any others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field

from curate.core import config as configuration
from curate.core.chat.messages import MESSAGES, ChatBatch
from curate.core.config import BadValue, Path
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.errors import RunError, nearest
from curate.core.map_shard import MapShard, shard_tasks
from curate.core.step import Job, Result, StepConfig
from curate.steps.verify import VERIFIERS
from curate.steps.verify.batch import PARENTS, Columns, Verifier, VerifyBatch
from curate.steps.verify.reference import REFERENCE

VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One verifier with its arguments."""

    verifier: str
    args: BaseModel

    @property
    def references(self) -> dict[str, str]:
        """The arguments that name a step whose dataset is read."""
        fields = type(self.args).model_fields
        named = {name: getattr(self.args, name) for name, field in fields.items() if _is_reference(field.metadata)}
        return {name: str(value) for name, value in named.items() if value is not None}


class VerifyConfig(StepConfig):
    """What is verified, by what, and where the parents are."""

    source: str = Field(alias="from")
    parents: list[str] = []
    entries: dict[str, Entry]

    def inputs(self) -> dict[str, str]:
        """The synthetic rows, their parents, and what they are compared with."""
        found = {"from": self.source, **{f"parents[{i}]": name for i, name in enumerate(self.parents)}}
        for name, entry in self.entries.items():
            found.update({f"{name}.{key}": step for key, step in entry.references.items()})
        return found

    def models(self) -> dict[str, str]:
        """The model files of all entries."""
        return {
            f"{name}.{key}": value
            for name, entry in self.entries.items()
            for key, value in configuration.model_files(entry.args).items()
        }

    def identity(self) -> dict[str, Plain]:
        """Verifiers in order, as the columns are, and their arguments."""
        entries: list[Plain] = []
        for name, entry in self.entries.items():
            outside = {configuration.field_of(key) for key in configuration.model_files(entry.args)}
            outside |= configuration.resources(entry.args) | set(entry.references)
            entries.append([name, entry.verifier, entry.args.model_dump(mode="json", exclude=outside)])
        return {"verifiers": entries}


def _is_reference(metadata: Sequence[object]) -> bool:
    return REFERENCE in metadata


def parse(value: Plain, path: Path) -> VerifyConfig:
    """The config of the step from plain values.

    Raises:
        BadValue: an unknown verifier or argument.
    """
    if not isinstance(value, dict) or not isinstance(value.get("from"), str):
        raise BadValue(path, "`from` must name the step whose rows are verified, beside the verifiers")
    parents = value.get("parents", [])
    named = [parents] if isinstance(parents, str) else parents
    if not isinstance(named, list) or not all(isinstance(each, str) for each in named):
        raise BadValue((*path, "parents"), "expected the names of the steps that hold the rows' parents")
    entries = {name: _entry(name, raw, (*path, name)) for name, raw in value.items() if name not in ("from", "parents")}
    if not entries:
        raise BadValue(path, f"names no verifier; known: {', '.join(sorted(VERIFIERS))}")
    return VerifyConfig.model_construct(
        source=str(value["from"]), parents=[str(each) for each in named], entries=entries
    )


def _entry(name: str, raw: Plain, path: Path) -> Entry:
    args: Plain = dict(raw) if isinstance(raw, dict) else raw
    verifier: Plain = args.pop("verifier", name) if isinstance(args, dict) else name
    if not isinstance(verifier, str) or verifier not in VERIFIERS:
        raise BadValue(path, f"no verifier {verifier!r}; {nearest(str(verifier), [*VERIFIERS, 'from', 'parents'])}")
    return Entry(verifier, configuration.validate(configuration.model_of(VERIFIERS[verifier]), args, path))


def run(job: Job, config: VerifyConfig) -> Result:
    """Verify every shard; a verifier sees a whole shard at once."""
    factories: dict[str, functools.partial[Verifier]] = {}
    for name, entry in config.entries.items():
        models = {key: job.models[f"{name}.{key}"] for key in configuration.model_files(entry.args)}
        args = configuration.with_models(entry.args, models)
        args.update({key: job.inputs[f"{name}.{key}"].folder for key in entry.references})
        factories[name] = functools.partial(VERIFIERS[entry.verifier], **args)
    parents = [dataset for role, dataset in job.inputs.items() if role.startswith("parents[")]
    make = functools.partial(_make, factories, parents, job.step.name, job.folder)
    return Result(job.map("", make, shard_tasks(job.inputs["from"])))


def _make(
    factories: Mapping[str, Callable[[], Verifier]], parents: Sequence[Dataset], step: str, folder: str
) -> MapShard:
    verifiers = {name: factory() for name, factory in factories.items()}
    return MapShard(functools.partial(verify_batch, verifiers, parents), step, folder, None, whole=True)


def verify_batch(
    verifiers: Mapping[str, Verifier], parents: Sequence[Dataset], batch: pa.RecordBatch
) -> pa.RecordBatch:
    """`id` and the columns of every verifier.

    Args:
        verifiers: by the name of their entry.
        parents: the datasets that hold the rows' parents.
        batch: synthetic rows.

    Raises:
        RunError: a verifier returned another number of rows.
    """
    ids: set[str] = set()
    if parents and PARENTS in batch.schema.names:
        ids = {each for row in batch.column(PARENTS).to_pylist() for each in row or ()}
    rows = VerifyBatch(batch, find_texts(parents, ids))
    out: Columns = {"id": batch.column("id")}
    for name, verifier in verifiers.items():
        for suffix, values in verifier(rows).items():
            if len(values) != batch.num_rows:
                raise RunError(f"verifier {name}: returned {len(values)} values for {batch.num_rows} rows")
            out[f"{name}_{suffix}" if suffix else name] = values
    return pa.RecordBatch.from_arrays(list(out.values()), names=list(out))


def find_texts(datasets: Sequence[Dataset], ids: set[str]) -> dict[str, str]:
    """The texts of some rows, by id: of documents their text, of conversations all their turns."""
    missing = set(ids)
    found: dict[str, str] = {}
    for dataset in datasets:
        for shard in dataset.shards:
            if not missing:
                return found
            names = dataset.schema().names
            content = "text" if "text" in names else "messages"
            for batch in dataset.read(shard, ["id", content]):
                wanted = pa.array(sorted(missing), batch.schema.field("id").type)
                some = batch.filter(pc.is_in(batch.column("id"), value_set=wanted))
                if not some.num_rows:
                    continue
                column = some.column(content)
                texts = column.to_pylist() if content == "text" else ChatBatch(column.cast(MESSAGES)).parts("text")
                found.update(zip(some.column("id").to_pylist(), (text or "" for text in texts), strict=True))
                missing -= found.keys()
    return found
