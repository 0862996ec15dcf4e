"""The pipeline of a config: what a run would do, and running it.

pipeline = Pipeline.load("configs/pretrain.yaml")
pipeline.run(root="runs", engine=LocalEngine(), resources=Resources(), progress=Progress())
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import yaml

from curate.core import bits, files
from curate.core.config import BadValue, Document, check_whole_numbers, load
from curate.core.dataset import MANIFEST, Dataset
from curate.core.digest import Plain
from curate.core.engine import Engine, Resources
from curate.core.errors import ConfigError, nearest
from curate.core.fingerprints import Fingerprints
from curate.core.lock import lock
from curate.core.step import Job, Result, Step, StepConfig, count_receipts, execute
from curate.generate.endpoints import KEYS, Endpoints, read_endpoints
from curate.kinds import KINDS, Kind, Node, build, override

if TYPE_CHECKING:
    from curate.core.progress import Progress
    from curate.steps.synthesize.estimate import Estimate

RESOLVED = "config.yaml"
RECORD = "run.json"
REPORT = "report.html"
LEDGER = "ledger"
_KEYS = ("name", "steps", *KEYS)
_NO_MODEL = (
    "{!r} is neither a file nor a step that trains a model, nor the folder of one"
    " (download a model of the Hub first: `hf download`)"
)


@dataclass(frozen=True)
class Planned:
    """One line of a plan: a step, its digest when that is known before the run, and whether it is done.

    `cost` is what it will ask of models, where that is known.
    """

    node: Node
    digest: str | None
    done: bool
    rows: int | None
    needs: tuple[str, ...]
    cost: Estimate | None = None


@dataclass
class Pipeline:
    """The steps of a config in an order in which they can run."""

    name: str
    document: Document
    nodes: list[Node]
    endpoints: Endpoints
    _listings: dict[str, list[Plain]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str, overrides: Sequence[str] = ()) -> Pipeline:
        """Read and check a config; nothing runs.

        Args:
            path: the YAML file.
            overrides: `steps.kept.filter.rules.0.at_least=60`, each value read as YAML.

        Raises:
            ConfigError: with file, line, the path of the key, what was expected and the nearest valid name.
        """
        document = load(path)
        for each in overrides:
            override(document.data, each)
        return cls.of(document)

    @classmethod
    def of(cls, document: Document) -> Pipeline:
        """`load` for a document that is at hand."""
        try:
            return cls._checked(document)
        except BadValue as error:
            raise document.locate(error) from None

    @classmethod
    def _checked(cls, document: Document) -> Pipeline:
        data = document.data
        for key in data:
            if key not in _KEYS:
                raise BadValue((key,), f"no such key; {nearest(key, _KEYS)}")
        name, steps = data.get("name"), data.get("steps")
        if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
            raise BadValue(("name",), "the pipeline needs a name that can be a folder's")
        if not isinstance(steps, dict) or not steps:
            raise BadValue(("steps",), "the pipeline needs steps, each a name and one kind")
        check_whole_numbers(data)
        endpoints, nodes = read_endpoints(data), build(steps)
        for node in nodes:
            for key, endpoint in node.config.endpoints().items():
                if endpoint not in endpoints.by_name:
                    message = f"no endpoint {endpoint!r} under `endpoints:`; {nearest(endpoint, endpoints.by_name)}"
                    raise BadValue((*node.path, *key.split(".")), message)
        return cls(name, document, nodes, endpoints)

    def folder(self, root: str) -> str:
        """The folder of this pipeline's runs under `root`."""
        return files.join(files.absolute(root), self.name)

    def plan(self, folder: str) -> list[Planned]:
        """What a run in this folder would do: every step, its digest, and whether its output is there."""
        self.check(folder)
        known = Fingerprints(folder)
        done: dict[str, Dataset] = {}
        planned: list[Planned] = []
        for node in self.nodes:
            needs = tuple(dict.fromkeys([*node.config.inputs().values(), *self._trained(node).values()]))
            step = self._step(node, done, known) if all(name in done for name in needs) else None
            rows = None
            if step is not None and files.exists(files.join(step.folder(folder), MANIFEST)):
                done[node.name] = Dataset.open(step.folder(folder))
                rows = done[node.name].rows
            cost = None
            estimate = KINDS[node.kind].estimate
            if step is not None and node.name not in done and estimate is not None:
                cost = estimate(node.config, step.inputs, step.models, self.endpoints)
            planned.append(Planned(node, step.digest if step else None, node.name in done, rows, needs, cost))
        return planned

    def run(
        self, root: str, engine: Engine, resources: Resources, progress: Progress, *, replay: bool = False
    ) -> dict[str, Dataset]:
        """Run what is not done yet and write the report; the outputs of all steps by name.

        Args:
            root: where runs are kept.
            engine: where the work is done.
            resources: what it may use.
            progress: what a person sees.
            replay: whether models are not asked, whatever is missing: the ledgers have their answers.

        Raises:
            CurateError: what is wrong and what to do; what was done is kept.
        """
        bits.check(resources.bits)
        folder = self.folder(root)
        files.make_folder(folder)
        done: dict[str, Dataset] = {}
        computed: set[bits.Bits] = set()
        record: list[dict[str, str]] = [{"step": node.name, "kind": node.kind, "folder": ""} for node in self.nodes]
        if not replay:
            try:
                self.endpoints.check_keys(
                    sorted({name for node in self.nodes for name in node.config.endpoints().values()})
                )
            except BadValue as error:
                raise self.document.locate(error) from None
        with lock(folder):
            self.check(folder)
            known = Fingerprints(folder)
            with files.atomic_output(files.join(folder, RESOLVED)) as out:
                out.write(yaml.safe_dump(self.document.data, sort_keys=False, allow_unicode=True).encode())
            for node, line in zip(self.nodes, record, strict=True):
                step = self._step(node, done, known, _Asking(folder, replay, engine))
                line["folder"] = os.path.basename(step.folder(folder))
                with files.atomic_output(files.join(folder, RECORD)) as out:
                    out.write(orjson.dumps(record, option=orjson.OPT_INDENT_2))
                started = time.monotonic()
                there = files.exists(files.join(step.folder(folder), MANIFEST))
                try:
                    done[node.name] = execute(step, folder, engine, resources, progress, computed)
                except BadValue as error:
                    raise self.document.locate(error) from None
                progress.line(_step_line(done[node.name], there, time.monotonic() - started))
            write_report(folder, done)
        return done

    def _trained(self, node: Node) -> dict[str, str]:
        """The models of a step that other steps train: key -> name of the step."""
        trainers = {each.name for each in self.nodes if each.kind == "train"}
        return {key: value for key, value in node.config.models().items() if value in trainers}

    def check(self, folder: str) -> None:
        """See that everything is there which the steps read from outside, before any of them runs.

        Raises:
            ConfigError: an input or a model file is missing.
        """
        known = Fingerprints(folder)
        for node in self.nodes:
            trained = self._trained(node)
            for key, value in node.config.models().items():
                if key not in trained and not files.exists(value):
                    where = (*node.path, *key.split("."))
                    error = BadValue(where, _NO_MODEL.format(value))
                    raise self.document.locate(error)
            self._listing(node, known)

    def _step(
        self, node: Node, done: Mapping[str, Dataset], known: Fingerprints, asking: _Asking | None = None
    ) -> Step:
        models: dict[str, str] = {}
        hashes: dict[str, Plain] = {}
        trained = self._trained(node)
        for key, value in node.config.models().items():
            if key in trained:
                dataset = done[value]
                model = str(dataset.manifest.details["model"])
                models[key], hashes[key] = files.join(dataset.folder, model), dataset.manifest.hash_of(model)
            else:
                models[key] = files.absolute(value)
                # What lies beside a model (its normaliser) is part of it.
                parts = [models[key], *(card for card in [f"{models[key]}.json"] if files.exists(card))]
                hashes[key] = "+".join(known.of(part) for part in parts)
        config = node.config.identity()
        if hashes:
            config["models"] = hashes
        listing = self._listing(node, known)
        if listing is not None:
            config["files"] = listing
        endpoints = sorted(set(node.config.endpoints().values()))
        if endpoints:
            config["endpoints"] = {name: self.endpoints.by_name[name].identity() for name in endpoints}
        known.save()
        kind = KINDS[node.kind]
        return Step(
            name=node.name,
            kind=node.kind,
            version=kind.version,
            config=config,
            inputs={role: done[name] for role, name in node.config.inputs().items()},
            models=models,
            run=functools.partial(_run, kind, node.config, self.endpoints, asking),
        )

    def _listing(self, node: Node, known: Fingerprints) -> list[Plain] | None:
        """Name, size and content of every file from outside: where they lie bears no identity, what they hold does."""
        if node.name not in self._listings:
            try:
                found = node.config.list_files()
            except ConfigError as error:
                raise self.document.locate(BadValue((*node.path, "path"), str(error))) from None
            if found is None:
                return None
            self._listings[node.name] = [[file.name, file.size, known.of(file.url, file.stamp)] for file in found]
            known.save()
        return self._listings[node.name]


