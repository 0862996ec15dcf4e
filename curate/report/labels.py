"""Columns of text and flags: their commonest values, in bounded memory however many values there are.

found = labels(dataset, "url_host", codes)
found.values[0].value, found.values[0].kept

The counters are those of Misra and Gries (1982), merged as in Agarwal et al. (2012), "Mergeable Summaries": with
`COUNTERS` of them no value is lost that more than 1 row in `COUNTERS` has. A second pass counts the candidates
exactly, so every figure is exact; only values rarer than that may be missing from the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.dataset import Dataset
from curate.report.samples import visible
from curate.report.verdicts import KEPT, Codes

COUNTERS = 4096
# So many characters distinguish values.
LENGTH = 80


@dataclass(frozen=True)
class Label:
    """One value, and its rows."""

    value: str
    kept: int
    dropped: int


@dataclass(frozen=True)
class Labels:
    """The commonest values of a column.

    Attributes:
        values: the commonest first, ties by value.
        others: how many different values are not among them, in words; empty when there are none.
        rest: the rows of those others.
    """

    values: tuple[Label, ...]
    others: str
    rest: Label

    @property
    def most(self) -> int:
        """The rows of the longest bar."""
        return max((each.kept + each.dropped for each in (*self.values, self.rest)), default=0) or 1


def labels(dataset: Dataset, name: str, codes: Mapping[str, Codes], most: int = 12, counters: int = COUNTERS) -> Labels:
    """The commonest values of a column of text or flags; the others are put together."""
    candidates, missed, rows, good = _candidates(dataset, name, codes, counters)
    total = candidates if not missed else dict.fromkeys(candidates, 0)
    kept: dict[str, int] = dict.fromkeys(candidates, 0)
    wanted = pa.array(sorted(candidates), pa.large_string())
    for column, passed in _batches(dataset, name, codes):
        among = pc.is_in(column, value_set=wanted)
        if missed:
            _add(total, column.filter(among))
        _add(kept, column.filter(pc.and_(among, pa.array(passed))))
    # A value with no more rows than `missed` may have rivals that fell out on the way.
    ranked = sorted((value for value in total if total[value] > missed), key=lambda value: (-total[value], value))
    values = tuple(Label(value, kept[value], total[value] - kept[value]) for value in ranked[:most])
    shown, shown_kept = sum(total[value] for value in ranked[:most]), sum(each.kept for each in values)
    rest = Label("", good - shown_kept, rows - shown - (good - shown_kept))
    if missed:
        return Labels(values, f"more than {counters - len(values):,} others", rest)
    others = len(ranked) - len(values)
    return Labels(values, f"{others:,} other{'s' * (others > 1)}" if others else "", rest)


def _candidates(
    dataset: Dataset, name: str, codes: Mapping[str, Codes], counters: int
) -> tuple[dict[str, int], int, int, int]:
    """The values that may be common; the rows that a value not among them can have; all rows, and the kept ones."""
    counts: dict[str, int] = {}
    missed = rows = good = 0
    for column, passed in _batches(dataset, name, codes):
        _add(counts, column)
        rows += len(column)
        good += int(passed.sum())
        if len(counts) > counters:
            fall = sorted(counts.values(), reverse=True)[counters]
            counts = {value: count - fall for value, count in counts.items() if count > fall}
            missed += fall
    return counts, missed, rows, good


def _batches(
    dataset: Dataset, name: str, codes: Mapping[str, Codes]
) -> Iterator[tuple[pa.LargeStringArray, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
    for shard in dataset.shards:
        start = 0
        for batch in dataset.read(shard, [name]):
            text = pc.cast(batch.column(name), pa.large_string())
            if name == "source":
                text = pc.replace_substring_regex(text, "#[^#]*$", "")  # the file, without the place in it
            text = pc.utf8_slice_codeunits(text, 0, LENGTH)
            yield pc.fill_null(text, "(none)"), codes[shard.name][start : start + batch.num_rows] == KEPT
            start += batch.num_rows


def _add(into: dict[str, int], column: pa.LargeStringArray) -> None:
    found = pc.value_counts(column)
    for value, count in zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True):
        into[value] = into.get(value, 0) + count


def shown(value: str) -> str:
    """A value for a reader: on one line, with what cannot be seen made visible."""
    return (visible(value) or "(empty)") + ("…" if len(value) == LENGTH else "")


def label_columns(dataset: Dataset, without: Sequence[str]) -> list[str]:
    """The columns of text and flags."""
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean)
    fields = dataset.schema() if dataset.shards else ()
    return [f.name for f in fields if f.name not in without and any(is_kind(f.type) for is_kind in text)]
