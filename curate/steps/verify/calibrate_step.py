"""The `calibrate` step: keep what scores above a threshold that is shown to give the precision that is wanted.

    rated:  {judge: {from: [made, sample], model: large, rubric: "Is the answer right?", answer: text}}
    safe:   {calibrate: {from: [checks, rated], score: entailment_score, good: {column: score, at_least: 4},
                         precision: 0.9, delta: 0.05}}

Some rows have a label, from a judge or from a person: `good` says when it is a good one, null is no label. With
probability 1 - `delta` more than `precision` of the kept rows are good, **if the labelled rows are a uniform sample of
all**, as a filter with `sample` draws one: rows that were chosen otherwise, such as the doubtful ones, show nothing
about the rest. The filter that drew the sample does not stand in `from`, or nothing else could be kept. See
`curate.steps.verify.calibration` for why it holds, and what it does not hold for.

Columns: `keep`, `reason` (`below-threshold`; `no-score`; `not-calibrated` for all when no threshold holds, so that
nothing is kept). Datasets of `from` with `keep` come first: rows with `keep = false` are skipped; the guarantee is then
for the rows that they keep.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curate.core import files
from curate.core.config import Model
from curate.core.dataset import Dataset, align
from curate.core.digest import Plain
from curate.core.errors import ConfigError, RunError, nearest
from curate.core.map_shard import ShardTask, shard_tasks
from curate.core.shards import ShardWriter
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.steps.verify.calibration import Bools, Calibrated, Floats, calibrate, candidates, sample_size

VERSION = 2
BELOW, NO_SCORE, NOT_CALIBRATED = "below-threshold", "no-score", "not-calibrated"
DROPPED = "dropped"  # by a dataset with `keep` that gives no reason
_SCHEMA = pa.schema([("id", pa.string()), ("keep", pa.bool_()), ("reason", pa.string())])
_DECIMALS = 6


class Good(Model):
    """When a label says that a row is good; null is no label.

    Attributes:
        column: the labels.
        at_least: a number from which on it is.
        equals: the one value that is.
    """

    column: str
    at_least: float | None = None
    equals: str | bool | int | None = None

    @model_validator(mode="after")
    def _one(self) -> Good:
        if (self.at_least is None) == (self.equals is None):
            raise ValueError("`good` has one of `at_least` and `equals`")
        return self


class CalibrateConfig(StepConfig):
    """Which score, which labels, and what is wanted.

    Attributes:
        source: datasets side by side, the first with every row; of a column that several have the last one's counts.
        score: what the threshold is for.
        good: which labels are good.
        precision: of the kept rows more than this part is good.
        delta: the chance that it is not.
        higher: whether high scores are good ones.
    """

    source: str | list[str] = Field(alias="from")
    score: str
    good: Good
    precision: float = Field(0.9, gt=0, lt=1)
    delta: float = Field(0.05, gt=0, le=0.25)
    higher: bool = True

    @model_validator(mode="after")
    def _differ(self) -> CalibrateConfig:
        if self.precision < self.delta:
            raise ValueError(f"a `precision` of {self.precision} is below `delta`, {self.delta}; raise it")
        if self.score == self.good.column:
            raise ValueError(f"`score` and the labels are one column, {self.score!r}; rename one or name another")
        return self

    def inputs(self) -> dict[str, str]:
        """The datasets whose columns are named."""
        names = [self.source] if isinstance(self.source, str) else self.source
        return {f"from[{i}]": name for i, name in enumerate(names)}

    def identity(self) -> dict[str, Plain]:
        """Everything but the names of the inputs."""
        return self.model_dump(mode="json", exclude={"source"})


def run(job: Job, config: CalibrateConfig) -> Result:
    """Find the threshold by the labelled rows, then judge every row.

    Raises:
        ConfigError: a column is not there, or of another type.
        RunError: no row has both a score and a label.
    """
    reader = _Reader(tuple(job.inputs.values()), config)
    tasks = shard_tasks(reader.datasets[0])
    parts = [reader.read(task.name) for task in tasks]
    scores = np.concatenate([np.zeros(0), *(part.scores[part.open] for part in parts)])
    labels = np.concatenate([np.zeros(0), *(part.good[part.open] for part in parts)])
    sample = ~np.isnan(labels)
    if not sample.any():
        raise RunError(
            f"step {job.step.name}: no row has both a score in {config.score!r} and a label in {config.good.column!r};"
            " label a uniform sample of the rows"
        )
    good = labels[sample] == 1
    tried = candidates(scores, labels=len(good), target=config.precision, delta=config.delta)
    found = calibrate(scores[sample], good, target=config.precision, delta=config.delta, candidates=tried)
    make = functools.partial(_Judge, reader, None if found is None else found.threshold, job.folder)
    return Result(job.map("", make, tasks), _details(config, scores, scores[sample], good, found))


@dataclass(frozen=True)
class _Part:
    """The rows of one shard: scores, where higher is better, and whether each is good; NaN where there is none.

    `reasons` say why a row is out already, null for those that are not.
    """

    ids: pa.Array
    scores: Floats
    good: Floats
    reasons: pa.Array
    absent: int

    @property
    def open(self) -> Bools:
        """The rows that the threshold decides about."""
        alive: Bools = self.reasons.is_null().to_numpy(zero_copy_only=False)
        return alive & ~np.isnan(self.scores)


class _Reader:
    """Reads the columns of a shard side by side."""

    def __init__(self, datasets: tuple[Dataset, ...], config: CalibrateConfig) -> None:
        self.datasets, self._config = datasets, config
        schemas = [data.schema().names for data in datasets]
        self._obeyed = [i for i, names in enumerate(schemas) if "keep" in names]
        self._columns: dict[int, list[str]] = {}
        for column in (config.score, config.good.column):
            owners = [i for i, names in enumerate(schemas) if column in names]
            if not owners:
                known = [name for names in schemas for name in names if name not in ("id", "text", "source")]
                raise ConfigError(f"no column {column!r} in the inputs of the step; {nearest(column, known)}")
            self._columns.setdefault(owners[-1], []).append(column)

    def read(self, shard: str) -> _Part:
        """The rows that all datasets have."""
        table, absent = align(self.datasets, shard, self._columns)
        reasons = pa.nulls(table.num_rows, pa.string())
        for i in self._obeyed:
            columns = ["keep", *(["reason"] if "reason" in self.datasets[i].schema().names else [])]
            other, _ = align([*self.datasets, self.datasets[i]], shard, {len(self.datasets): columns})
            given = other.column("reason") if "reason" in columns else pa.nulls(other.num_rows, pa.string())
            why = pc.coalesce(given, pa.scalar(DROPPED))
            verdict = pc.if_else(pc.fill_null(other.column("keep"), False), pa.scalar(None, pa.string()), why)
            reasons = pc.coalesce(reasons, _flat(verdict))
        scores = _numbers(table, self._config.score)
        scores[~np.isfinite(scores)] = np.nan
        good = _good(table, self._config.good)
        return _Part(_flat(table.column("id")), scores if self._config.higher else -scores, good, reasons, absent)


class _Judge:
    """Writes the verdicts of one shard."""

    def __init__(self, reader: _Reader, threshold: float | None, folder: str) -> None:
        self._reader, self._threshold, self._folder = reader, threshold, folder

    def __call__(self, task: ShardTask) -> Receipt:
        part = self._reader.read(task.name)
        missing = np.isnan(part.scores)
        if self._threshold is None:
            keep, given = np.zeros(len(missing), np.bool_), np.full(len(missing), NOT_CALIBRATED)
        else:
            keep, given = part.open & (part.scores >= self._threshold), np.where(missing, NO_SCORE, BELOW)
        reasons = pc.coalesce(part.reasons, pa.array(given, pa.string(), mask=keep))
        with ShardWriter(files.join(self._folder, task.name), _SCHEMA) as writer:
            writer.write(pa.RecordBatch.from_arrays([part.ids, pa.array(keep), reasons], schema=_SCHEMA))
        counts = {
            f"first:{each['values']}": each["counts"] for each in pc.value_counts(reasons.drop_null()).to_pylist()
        }
        counts = dict(sorted({**counts, "kept": int(keep.sum())}.items()))
        return Receipt(task.name, len(keep) + part.absent, (writer.shard,), absent=part.absent, counts=counts)


def _details(
    config: CalibrateConfig, scores: Floats, sampled: Floats, good: Bools, found: Calibrated | None
) -> dict[str, Plain]:
    """What was found; without a threshold, how many labels above one a flawless result would need."""
    details: dict[str, Plain] = {
        "scored": len(scores),
        "labels": len(good),
        "good": int(good.sum()),
        "needed": sample_size(config.precision, config.delta),
        "threshold": None,
    }
    if found is not None:
        kept = sampled >= found.threshold
        details |= {
            "threshold": found.threshold if config.higher else -found.threshold,
            "lower": round(found.lower, _DECIMALS),
            "precision": round(found.rate, _DECIMALS),
            "trials": found.trials,
            "share": round(float((scores >= found.threshold).mean()), _DECIMALS),
            # Of the good rows of the sample, those that are kept.
            "yield": round(float((good & kept).sum() / good.sum()), _DECIMALS),
        }
    return details


def _good(table: pa.Table, good: Good) -> Floats:
    """1 where a row is good, 0 where it is not, NaN where it has no label."""
    if good.at_least is not None:
        values = _numbers(table, good.column)
        return np.where(np.isnan(values), np.nan, (values >= good.at_least).astype(np.float64))
    column = table.column(good.column)
    try:
        same = pc.equal(column, pa.scalar(good.equals).cast(column.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigError(
            f"the column {good.column!r} holds {column.type}, which {good.equals!r} is not; see `equals`"
        ) from None
    return np.array(_flat(same).cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _numbers(table: pa.Table, column: str) -> Floats:
    try:
        return np.array(table.column(column).cast(pa.float64()).to_numpy(), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigError(
            f"the column {column!r} holds {table.column(column).type}, not numbers; name another"
        ) from None


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
