"""The table of step kinds, and the graph of steps that a config describes.

nodes = build({"docs": {"read": {"path": "data/"}}})
nodes[0].name, nodes[0].kind
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import yaml

import curate.steps.answer.step
import curate.steps.clean.step
import curate.steps.dedup.step
import curate.steps.filter.bucket
import curate.steps.filter.step
import curate.steps.read.step
import curate.steps.release.step
import curate.steps.route.step
import curate.steps.score.step
import curate.steps.select.features
import curate.steps.select.step
import curate.steps.student.step
import curate.steps.synthesize.config
import curate.steps.synthesize.gather_step
import curate.steps.synthesize.step
import curate.steps.train.step
import curate.steps.verify.calibrate_step
import curate.steps.verify.judge
import curate.steps.verify.step
import curate.steps.weak.step
from curate.core.config import BadValue, Path, validate
from curate.core.digest import Plain
from curate.core.errors import ConfigError, nearest
from curate.core.step import Job, Result, StepConfig
from curate.generate.access import Access
from curate.steps.filter.bucket import BucketConfig
from curate.steps.read.step import ReadConfig

C = TypeVar("C", bound=StepConfig)


@dataclass(frozen=True)
class Kind(Generic[C]):
    """A kind of step: the version of its code, how its config is read, and what it does; `ask` if it asks models."""

    version: int
    parse: Callable[[Plain, Path], C]
    run: Callable[[Job, C], Result] | None = None
    ask: Callable[[Job, C, Access], Result] | None = None


# Each kind takes the config that it parsed itself, which a table cannot say.
KINDS: dict[str, Kind[Any]] = {
    "read": Kind(curate.steps.read.step.VERSION, functools.partial(validate, ReadConfig), curate.steps.read.step.run),
    "clean": Kind(curate.steps.clean.step.VERSION, curate.steps.clean.step.parse, curate.steps.clean.step.run),
    "score": Kind(curate.steps.score.step.VERSION, curate.steps.score.step.parse, curate.steps.score.step.run),
    "dedup": Kind(curate.steps.dedup.step.VERSION, curate.steps.dedup.step.parse, curate.steps.dedup.step.run),
    "train": Kind(curate.steps.train.step.VERSION, curate.steps.train.step.parse, curate.steps.train.step.run),
    "filter": Kind(curate.steps.filter.step.VERSION, curate.steps.filter.step.parse, curate.steps.filter.step.run),
    "bucket": Kind(
        curate.steps.filter.bucket.VERSION, functools.partial(validate, BucketConfig), curate.steps.filter.bucket.run
    ),
    "features": Kind(
        curate.steps.select.features.VERSION, curate.steps.select.features.parse, curate.steps.select.features.run
    ),
    "select": Kind(curate.steps.select.step.VERSION, curate.steps.select.step.parse, curate.steps.select.step.run),
    "answer": Kind(
        curate.steps.answer.step.VERSION,
        functools.partial(validate, curate.steps.answer.step.AnswerConfig),
        curate.steps.answer.step.run,
    ),
    "synthesize": Kind(
        curate.steps.synthesize.step.VERSION, curate.steps.synthesize.config.parse, ask=curate.steps.synthesize.step.run
    ),
    "route": Kind(
        curate.steps.route.step.VERSION,
        functools.partial(validate, curate.steps.route.step.RouteConfig),
        curate.steps.route.step.run,
    ),
    "student": Kind(
        curate.steps.student.step.VERSION,
        functools.partial(validate, curate.steps.student.step.StudentConfig),
        curate.steps.student.step.run,
    ),
    "weak_labels": Kind(
        curate.steps.weak.step.VERSION,
        functools.partial(validate, curate.steps.weak.step.WeakLabelsConfig),
        curate.steps.weak.step.run,
    ),
    "verify": Kind(curate.steps.verify.step.VERSION, curate.steps.verify.step.parse, curate.steps.verify.step.run),
    "calibrate": Kind(
        curate.steps.verify.calibrate_step.VERSION,
        functools.partial(validate, curate.steps.verify.calibrate_step.CalibrateConfig),
        curate.steps.verify.calibrate_step.run,
    ),
    "judge": Kind(
        curate.steps.verify.judge.VERSION, curate.steps.verify.judge.parse, ask=curate.steps.verify.judge.run
    ),
    "gather": Kind(
        curate.steps.synthesize.gather_step.VERSION,
        functools.partial(validate, curate.steps.synthesize.gather_step.GatherConfig),
        curate.steps.synthesize.gather_step.run,
    ),
    "release": Kind(curate.steps.release.step.VERSION, curate.steps.release.step.parse, curate.steps.release.step.run),
}


@dataclass(frozen=True)
class Node:
    """One step as the config has it."""

    name: str
    kind: str
    config: StepConfig
    path: Path


def build(steps: Mapping[str, Plain]) -> list[Node]:
    """The steps of a config, each after what it reads.

    Raises:
        BadValue: an unknown kind, key, step or value, or a circle.
    """
    nodes = {name: _node(name, value) for name, value in steps.items()}
    ordered = _order(nodes)
    for node in ordered:
        node.config.check({role: nodes[name].config for role, name in node.config.inputs().items()}, node.path)
    return ordered


def override(data: dict[str, Plain], override: str) -> None:
    """Set one value of a config in place, as `steps.docs.read.path=data/` says.

    Raises:
        ConfigError: the text is not KEY=VALUE, or the key leads nowhere.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: write KEY=VALUE, as in --set steps.docs.read.path=data/*.jsonl")
    try:
        value: Plain = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from None
    parts = key.split(".")
    here: Plain = data
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(here, dict):
            if last:
                here[part] = value
            elif part not in here:
                raise ConfigError(f"--set {override}: no key {'.'.join(parts[: i + 1])!r}; {nearest(part, here)}")
            else:
                if here[part] is None:
                    here[part] = {}
                here = here[part]
        elif isinstance(here, list) and part.isdigit() and int(part) < len(here):
            if last:
                here[int(part)] = value
            else:
                here = here[int(part)]
        else:
            raise ConfigError(f"--set {override}: {'.'.join(parts[:i])} has no item {part!r}")


def _node(name: str, value: Plain) -> Node:
    path: Path = ("steps", name)
    if not name.replace("-", "").replace("_", "").isalnum():
        raise BadValue(path, "a step's name is letters, digits, - and _, as it names a folder")
    if not isinstance(value, dict) or len(value) != 1:
        raise BadValue(path, f"a step is one kind and its config, as in `{name}: {{read: {{path: data/}}}}`")
    ((kind, config),) = value.items()
    if kind not in KINDS:
        raise BadValue((*path, kind), f"no step kind {kind!r}; {nearest(kind, KINDS)}")
    return Node(name, kind, KINDS[kind].parse(config, (*path, kind)), (*path, kind))


def _order(nodes: Mapping[str, Node]) -> list[Node]:
    """The steps so that each comes after what it reads, otherwise in the order of the config."""
    ordered: list[Node] = []
    state: dict[str, str] = {}

    def visit(node: Node, trail: tuple[str, ...]) -> None:
        if state.get(node.name) == "done":
            return
        if node.name in trail:
            circle = " -> ".join([*trail[trail.index(node.name) :], node.name])
            raise BadValue(node.path, f"the steps read one another in a circle: {circle}")
        for role, wanted in _needed(node, nodes):
            if wanted not in nodes:
                raise BadValue((*node.path, role), f"no step {wanted!r}; {nearest(wanted, nodes)}")
            visit(nodes[wanted], (*trail, node.name))
        state[node.name] = "done"
        ordered.append(node)

    for node in nodes.values():
        visit(node, ())
    return ordered


def _needed(node: Node, nodes: Mapping[str, Node]) -> Iterator[tuple[str, str]]:
    for role, name in node.config.inputs().items():
        yield role.split("[")[0], name
    for key, value in node.config.models().items():
        if value in nodes and nodes[value].kind == "train":
            yield key.split(".")[0], value
