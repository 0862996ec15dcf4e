"""The `bucket` step: a name for the range that a score falls into, cut at quantiles or at given values.

    parts: {bucket: {from: [scores, languages], column: perplexity, by: language}}

CCNet's head, middle and tail (Wenzek et al. 2019) are the defaults: perplexities below the 30th percentile of their
language, below the 60th, and the rest. The cut-offs are written to `cutoffs.csv`, which `cutoffs:` reads, so that a
second pool is cut where the first was:

    language,0.3,0.6
    en,312.5,640.1
"""

from __future__ import annotations

import csv
import functools
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from curate.core import files
from curate.core.config import model_files
from curate.core.csv_table import read_csv_table
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.core.map_shard import ShardTask, shard_tasks
from curate.core.rows.aligned import Inputs, numbers
from curate.core.shards import ShardWriter
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.steps.filter.rules import quantile

VERSION = 1
TABLE = "cutoffs.csv"
EVERYTHING = "all"  # the one group where `by` is not given
SCHEMA = pa.schema([("id", pa.string()), ("bucket", pa.string())])
Cutoffs = Mapping[str, Sequence[float]]


class BucketConfig(StepConfig):
    """Which score, and where it is cut.

    Attributes:
        source: the datasets whose columns are named; rows that one of them drops (`keep`) get a bucket but do not
            take part in the quantiles.
        column: the score.
        by: a column of groups, such as a language, each with its own cut-offs.
        at: the quantiles, rising.
        names: of the buckets, one more than quantiles, from the lowest scores up.
        cutoffs: a CSV file of cut-offs to take instead of those of this pool: a row a group (`all` without `by`), a
            column a quantile.
        min_rows: a group with fewer scores has no cut-offs of its own, and its rows no bucket.
    """

    source: str | list[str] = Field(alias="from")
    column: str
    by: str | None = None
    at: list[float] = Field([0.30, 0.60], min_length=1)
    names: list[str] = ["head", "middle", "tail"]
    cutoffs: ModelFile | None = None
    min_rows: int = Field(20, ge=1)

    @model_validator(mode="after")
    def _shape(self) -> BucketConfig:
        if any(not 0 < q < 1 for q in self.at) or any(a >= b for a, b in pairwise(self.at)):
            raise ValueError(f"`at` {self.at}: quantiles rise and lie between 0 and 1")
        if len(self.names) != len(self.at) + 1 or len(set(self.names)) != len(self.names):
            raise ValueError(f"`names` {self.names}: {len(self.at)} quantiles make {len(self.at) + 1} buckets to name")
        return self

    def inputs(self) -> dict[str, str]:
        """The datasets whose columns are named."""
        names = [self.source] if isinstance(self.source, str) else self.source
        return {f"from[{i}]": name for i, name in enumerate(names)}

    def models(self) -> dict[str, str]:
        """The file of cut-offs."""
        return model_files(self)

    def identity(self) -> dict[str, Plain]:
        """Everything but the inputs and the file."""
        return self.model_dump(mode="json", exclude={"source", "cutoffs"})


def run(job: Job, config: BucketConfig) -> Result:
    """Find the cut-offs, then name the bucket of every row."""
    inputs = Inputs(list(job.inputs.values()))
    for column in _columns(config):
        inputs.check(column)
    rows: dict[str, int] = {}
    if config.cutoffs is None:
        cutoffs, rows = _measure(inputs, config)
    else:
        cutoffs = read_cutoffs(job.models["cutoffs"], config.at)
    with files.atomic_output(files.join(job.folder, TABLE)) as out:
        out.write(_table(cutoffs, config))
    make = functools.partial(_Bucket, tuple(job.inputs.values()), config, cutoffs, job.folder)
    receipts = job.map("", make, shard_tasks(inputs.datasets[0]))
    details: dict[str, Plain] = {
        "cutoffs": {group: list(values) for group, values in sorted(cutoffs.items())},
        "scores": dict(sorted(rows.items())),
    }
    return Result(receipts, details, {TABLE: files.content_hash(files.join(job.folder, TABLE))})


