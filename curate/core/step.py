"""A step: a named, versioned function with a frozen config and inputs, whose digest names its output folder.

    dataset = execute(step, root="runs/demo", engine=LocalEngine(), resources=Resources(), progress=progress)

`execute` returns at once where the manifest stands. Otherwise it runs what is missing: a task that ended has
left a receipt, so a killed run goes on where it stopped, and the bytes are the same as of a run in one go.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import orjson
from pydantic import TypeAdapter

from curate.core import bits, files
from curate.core.config import Model, Path
from curate.core.dataset import MANIFEST, Dataset, Failure, Manifest, write_manifest
from curate.core.digest import Plain, digest_of
from curate.core.engine import Engine, Resources
from curate.core.errors import ConfigError, RunError, describe
from curate.core.shards import QUARANTINE, Shard

if TYPE_CHECKING:
    from curate.core.progress import Progress

RECEIPTS = ".receipts"
BITS = "bits"
GO_ON = "what is done is kept: run the same command again"


class Task(Protocol):
    """One item of a map: its name is a file name, and says which receipt is its own."""

    @property
    def name(self) -> str:
        """A name for a file, different for each task of a map."""
        ...

    @property
    def rows(self) -> int:
        """How many rows are lost to the run if the task fails for good; 0 when not known."""
        ...


class Join(Task, Protocol):
    """A task that puts together what the tasks of an earlier map made."""

    @property
    def pieces(self) -> Sequence[str]:
        """The names of those tasks."""
        ...


T = TypeVar("T", bound=Task)
J = TypeVar("J", bound=Join)


@dataclass(frozen=True)
class Receipt:
    """What one task did; stored when it is done."""

    task: str
    rows_in: int
    shards: tuple[Shard, ...] = ()
    quarantined: int = 0
    absent: int = 0
    dropped: int = 0
    added: int = 0
    counts: dict[str, int] = field(default_factory=dict)


@functools.cache
def _adapter() -> TypeAdapter[Receipt]:
    """Reads and writes it; built with the first one."""
    return TypeAdapter(Receipt)


@dataclass(frozen=True)
class Result:
    """What a step's function returns: its receipts in the order of the shards, and what else to record.

    Attributes:
        receipts: of the tasks that wrote the shards.
        details: figures about the whole (thresholds, counts by rule).
        files: other files that the step wrote (a model), as name -> xxh3-128; part of the manifest.
    """

    receipts: Sequence[Receipt] = ()
    details: Mapping[str, Plain] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


class StepConfig(Model, ABC):
    """Base of the config of a step: what it reads, and what of it bears identity."""

    def inputs(self) -> dict[str, str]:
        """The steps whose output it reads: role -> name of the step."""
        return {}

    def models(self) -> dict[str, str]:
        """The model files it reads: key -> path, or name of a step that trains one."""
        return {}

    def endpoints(self) -> dict[str, str]:
        """The endpoints that it asks: key -> name of one of the pipeline's."""
        return {}

    def list_files(self) -> list[files.InputFile] | None:
        """The files from outside that it reads, in order; None for a step that reads none."""
        return None

    def check(self, inputs: Mapping[str, StepConfig], path: Path) -> None:
        """See that it fits the configs of the steps that it reads, by role, before any of them runs.

        Raises:
            BadValue: it does not; `path` is where this config stands.
        """

    @abstractmethod
    def identity(self) -> dict[str, Plain]:
        """The config without inputs and models, which enter the digest by their own."""


