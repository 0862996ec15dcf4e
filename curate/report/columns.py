"""Score columns, one at a time: their values, their histogram, and the rows nearest to a threshold.

column = read_column(scores, "quality", codes)
histogram(column, thresholds=[0.7])
nearest(column, rule=3, threshold=0.7, count=3)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.dataset import Dataset
from curate.report.verdicts import ABSENT, KEPT, Codes

BINS = 40
# More values than this are thinned: a column of 20 million takes 160 MB.
MOST_VALUES = 20_000_000


@dataclass(frozen=True)
class Place:
    """A row: the dataset by its digest, the shard, and the row in it."""

    dataset: str
    shard: str
    row: int


@dataclass(frozen=True)
class Column:
    """The values of a column over all shards, NaN for null, and the verdict on each row.

    Attributes:
        step: 1 for every row, k for every k-th row of each shard.
    """

    dataset: Dataset
    name: str
    values: npt.NDArray[np.float64]
    codes: Codes
    starts: npt.NDArray[np.int64]
    step: int
    integers: bool

    def place(self, index: int) -> Place:
        """Where the value at `index` stands."""
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        row = (index - int(self.starts[shard])) * self.step
        return Place(self.dataset.manifest.digest, self.dataset.shards[shard].name, row)


@dataclass(frozen=True)
class Histogram:
    """Counts by bin of the values between the 1st and 99th percentile (widened to thresholds near them).

    Attributes:
        edges: one more than bins, in units of the column.
        kept, dropped: rows in each bin; rows that were not judged are in `dropped` of neither and in `other`.
        below, above: rows beyond the edges.
        log: whether the bins are of equal width in the logarithm.
        whole: whether each bin is one whole number.
    """

    edges: npt.NDArray[np.float64]
    kept: npt.NDArray[np.int64]
    dropped: npt.NDArray[np.int64]
    below: int
    above: int
    log: bool
    whole: bool
    least: float
    median: float
    most: float
    nulls: int
    rows: int


def numeric_columns(dataset: Dataset, without: Sequence[str]) -> list[tuple[str, bool]]:
    """The columns of numbers, and whether each holds integers."""
    found = []
    for field in dataset.schema() if dataset.shards else ():
        integers = pa.types.is_integer(field.type)
        if field.name not in without and (integers or pa.types.is_floating(field.type)):
            found.append((field.name, integers))
    return found


def read_column(
    dataset: Dataset, name: str, codes: Mapping[str, Codes], *, integers: bool, most: int = MOST_VALUES
) -> Column:
    """The values of one column; thinned evenly when there are more than `most`."""
    step = max(1, math.ceil(dataset.rows / most))
    values: list[npt.NDArray[np.float64]] = []
    verdicts: list[Codes] = []
    starts = []
    total = 0
    for shard in dataset.shards:
        parts = [np.empty(0)]
        for batch in dataset.read(shard, [name]):
            parts.append(pc.cast(batch.column(name), pa.float64()).to_numpy(zero_copy_only=False))
        whole = np.concatenate(parts)[::step]
        starts.append(total)
        total += len(whole)
        values.append(whole)
        verdicts.append(codes[shard.name][::step])
    joined = np.concatenate(values) if values else np.empty(0)
    judged = np.concatenate(verdicts) if verdicts else np.empty(0, np.uint16)
    return Column(dataset, name, joined, judged, np.array(starts, np.int64), step, integers)


def histogram(column: Column, thresholds: Sequence[float]) -> Histogram | None:
    """The histogram of the finite values; None when there are none."""
    finite = np.isfinite(column.values)
    values, codes = column.values[finite], column.codes[finite]
    if not len(values):
        return None
    least, low, median, high, most = (float(v) for v in np.quantile(values, [0, 0.01, 0.5, 0.99, 1]))
    if low == high:
        low, high = least, most  # few rows differ: they are what there is to see
    for threshold in thresholds:
        # A line that lies a little outside is worth the space; one far away is said in words.
        if least <= threshold <= most:
            low, high = min(low, threshold), max(high, threshold)
    # Ten times the median within the 99th percentile: bins of equal width would show one bar.
    log = low > 0 and high > 10 * median
    edges = _edges(low, high, log=log, integers=column.integers)
    inside = (values >= edges[0]) & (values <= edges[-1])
    good = codes == KEPT
    kept, _ = np.histogram(values[inside & good], edges)
    dropped, _ = np.histogram(values[inside & ~good], edges)
    return Histogram(
        edges,
        kept,
        dropped,
        int((values < edges[0]).sum()),
        int((values > edges[-1]).sum()),
        log,
        column.integers and bool(edges[1] - edges[0] == 1),
        least,
        median,
        most,
        int((~finite).sum()),
        len(column.values),
    )


def _edges(low: float, high: float, *, log: bool, integers: bool) -> npt.NDArray[np.float64]:
    if integers and high - low < BINS:
        return np.arange(math.floor(low), math.ceil(high) + 2, dtype=np.float64) - 0.5
    if high <= low:
        margin = abs(low) * 0.05 or 0.5
        return np.array([low - margin, low + margin])
    if log:
        edges: npt.NDArray[np.float64] = np.geomspace(low, high, BINS + 1, dtype=np.float64)
        edges[0], edges[-1] = low, high
        return edges
    return np.linspace(low, high, BINS + 1, dtype=np.float64)


def nearest(column: Column, rule: int, threshold: float, count: int) -> tuple[list[int], list[int]]:
    """Of the rows that came as far as a rule, the nearest to its threshold on both sides.

    Returns:
        Positions of those it dropped and of those it let through, nearest first; ties in the order of rows.
    """
    finite = np.isfinite(column.values)
    distance = np.abs(column.values - threshold)
    failed = np.flatnonzero(finite & (column.codes == rule))
    passed = np.flatnonzero(finite & (column.codes > rule) & (column.codes != ABSENT))
    return _closest(distance, failed, count), _closest(distance, passed, count)


def _closest(distance: npt.NDArray[np.float64], among: npt.NDArray[np.int64], count: int) -> list[int]:
    if len(among) > count:
        limit = np.partition(distance[among], count - 1)[count - 1]
        among = among[distance[among] <= limit]
    order = np.argsort(distance[among], kind="stable")[:count]
    chosen: list[int] = among[order].tolist()
    return chosen