def write_report(folder: str, outputs: Mapping[str, Dataset]) -> str:
    """Write the report of a run into its folder; where it lies."""
    from curate.report.build import build_report  # its templates take long to import

    path = files.join(folder, REPORT)
    name = folder.rstrip("/").rsplit("/", 1)[-1]
    with files.atomic_output(path) as out:
        out.write(build_report(name, outputs).encode())
    return path


@dataclass(frozen=True)
class Progressed:
    """One step of a run as its folder shows it: its dataset when it is done, else how many tasks are."""

    step: str
    kind: str
    dataset: Dataset | None
    tasks: int


def look(run: str) -> list[Progressed]:
    """How far the run in a folder is; its inputs are not needed for it.

    Raises:
        ConfigError: no run is there.
    """
    path = files.join(run, RECORD)
    if not files.exists(path):
        hint = " (this is one dataset; name the folder above it)" if files.exists(files.join(run, MANIFEST)) else ""
        raise ConfigError(f"{run}: holds no {RECORD}, so it is not the folder of a run{hint}")
    found: list[Progressed] = []
    for line in orjson.loads(files.read_bytes(path)):
        folder = files.join(run, line["folder"]) if line["folder"] else ""
        done = bool(folder) and files.exists(files.join(folder, MANIFEST))
        tasks = 0 if done or not folder else count_receipts(folder)
        found.append(Progressed(line["step"], line["kind"], Dataset.open(folder) if done else None, tasks))
    return found