@dataclass(frozen=True)
class Step:
    """One node of a pipeline, resolved.

    Attributes:
        config: what bears identity, model files by their hash.
        inputs: the datasets it reads, by role.
        models: where the model files lie, by key; a place bears no identity.
        run: the work.
    """

    name: str
    kind: str
    version: int
    config: Mapping[str, Plain]
    inputs: Mapping[str, Dataset]
    models: Mapping[str, str]
    run: Callable[[Job], Result]

    @property
    def digest(self) -> str:
        """sha256 over kind, version, config and the inputs' digests; models stand in the config by their hash."""
        return digest_of(
            {
                "kind": self.kind,
                "version": self.version,
                "config": dict(self.config),
                "inputs": {name: dataset.manifest.digest for name, dataset in self.inputs.items()},
            }
        )

    def folder(self, root: str) -> str:
        """Where the output of this step lies."""
        return files.join(root, f"{self.name}-{self.digest[:8]}")


class Job:
    """What a step's function works with: its inputs, its folder, and `map`."""

    @property
    def scratch(self) -> str:
        """A folder for what passes between the stages of a step; gone when the step is done."""
        return files.join(self.folder, RECEIPTS, "scratch")

    def __init__(
        self, step: Step, folder: str, engine: Engine, resources: Resources, progress: Progress, known: set[bits.Bits]
    ) -> None:
        self.step, self.folder, self._known = step, folder, known
        self.noted = files.join(folder, RECEIPTS, BITS)
        known.update(bits.noted(self.noted))
        self.inputs, self.models = step.inputs, step.models
        self._engine, self._resources, self._progress = engine, resources, progress
        self.failed: list[Failure] = []

    def map(self, stage: str, make: Callable[[], Callable[[T], Receipt]], tasks: Sequence[T]) -> list[Receipt]:
        """Run the tasks that have no receipt yet; the receipts of all, in the order of the tasks.

        Raises:
            RunError: a task failed for good, and the run was not asked to keep going.
        """
        folder = files.join(self.folder, RECEIPTS, stage)
        there = set(files.list_names(folder))
        done: dict[str, Receipt] = {}
        for task in tasks:
            if f"{task.name}.json" in there:
                done[task.name] = _adapter().validate_json(files.read_bytes(files.join(folder, f"{task.name}.json")))
        missing = [task for task in tasks if task.name not in done]
        label = self.step.name if stage == "" else f"{self.step.name}/{stage}"
        noting = bits.Noting(make, self.noted)
        with self._progress.step(label, len(tasks), len(done)) as advance:
            outcomes = self._engine.map(noting, missing, resources=self._resources, label=label)
            with contextlib.closing(outcomes):
                for outcome in outcomes:
                    task = missing[outcome.index]
                    if outcome.result is None:
                        self._fail(task, outcome.error or "no result", user_error=outcome.user_error)
                        advance(1, rows=0, quarantined=0)
                        continue
                    receipt = outcome.result
                    with files.atomic_output(files.join(folder, f"{task.name}.json")) as out:
                        out.write(orjson.dumps(_adapter().dump_python(receipt, mode="json")))
                    done[task.name] = receipt
                    advance(1, rows=receipt.rows_in, quarantined=receipt.quarantined)
                    self.compare_bits()
        return [done[task.name] for task in tasks if task.name in done]

    def compare_bits(self) -> None:
        """Say it where the step's models computed on another kind of processor than those of the run before."""
        now = bits.noted(self.noted)
        text = bits.change(self._known, now)
        if text:
            self._progress.line(f"{self.step.name}: {text}")
        self._known.update(now)

    def watch(self, report: Callable[[], str]) -> contextlib.AbstractContextManager[None]:
        """Show what `report` says while a block lasts, see `Progress.watch`."""
        return self._progress.watch(self.step.name, report)

    def whole(self, joins: Sequence[J]) -> list[J]:
        """The tasks whose pieces were all done; one that lacks a piece fails in the place of its pieces."""
        lost = {failure.shard: failure for failure in self.failed}
        found: list[J] = []
        for join in joins:
            errors = [lost.pop(piece).error for piece in join.pieces if piece in lost]
            if errors:
                lost[join.name] = Failure(join.name, join.rows, errors[0])
            else:
                found.append(join)
        self.failed = list(lost.values())
        return found

    def forget(self, stage: str, names: Sequence[str]) -> None:
        """Remove the receipts of some tasks: a run that goes on does them again."""
        folder = files.join(self.folder, RECEIPTS, stage)
        for name in sorted({f"{name}.json" for name in names} & set(files.list_names(folder))):
            files.remove(files.join(folder, name))

    def _fail(self, task: Task, error: str, *, user_error: bool) -> None:
        if user_error:
            raise ConfigError(error)
        if not self._resources.keep_going:
            raise RunError(
                f"step {self.step.name}, {task.name}: {error}; {GO_ON}, or with --keep-going to list it and go on"
            )
        self.failed.append(Failure(task.name, task.rows, error))
        self._progress.line(f"{self.step.name}: {task.name} was given up: {error}")


