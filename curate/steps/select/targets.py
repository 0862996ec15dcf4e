"""What selectors with targets share: the tasks, and the features of the pool and of the tasks' examples.

class Near(NearTargets):                     # with `targets`, `by`, `features` and `target_features`
    def select(self, job, pool, filling):
        store, at = self.vectors(job, pool)  # row i of the pool is row at[i] of the store
        for task, vectors in self.examples(job): ...

A task is a step of `targets`, or with `by` each value of that column: `bbh` has the tasks `snarks`, `navigate`, ...
where it is the only step, `bbh/snarks` beside `mmlu/anatomy` where there are several. Tasks may have one example
or thousands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate.core.config import BadValue, Path
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.errors import ConfigError
from curate.core.step import Job, StepConfig
from curate.steps.select.features import FeaturesConfig, check_conversations
from curate.steps.select.pool import Ints, Objects, Pool
from curate.steps.select.selector import Selector
from curate.steps.select.store import Rows, Store

Steps = str | Annotated[list[str], Field(min_length=1)]
# What the features of targets may have otherwise: the kind of number, and for gradients the optimizer's state.
_OWN = ("kind", "optimizer")


@dataclass(frozen=True)
class Task:
    """What the selection should be good for.

    Attributes:
        name: of the step, or the value of `by`.
        dataset: which of `targets` it is from.
        rows: its examples' positions in that dataset, ascending.
        ids: of the examples.
    """

    name: str
    dataset: int
    rows: Ints
    ids: Objects

    def __len__(self) -> int:
        return len(self.rows)


class Examples(NamedTuple):
    """The examples of a task that have a feature, and their unit vectors, float32 (examples, checkpoints, width)."""

    task: Task
    vectors: Rows


class Vectors(NamedTuple):
    """The store of the pool's features, and for every row of the pool its row there, -1 where it has no feature."""

    store: Store
    at: Ints


class Targeted(Selector):
    """Base of selectors that look at examples of what the selection is for: datasets of conversations."""

    targets: Steps
    by: str | None = None

    @model_validator(mode="after")
    def _named_once(self) -> Targeted:
        twice = [name for name, times in Counter(listed(self.targets)).items() if times > 1]
        if twice:
            raise ValueError(f"targets names {twice[0]} twice; remove one")
        return self

    def inputs(self) -> dict[str, str]:
        """The targets, as `targets[0]`, ..."""
        return {**super().inputs(), **{f"targets[{i}]": name for i, name in enumerate(listed(self.targets))}}

    def tasks(self, job: Job) -> list[Task]:
        """Every task with its examples, by name.

        Raises:
            ConfigError: a target holds no conversations or no row, or an example has no value in `by`.
        """
        found: list[Task] = []
        names = listed(self.targets)
        for i, step in enumerate(names):
            data = job.inputs[f"targets[{i}]"]
            check_conversations(data)
            rows = Pool.of([data])
            if not len(rows):
                raise ConfigError(f"the target {step} has no row; give it at least one example")
            if self.by is None:
                found.append(Task(step, i, np.arange(len(rows)), rows.ids))
                continue
            values = rows.strings(self.by)
            without = int(sum(value is None for value in values))
            if without:
                raise ConfigError(f"{without:,} examples of the target {step} have no {self.by}; name their task")
            tasks, groups = np.unique(values.astype(str), return_inverse=True)
            for group, task in enumerate(tasks.tolist()):
                name = task if len(names) == 1 else f"{step}/{task}"
                mine = np.flatnonzero(groups == group)
                found.append(Task(name, i, mine, rows.ids[mine]))
        return sorted(found, key=lambda task: task.name)


class InFeatureSpace(Selector):
    """Base of selectors that look at the rows' features: `features` names the step that computes them."""

    features: str

    def inputs(self) -> dict[str, str]:
        """The features of the pool."""
        return {**super().inputs(), "features": self.features}

    def check(self, inputs: Mapping[str, StepConfig], path: Path) -> None:
        """See that it names a step of features."""
        super().check(inputs, path)
        _check_kind(inputs["features"], self.features, (*path, "features"))

    def exclude(self, job: Job, pool: Pool) -> None:
        """Close the rows without a feature, with the reason of the feature."""
        super().exclude(job, pool)
        data = job.inputs["features"]
        reasons = pool.beside(data, "reason", pa.string())
        pool.drop(reasons != None, reasons)  # noqa: E711
        pool.exclude(pool.rows_in(data) < 0, f"absent from {data.manifest.step}")

    def vectors(self, job: Job, pool: Pool) -> Vectors:
        """The store, and where the rows of the pool stand in it."""
        data = job.inputs["features"]
        at = pool.rows_in(data)
        at[pool.beside(data, "reason", pa.string()) != None] = -1  # noqa: E711
        return Vectors(Store.open(data), at)


