"""A small run from reading to release, by the project's own steps in this process."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import curate.steps.dedup.step
import curate.steps.filter.step
import curate.steps.read.step
import curate.steps.release.step
from curate.core.config import validate
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.engine import Engine, Resources
from curate.core.engine.local import LocalEngine
from curate.core.map_shard import MapShard, shard_tasks
from curate.core.progress import Progress
from curate.core.step import Job, Result, Step, execute
from curate.steps.read.step import ReadConfig

HOSTILE = '<script>alert("x")</script> & <img src=x onerror=alert(1)> ' + "a long enough tail of words " * 12


def texts(count: int = 60) -> list[str]:
    """Documents of growing length; every tenth is a copy of an earlier one, one is hostile markup."""
    made = [f"Document {i} says: " + "plain words in a row, " * (i % 17 + 1) for i in range(count)]
    made[9::10] = [made[i - 5] for i in range(9, count, 10)]
    made[6] = HOSTILE
    return made


def write_inputs(folder: Path, documents: Sequence[str], files: int = 3) -> Path:
    """JSON lines in several files, the last of which has a line that is no JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(files):
        rows = [{"text": text, "site": f"site-{n % 4}"} for n, text in enumerate(documents) if n % files == i]
        lines = [json.dumps(row) for row in rows] + (['{"text": broken'] if i == files - 1 else [])
        (folder / f"in-{i}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def measure(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The length of a text and a share of it; raises for the text of document 30."""
    text = batch.column("text")
    if pc.any(pc.starts_with(text, "Document 30 ")).as_py():
        raise ValueError("cannot measure this one")
    length = pc.utf8_length(text)
    share = pc.divide(pc.cast(length, pa.float64()), 500.0)
    return pa.record_batch({"id": batch.column("id"), "length": pc.cast(length, pa.int64()), "share": share})


def run_measure(job: Job) -> Result:
    make = functools.partial(functools.partial, MapShard(measure, job.step.name, job.folder, ["id", "text", "source"]))
    return Result(job.map("", make, shard_tasks(job.inputs["from"])))


class Small:
    """Runs steps under one root, one after the other."""

    def __init__(self, root: Path) -> None:
        self.root, self.workers = root, 1
        self.engine: Engine = LocalEngine()
        self.done: dict[str, Dataset] = {}

    def _run(
        self,
        name: str,
        kind: str,
        config: Mapping[str, Plain],
        inputs: Mapping[str, str],
        run: Callable[[Job], Result],
    ) -> Dataset:
        given = {role: self.done[step] for role, step in inputs.items()}
        step = Step(name, kind, 1, config, given, {}, run)
        self.done[name] = execute(step, str(self.root), self.engine, Resources(workers=self.workers), Progress("quiet"))
        return self.done[name]

    def read(self, folder: Path, shard_bytes: int = 1500) -> Dataset:
        config = validate(ReadConfig, {"path": str(folder), "shard_bytes": shard_bytes}, ())
        return self._run(
            "docs", "read", config.identity(), {}, functools.partial(curate.steps.read.step.run, config=config)
        )

    def score(self) -> Dataset:
        return self._run("scores", "score", {}, {"from": "docs"}, run_measure)

    def dedup(self) -> Dataset:
        config = curate.steps.dedup.step.parse({"from": "docs", "exact": None}, ())
        run = functools.partial(curate.steps.dedup.step.run, config=config)
        return self._run("dups", "dedup", config.identity(), config.inputs(), run)

    def filter(self, rules: list[Plain]) -> Dataset:
        config = curate.steps.filter.step.parse({"from": ["scores", "dups"], "rules": rules}, ())
        run = functools.partial(curate.steps.filter.step.run, config=config)
        return self._run("kept", "filter", config.identity(), config.inputs(), run)

    def release(self, name: str = "out", **config: Plain) -> Dataset:
        given = {"from": ["docs", "scores", "kept"], "license": "cc-by-4.0", **config}
        parsed = curate.steps.release.step.parse(given, ("steps", name, "release"))
        run = functools.partial(curate.steps.release.step.run, config=parsed)
        return self._run(name, "release", parsed.identity(), parsed.inputs(), run)


RULES: list[Plain] = [
    {"column": "length", "at_least": 100, "name": "too-short"},
    {"column": "share", "below": {"quantile": 0.9}},
]


def small_run(root: Path, inputs: Path, rules: list[Plain] = RULES) -> Small:
    """Everything before the release."""
    small = Small(root)
    small.read(inputs)
    small.score()
    small.dedup()
    small.filter(rules)
    return small