def read_cutoffs(path: str, at: Sequence[float]) -> dict[str, list[float]]:
    """The cut-offs of each group at some quantiles.

    Raises:
        ConfigError: the file is no such table, lacks a quantile, or its cut-offs fall.
    """
    table = read_csv_table(path)
    try:
        place = {float(name): i for i, name in enumerate(table.columns)}
    except ValueError:
        raise ConfigError(f"{path}: its columns are quantiles, such as 0.3; found {table.columns}") from None
    for q in at:
        if q not in place:
            raise ConfigError(f"{path}: no column for the quantile {q}; it has {', '.join(table.columns)}")
    cutoffs = {group: [values[place[q]] for q in at] for group, values in table.rows.items()}
    for group, values in cutoffs.items():
        if any(not a <= b for a, b in pairwise([*values, values[-1]])):
            raise ConfigError(f"{path}: the cut-offs of {group!r} are {values}; they rise, and none is empty")
    return cutoffs


def _measure(inputs: Inputs, config: BucketConfig) -> tuple[dict[str, list[float]], dict[str, int]]:
    """The cut-offs of each group that is large enough, and how many scores every group has."""
    parts: dict[str, list[npt.NDArray[np.float64]]] = {}
    for shard in inputs.datasets[0].shards:
        table, reason, _ = inputs.read(shard.name, _columns(config))
        alive = reason.is_null().to_numpy()
        for group, where in _groups(table, config):
            scores = numbers(table, config.column)[where & alive]
            parts.setdefault(group, []).append(scores[np.isfinite(scores)])
    scores_of = {group: np.concatenate(arrays) for group, arrays in parts.items()}
    large = {group: scores for group, scores in scores_of.items() if len(scores) >= config.min_rows}
    cutoffs = {group: [quantile(scores, q) for q in config.at] for group, scores in large.items()}
    return cutoffs, {group: len(scores) for group, scores in scores_of.items()}


def _columns(config: BucketConfig) -> list[str]:
    return [config.column, *([config.by] if config.by else [])]


def _groups(table: pa.Table, config: BucketConfig) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Each group of a table, and which rows are in it; a row without one is in none."""
    if config.by is None:
        yield EVERYTHING, np.ones(table.num_rows, dtype=np.bool_)
        return
    names = table.column(config.by).cast(pa.string()).combine_chunks().dictionary_encode()
    codes = names.indices.fill_null(-1).to_numpy()
    for i, name in enumerate(names.dictionary.to_pylist()):
        yield name, codes == i


def _table(cutoffs: Cutoffs, config: BucketConfig) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([config.by or "group", *config.at])
    writer.writerows([group, *map(repr, values)] for group, values in sorted(cutoffs.items()))
    return stream.getvalue().encode()


class _Bucket:
    """Names the buckets of a shard.

    A score that equals a cut-off is in the bucket above it. A row without a score, without a group, or in a group
    without cut-offs has a null bucket, and is counted as such.
    """

    def __init__(self, datasets: Sequence[Dataset], config: BucketConfig, cutoffs: Cutoffs, folder: str) -> None:
        self._inputs, self._config, self._cutoffs, self._folder = Inputs(datasets), config, cutoffs, folder

    def __call__(self, task: ShardTask) -> Receipt:
        table, _, absent = self._inputs.read(task.name, _columns(self._config))
        scores = numbers(table, self._config.column)
        scored = ~np.isnan(scores)
        buckets = np.full(table.num_rows, None, dtype=object)
        why = np.where(scored, "no-group", "no-score").astype(object)
        names = np.array(self._config.names, dtype=object)
        for group, where in _groups(table, self._config):
            here = where & scored
            if group in self._cutoffs:
                buckets[here] = names[np.searchsorted(self._cutoffs[group], scores[here], side="right")]
            else:
                why[here] = "no-cutoffs"
        kinds = [f"bucket:{name}" if name else f"null:{reason}" for name, reason in zip(buckets, why, strict=True)]
        ids = table.column("id").combine_chunks().cast(pa.string())
        with ShardWriter(files.join(self._folder, task.name), SCHEMA) as writer:
            writer.write(pa.RecordBatch.from_arrays([ids, pa.array(buckets, pa.string())], schema=SCHEMA))
        return Receipt(task.name, table.num_rows + absent, (writer.shard,), absent=absent, counts=Counter(kinds))