class NearTargets(Targeted, InFeatureSpace):
    """Base of selectors by nearness to targets: `target_features` are those of `targets`, in the same order."""

    target_features: Steps

    @model_validator(mode="after")
    def _as_many(self) -> NearTargets:
        if len(listed(self.targets)) != len(listed(self.target_features)):
            raise ValueError("target_features names another number of steps than targets; give each target its own")
        return self

    def inputs(self) -> dict[str, str]:
        """The targets, the features of the pool, and those of the targets."""
        some = {f"target_features[{i}]": name for i, name in enumerate(listed(self.target_features))}
        return {**super().inputs(), **some}

    def check(self, inputs: Mapping[str, StepConfig], path: Path) -> None:
        """See that the features are of the same kind, with the same settings."""
        super().check(inputs, path)
        for i, name in enumerate(listed(self.target_features)):
            where = (*path, "target_features")
            mine = inputs[f"target_features[{i}]"]
            _check_kind(mine, name, where)
            different = _differences(inputs["features"].identity(), mine.identity())
            if different:
                raise BadValue(where, _unlike(self.features, name, different))

    def examples(self, job: Job) -> Iterator[Examples]:
        """Every task with the vectors of its examples, by name; an example without a feature is left out.

        Raises:
            ConfigError: the features of the pool and of a target were not made alike, or a task has none.
        """
        stores: list[tuple[Store, Ints, Objects]] = []
        for i, step in enumerate(listed(self.target_features)):
            data = job.inputs[f"target_features[{i}]"]
            different = _differences(job.inputs["features"].manifest.config, data.manifest.config)
            if different:
                raise ConfigError(_unlike(self.features, step, different))
            stores.append(_stand(data, job.inputs[f"targets[{i}]"]))
        for task in self.tasks(job):
            store, at, reasons = stores[task.dataset]
            there = at[task.rows] >= 0
            if not there.any():
                counted = Counter(str(reason) for reason in reasons[task.rows])
                raise ConfigError(
                    f"no example of the task {task.name} has a feature in "
                    f"{listed(self.target_features)[task.dataset]}: "
                    + ", ".join(f"{reason} ({count:,})" for reason, count in sorted(counted.items()))
                )
            rows = task.rows[there]
            yield Examples(Task(task.name, task.dataset, rows, task.ids[there]), store.take(at[rows]))


def listed(steps: str | list[str]) -> list[str]:
    """One or several names of steps as a list."""
    return [steps] if isinstance(steps, str) else list(steps)


def _stand(data: Dataset, target: Dataset) -> tuple[Store, Ints, Objects]:
    """The store of a target's features, where its rows stand there (-1: no feature), and why not."""
    rows = Pool.of([target])
    at = rows.rows_in(data)
    reasons = rows.beside(data, "reason", pa.string())
    reasons[at < 0] = f"absent from {data.manifest.step}"
    at[reasons != None] = -1  # noqa: E711
    return Store.open(data), at, reasons


def _check_kind(config: StepConfig, step: str, path: Path) -> None:
    if not isinstance(config, FeaturesConfig):
        raise BadValue(path, f"the step {step} computes no features; name one of kind features")


def _differences(pool: Mapping[str, Plain], target: Mapping[str, Plain]) -> list[str]:
    """The settings in which two features differ: what each has in words."""
    mine, other = dict(_leaves(pool)), dict(_leaves(target))
    return [
        f"{key} is {mine.get(key, 'absent')} and {other.get(key, 'absent')}"
        for key in sorted(mine.keys() | other.keys())
        if mine.get(key) != other.get(key)
    ]


def _leaves(value: Plain | Mapping[str, Plain], path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key not in _OWN:
                yield from _leaves(each, f"{path}.{key}" if path else key)
    else:
        yield path, str(value) if len(str(value)) <= 40 else f"{str(value)[:12]}..."


def _unlike(pool: str, target: str, different: list[str]) -> str:
    return f"{pool} and {target} were not made alike: {'; '.join(different)}; compute both with the same settings"
