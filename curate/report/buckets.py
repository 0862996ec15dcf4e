"""What a `bucket` step made: the rows of each bucket, group by group, with the cut-offs.

found = buckets("parts", dataset)
found.groups[0].name, found.groups[0].rows[0].range, found.groups[0].rows[0].count
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from curate.core.dataset import Dataset, align
from curate.core.digest import Plain
from curate.core.errors import RunError
from curate.report.words import number

GROUPS = 12
_WHY = {
    "no-score": "without a score",
    "no-group": "without a group",
    "no-cutoffs": "in groups that are too small for cut-offs",
}


@dataclass(frozen=True)
class Bucket:
    """One bucket of a group: its range in words, its rows, and their part of the group in percent."""

    name: str
    range: str
    count: int
    percent: float


@dataclass(frozen=True)
class Group:
    """The buckets of one group, from the lowest scores up."""

    name: str
    rows: tuple[Bucket, ...]


@dataclass(frozen=True)
class Buckets:
    """A `bucket` step for the page.

    Attributes:
        column: the score.
        by: the column of groups; empty without one.
        groups: the largest first.
        more: groups that are not shown, and their rows.
        without: rows in no bucket, by the reason in words.
    """

    name: str
    column: str
    by: str
    groups: tuple[Group, ...]
    more: tuple[int, int]
    without: tuple[tuple[str, int], ...]


def buckets(name: str, dataset: Dataset) -> Buckets:
    """Count the rows of a step's buckets.

    Raises:
        RunError: the dataset is no output of the step.
    """
    manifest = dataset.manifest
    names, cutoffs, by = manifest.config.get("names"), manifest.details.get("cutoffs"), manifest.config.get("by")
    if not isinstance(names, list) or not isinstance(cutoffs, dict):
        raise RunError(f"{dataset.folder}: its manifest names no buckets or cut-offs; run the pipeline again")
    counts = _counts(dataset, by) if isinstance(by, str) else {}
    if not isinstance(by, str):
        counts = {(each, str(b)): manifest.counts.get(f"bucket:{b}", 0) for each in cutoffs for b in names}
    rows = {group: sum(counts.get((group, str(b)), 0) for b in names) for group in cutoffs}
    ranked = sorted(cutoffs, key=lambda group: (-rows[group], group))
    groups = []
    for group in ranked[:GROUPS]:
        ranges = _ranges(cutoffs[group])
        found = [counts.get((group, str(bucket)), 0) for bucket in names]
        parts = zip(map(str, names), ranges, found, strict=True)
        groups.append(
            Group(group, tuple(Bucket(b, span, n, 100 * n / rows[group] if n else 0.0) for b, span, n in parts))
        )
    rest = ranked[GROUPS:]
    null = {key.removeprefix("null:"): n for key, n in sorted(manifest.counts.items()) if key.startswith("null:")}
    return Buckets(
        name,
        str(manifest.config.get("column")),
        by if isinstance(by, str) else "",
        tuple(groups),
        (len(rest), sum(rows[group] for group in rest)),
        tuple((_WHY.get(why, why), n) for why, n in null.items()),
    )


def _ranges(cuts: Plain) -> list[str]:
    """What the scores of each bucket are: `< 312.5`, `312.5 to 640.1`, `≥ 640.1`."""
    values = [number(float(cut)) for cut in cuts if isinstance(cut, int | float)] if isinstance(cuts, list) else []
    between = [f"{low} to {high}" for low, high in pairwise(values)]
    return [f"< {values[0]}", *between, f"≥ {values[-1]}"]


def _counts(dataset: Dataset, by: str) -> Counter[tuple[str, str]]:
    """The rows of each group and bucket; those without a bucket are left out."""
    known = {each.manifest.digest: each for each in dataset.ancestors()}
    roles = sorted(dataset.manifest.inputs, key=lambda role: int(role.removeprefix("from[").removesuffix("]")))
    inputs = [known[dataset.manifest.inputs[role]] for role in roles]
    holder = [each for each in inputs if by in each.schema().names][-1]  # as the step chose it
    counts: Counter[tuple[str, str]] = Counter()
    for shard in dataset.shards:
        table, _ = align([dataset, holder], shard.name, {0: ["bucket"], 1: [by]})
        pairs = pa.table({"group": table.column(by).cast(pa.string()), "bucket": table.column("bucket")})
        found = pairs.filter(pc.is_valid(pairs.column("bucket"))).group_by(["group", "bucket"])
        for row in found.aggregate([([], "count_all")]).to_pylist():
            counts[row["group"], row["bucket"]] += row["count_all"]
    return counts