def open_run(run: str) -> dict[str, Dataset]:
    """The finished outputs of a run by the names of their steps, in the order in which they ran.

    Raises:
        ConfigError: no run is there.
    """
    return {each.step: each.dataset for each in look(run) if each.dataset is not None}


@dataclass(frozen=True)
class _Asking:
    """How models are asked in a run: its folder, whether they are at all, and where the workers are."""

    folder: str
    replay: bool
    engine: Engine


def _run(kind: Kind, config: StepConfig, endpoints: Endpoints, asking: _Asking | None, job: Job) -> Result:
    if kind.run is not None:
        return kind.run(job, config)
    from curate.generate.access import open_access, reported_so_far

    assert kind.ask is not None and asking is not None
    folder = files.join(asking.folder, LEDGER)
    with (
        open_access(endpoints, folder, replay=asking.replay, host=asking.engine.host) as access,
        job.watch(functools.partial(reported_so_far, folder, job.step.name)),
    ):
        return kind.ask(job, config, access)


def _step_line(dataset: Dataset, there: bool, seconds: float) -> str:
    manifest = dataset.manifest
    model = manifest.details.get("model")
    parts = [f"{model:>15}" if model else f"{manifest.rows:>10,} rows"]
    if manifest.quarantined:
        parts.append(f"{manifest.quarantined:,} quarantined")
    if manifest.failed:
        parts.append(f"{len(manifest.failed)} shards given up")
    for what in ("refused", "rejected", "failed"):
        rows = sum(rows for name, rows in manifest.counts.items() if name.startswith(f"{what}:"))
        if rows:
            parts.append(f"{rows:,} {what}")
    if "kept" in manifest.counts:
        parts.append(f"{manifest.counts['kept']:,} kept")
    parts.append("already done" if there else f"{seconds:.1f} s")
    return f"{manifest.step:<12} {manifest.kind:<11} {' · '.join(parts)}"
