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

import curate.clean.step
import curate.dedup.step
import curate.filter.bucket
import curate.filter.step
import curate.read.step
import curate.release.step
import curate.score.step
import curate.select.features
import curate.select.step
import curate.synthesize.answer
import curate.synthesize.config
import curate.synthesize.gather_step
import curate.synthesize.route_step
import curate.synthesize.step
import curate.synthesize.student_step
import curate.synthesize.weak_labels
import curate.train.step
import curate.verify.calibrate_step
import curate.verify.judge
import curate.verify.step
from curate.config import BadValue, Path, validate
from curate.digest import Plain
from curate.errors import ConfigError, nearest
from curate.filter.bucket import BucketConfig
from curate.generate.access import Access
from curate.read.step import ReadConfig
from curate.step import Job, Result, StepConfig

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
    "read": Kind(curate.read.step.VERSION, functools.partial(validate, ReadConfig), curate.read.step.run),
    "clean": Kind(curate.clean.step.VERSION, curate.clean.step.parse, curate.clean.step.run),
    "score": Kind(curate.score.step.VERSION, curate.score.step.parse, curate.score.step.run),
    "dedup": Kind(curate.dedup.step.VERSION, curate.dedup.step.parse, curate.dedup.step.run),
    "train": Kind(curate.train.step.VERSION, curate.train.step.parse, curate.train.step.run),
    "filter": Kind(curate.filter.step.VERSION, curate.filter.step.parse, curate.filter.step.run),
    "bucket": Kind(curate.filter.bucket.VERSION, functools.partial(validate, BucketConfig), curate.filter.bucket.run),
    "features": Kind(curate.select.features.VERSION, curate.select.features.parse, curate.select.features.run),
    "select": Kind(curate.select.step.VERSION, curate.select.step.parse, curate.select.step.run),
    "answer": Kind(
        curate.synthesize.answer.VERSION,
        functools.partial(validate, curate.synthesize.answer.AnswerConfig),
        curate.synthesize.answer.run,
    ),
    "synthesize": Kind(curate.synthesize.step.VERSION, curate.synthesize.config.parse, ask=curate.synthesize.step.run),
    "route": Kind(
        curate.synthesize.route_step.VERSION,
        functools.partial(validate, curate.synthesize.route_step.RouteConfig),
        curate.synthesize.route_step.run,
    ),
    "student": Kind(
        curate.synthesize.student_step.VERSION,
        functools.partial(validate, curate.synthesize.student_step.StudentConfig),
        curate.synthesize.student_step.run,
    ),
    "weak_labels": Kind(
        curate.synthesize.weak_labels.VERSION,
        functools.partial(validate, curate.synthesize.weak_labels.WeakLabelsConfig),
        curate.synthesize.weak_labels.run,
    ),
    "verify": Kind(curate.verify.step.VERSION, curate.verify.step.parse, curate.verify.step.run),
    "calibrate": Kind(
        curate.verify.calibrate_step.VERSION,
        functools.partial(validate, curate.verify.calibrate_step.CalibrateConfig),
        curate.verify.calibrate_step.run,
    ),
    "judge": Kind(curate.verify.judge.VERSION, curate.verify.judge.parse, ask=curate.verify.judge.run),
    "gather": Kind(
        curate.synthesize.gather_step.VERSION,
        functools.partial(validate, curate.synthesize.gather_step.GatherConfig),
        curate.synthesize.gather_step.run,
    ),
    "release": Kind(curate.release.step.VERSION, curate.release.step.parse, curate.release.step.run),
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