def execute(
    step: Step,
    root: str,
    engine: Engine,
    resources: Resources,
    progress: Progress,
    known: set[bits.Bits] | None = None,
) -> Dataset:
    """Run a step, or open its output where it stands; what its models computed on is added to `known`, the run's.

    Raises:
        CurateError: with the step and the shard, and what to do.
    """
    folder = step.folder(root)
    known = set() if known is None else known
    if files.exists(files.join(folder, MANIFEST)):
        _remove_receipts(folder)
        progress.event("step-done", step=step.name, cached=1)
        dataset = Dataset.open(folder)
        known.update(dataset.manifest.bits)
        return dataset
    files.make_folder(folder)
    _remove_leftovers(folder)
    started = time.monotonic()
    job = Job(step, folder, engine, resources, progress, known)
    try:
        with bits.noting(job.noted):
            result = step.run(job)
        job.compare_bits()
        rows_lost = sum(f.rows for f in job.failed)
        dataset = write_manifest(
            folder,
            Manifest(
                step=step.name,
                kind=step.kind,
                version=step.version,
                digest=step.digest,
                config=dict(step.config),
                inputs={name: dataset.manifest.digest for name, dataset in step.inputs.items()},
                rows_in=sum(r.rows_in for r in result.receipts) + rows_lost,
                rows=sum(s.rows for r in result.receipts for s in r.shards),
                quarantined=sum(r.quarantined for r in result.receipts),
                absent=sum(r.absent for r in result.receipts),
                dropped=sum(r.dropped for r in result.receipts),
                counts=_add_counts(result.receipts),
                details=dict(result.details),
                shards=tuple(s for r in result.receipts for s in r.shards),
                files=dict(result.files),
                failed=tuple(job.failed),
                added=sum(r.added for r in result.receipts),
                bits=bits.noted(job.noted),
            ),
        )
    except OSError as error:
        raise RunError(f"step {step.name}: {describe(error)}; {GO_ON}") from error
    _remove_receipts(folder)
    progress.event("step-done", step=step.name, cached=0, rows=dataset.rows, seconds=time.monotonic() - started)
    return dataset


def _add_counts(receipts: Sequence[Receipt]) -> dict[str, int]:
    total: dict[str, int] = {}
    for receipt in receipts:
        for name, count in receipt.counts.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def count_receipts(folder: str) -> int:
    """How many tasks of an unfinished step are done."""
    stages = [RECEIPTS, *(files.join(RECEIPTS, stage) for stage in files.list_folders(files.join(folder, RECEIPTS)))]
    names = [name for stage in stages for name in files.list_names(files.join(folder, stage))]
    return sum(name.endswith(".json") for name in names)


def _remove_receipts(folder: str) -> None:
    path = files.join(folder, RECEIPTS)
    if files.is_remote(path):
        fs, bare = files.file_system(path)
        if fs.exists(bare):
            fs.rm(bare, recursive=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _remove_leftovers(folder: str) -> None:
    """Temporary files that a killed run left behind."""
    for place in (folder, files.join(folder, QUARANTINE)):
        for name in files.list_names(place):
            if name.startswith(".") and name.endswith(".tmp"):
                files.remove(files.join(place, name))
