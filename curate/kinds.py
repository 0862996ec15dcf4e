"""The table of step kinds, and the graph of steps that a config describes.

nodes = build({"docs": {"read": {"path": "data/"}}})
nodes[0].name, nodes[0].kind
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

import yaml

from curate.core.config import BadValue, Path, validate
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.errors import ConfigError, nearest
from curate.core.step import Job, Result, StepConfig
from curate.generate.endpoints import Endpoints

if TYPE_CHECKING:
    from curate.generate.access import Access
    from curate.steps.synthesize.estimate import Estimate


@dataclass(frozen=True)
class Kind:
    """A kind of step, by its module, which is imported when a config names the kind.

    The module has the `VERSION` of its code and what the step does: `run`, or `ask` if it asks models. Its config is
    what that function takes, read by `parse` where values of the right types are not all that it needs. What models
    would cost is for `estimate` to say, if it is there. Each takes the config that its own module parsed, which a
    table cannot say.
    """

    module: str

    @property
    def version(self) -> int:
        """Of its code, as it enters digests."""
        version: int = self._module.VERSION
        return version

    @property
    def parse(self) -> Callable[[Plain, Path], StepConfig]:
        """How its config is read."""
        return self._has("parse") or functools.partial(validate, get_type_hints(self.run or self.ask)["config"])

    @property
    def run(self) -> Callable[[Job, Any], Result] | None:
        """What it does."""
        run: Callable[[Job, Any], Result] | None = self._has("run")
        return run

    @property
    def ask(self) -> Callable[[Job, Any, Access], Result] | None:
        """What it does if it asks models."""
        ask: Callable[[Job, Any, Access], Result] | None = self._has("ask")
        return ask

    @property
    def estimate(self) -> Callable[[Any, Mapping[str, Dataset], Mapping[str, str], Endpoints], Estimate] | None:
        """What it will ask of models, before it does."""
        estimate: Callable[[Any, Mapping[str, Dataset], Mapping[str, str], Endpoints], Estimate] | None
        estimate = self._has("estimate")
        return estimate

    @property
    def _module(self) -> ModuleType:
        return importlib.import_module(self.module)

    def _has(self, name: str) -> Any:
        return getattr(self._module, name, None)


KINDS = {
    "read": Kind("curate.steps.read.step"),
    "clean": Kind("curate.steps.clean.step"),
    "score": Kind("curate.steps.score.step"),
    "dedup": Kind("curate.steps.dedup.step"),
    "train": Kind("curate.steps.train.step"),
    "filter": Kind("curate.steps.filter.step"),
    "bucket": Kind("curate.steps.filter.bucket"),
    "features": Kind("curate.steps.select.features"),
    "select": Kind("curate.steps.select.step"),
    "answer": Kind("curate.steps.answer.step"),
    "synthesize": Kind("curate.steps.synthesize.step"),
    "route": Kind("curate.steps.route.step"),
    "student": Kind("curate.steps.student.step"),
    "weak_labels": Kind("curate.steps.weak.step"),
    "verify": Kind("curate.steps.verify.step"),
    "calibrate": Kind("curate.steps.verify.calibrate_step"),
    "judge": Kind("curate.steps.verify.judge"),
    "gather": Kind("curate.steps.synthesize.gather_step"),
    "release": Kind("curate.steps.release.step"),
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
