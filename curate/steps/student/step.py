"""The `student` step: does synthetic data help? Small classifiers learn with and without it, and real rows test them.

    student:
      student:
        test: heldout                # real rows, with `text` and the label column
        train:                       # name of a variant -> what it learns, several datasets one after the other
          seeds: [seeds]
          seeds + synthetic: [seeds, made]
          seeds + verified: [seeds, {rows: made, kept: kept}]

The output has the test rows: `id`, `label`, and for each variant what its first student says. The manifest's details
have a table: of each variant the rows, accuracy and macro-F1 over all seeds with their 95% intervals, and how much
more accurate it is than the first one. A test row that a student could learn by heart is an error. All texts of a
variant are held in memory while its students learn.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import orjson
import pyarrow as pa
from pydantic import Field, model_validator

from curate.core import files
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.errors import ConfigError, RunError, nearest
from curate.core.rows.labelled import Labelled, check_labelled, read_labelled
from curate.core.shards import ShardWriter
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.models.stats import Interval
from curate.steps.student.data import Variant, column_of, datasets_of, learnt, parts_of, role_of, word_keys
from curate.steps.student.student import Kind, Report, difference, evaluate, train_student

VERSION = 2
_SHARD = "part-00000.parquet"


class StudentConfig(StepConfig):
    """Who learns what, and what tests it.

    Attributes:
        test: the real rows, with their attributes: rows with `keep = false` are skipped.
        label: the column of the labels, in all datasets.
        kind: of the students; there is no chance in `logistic`, so one learns of each variant.
        seeds: how many fastText students learn of each variant.
        train: the variants by name; the others are compared with the first.
        sizes: for some variants how many of their rows are learnt, chosen by the hash of the id.
    """

    test: str | list[str]
    label: str = "label"
    kind: Kind = "fasttext"
    seeds: int = Field(5, ge=1)
    train: dict[str, Variant] = Field(min_length=1)
    sizes: dict[str, int] | None = None

    @model_validator(mode="after")
    def _names(self) -> StudentConfig:
        columns: dict[str, str] = {"id": "id", "label": "label"}
        for name, variant in self.train.items():
            column = column_of(name)
            if not column:
                raise ValueError(f"`train` {name!r}: a variant's name has letters or digits, as it names a column")
            if column in columns:
                raise ValueError(f"`train` {name!r}: its column {column!r} is there already; name it otherwise")
            if not parts_of(variant):
                raise ValueError(f"`train` {name!r}: names no dataset")
            columns[column] = name
        for name, size in (self.sizes or {}).items():
            if name not in self.train:
                raise ValueError(f"`sizes` {name!r}: no such variant; {nearest(name, self.train)}")
            if size < 2:
                raise ValueError(f"`sizes` {name!r}: {size} rows teach nothing; ask for more")
        return self

    def inputs(self) -> dict[str, str]:
        """The test rows, and what each variant learns."""
        tests = [self.test] if isinstance(self.test, str) else self.test
        found = {f"test[{i}]": name for i, name in enumerate(tests)}
        for number, variant in enumerate(self.train.values()):
            for i, part in enumerate(parts_of(variant)):
                found.update({role_of(number, i, j): name for j, name in enumerate(part)})
        return found

    def identity(self) -> dict[str, Plain]:
        """Everything but the names of the inputs; the variants by name in order."""
        variants: list[Plain] = [*self.train]
        return {**self.model_dump(mode="json", exclude={"test", "train"}), "train": variants}

    @property
    def students(self) -> int:
        """How many learn of each variant."""
        return 1 if self.kind == "logistic" else self.seeds


def run(job: Job, config: StudentConfig) -> Result:
    """Train every student on the workers, then compare what they say.

    Raises:
        ConfigError: a dataset has no texts or labels, or there are too few rows to learn from.
        RunError: test rows stand in what a variant learns, or a student is missing.
    """
    tests = [data for role, data in job.inputs.items() if role.startswith("test[")]
    check_labelled(tests, config.label)
    test = list(read_labelled(tests, config.label))
    if not test:
        raise RunError(f"step {job.step.name}: no test row has a text and a label; name others in `test`")
    variants = {
        name: _Variant(number, name, tuple(datasets_of(job.inputs, number, variant)), (config.sizes or {}).get(name))
        for number, (name, variant) in enumerate(config.train.items())
    }
    rows = {name: _check(job, each, test, config.label) for name, each in variants.items()}
    tasks = [
        _Task(f"{each.number:03d}-{seed:03d}", 0, each, seed)
        for each in variants.values()
        for seed in range(config.students)
    ]
    job.map("train", functools.partial(_Train, config, tuple(tests), job.scratch), tasks)
    if job.failed:
        raise RunError(f"step {job.step.name}: {len(job.failed)} students were not trained; mend that and run it again")
    said: dict[str, list[_Said]] = {name: [] for name in variants}
    for task in tasks:
        answers: list[str] = orjson.loads(files.read_bytes(files.join(job.scratch, f"{task.name}.said.json")))
        said[task.variant.name].append(_Said(answers))
    given = sum(data.rows for data in tests if "text" in data.schema().names or "messages" in data.schema().names)
    receipt = _write(job, test, {column_of(name): each[0].labels for name, each in said.items()}, given)
    return Result([receipt], {"students": config.students, "test_rows": len(test), "table": _table(said, rows, test)})


@dataclass(frozen=True)
class _Variant:
    """What is learnt: the datasets in order, and how many rows of them."""

    number: int
    name: str
    datasets: tuple[Dataset, ...]
    size: int | None

    def rows(self, label: str) -> list[Labelled]:
        try:
            return learnt(self.datasets, label, self.size)
        except ConfigError as error:
            raise ConfigError(f"variant {self.name!r}: {error}") from None


def _check(job: Job, variant: _Variant, test: Sequence[Labelled], label: str) -> int:
    """See that a variant can be learnt and shares no row with the test; how many rows it has."""
    rows = variant.rows(label)
    where = f"step {job.step.name}, variant {variant.name!r}"
    labels = {row.label for row in rows}
    if len(labels) < 2:
        raise RunError(
            f"{where}: a student needs two labels at least; the {len(rows)} rows have {len(labels)}; give it more rows"
        )
    known = {key for key in word_keys(rows) if key is not None}
    leaked = [row for row, key in zip(test, word_keys(test), strict=True) if key in known]
    if leaked:
        raise RunError(
            f"{where}: {len(leaked)} of the {len(test)} test rows stand in what it learns, such as {leaked[0].id}:"
            f" {leaked[0].text[:60]!r}; leave them out, with `verify: {{near: {{to: ...}}}}` and a filter"
        )
    return len(rows)


@dataclass(frozen=True)
class _Task:
    name: str
    rows: int
    variant: _Variant
    seed: int


class _Train:
    """Trains one student and stores what it says of the test rows."""

    def __init__(self, config: StudentConfig, tests: tuple[Dataset, ...], scratch: str) -> None:
        self._config, self._scratch = config, scratch
        self._test = [row.text for row in read_labelled(tests, config.label)]

    def __call__(self, task: _Task) -> Receipt:
        rows = task.variant.rows(self._config.label)
        texts, labels = [row.text for row in rows], [row.label for row in rows]
        student = train_student(texts, labels, seed=task.seed, kind=self._config.kind)
        with files.atomic_output(files.join(self._scratch, f"{task.name}.said.json")) as out:
            out.write(orjson.dumps(student.predict(self._test)))
        return Receipt(task.name, len(rows))


@dataclass(frozen=True)
class _Said:
    """A student of which only the answers are left."""

    labels: list[str]

    def predict(self, texts: Sequence[str]) -> list[str]:
        return self.labels


def _write(job: Job, test: Sequence[Labelled], said: Mapping[str, Sequence[str]], given: int) -> Receipt:
    """The one shard; test rows that have no text or label, or that are not kept, count as dropped."""
    columns = {"id": [row.id for row in test], "label": [row.label for row in test], **said}
    schema = pa.schema([(name, pa.string()) for name in columns])
    arrays = [pa.array(values, pa.string()) for values in columns.values()]
    with ShardWriter(files.join(job.folder, _SHARD), schema) as writer:
        writer.write(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return Receipt(_SHARD, given, (writer.shard,), dropped=given - len(test))


def _table(said: Mapping[str, Sequence[_Said]], rows: Mapping[str, int], test: Sequence[Labelled]) -> list[Plain]:
    """A line for each variant."""
    texts, truth = [row.text for row in test], [row.label for row in test]
    first = next(iter(said))
    table: list[Plain] = []
    for name, students in said.items():
        report: Report = evaluate(students, texts, truth)
        gain = None if name == first else _plain(difference(students, said[first], texts, truth))
        table.append(
            {
                "variant": name,
                "rows": rows[name],
                "accuracy": report.accuracy.value,
                "low": report.accuracy.low,
                "high": report.accuracy.high,
                "macro_f1": _plain(report.macro_f1),
                "gain": gain,
            }
        )
    return table


def _plain(interval: Interval) -> Plain:
    return {name: float(value) for name, value in asdict(interval).items()}
