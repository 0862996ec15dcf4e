"""Documents on both sides of every threshold, and a few that each rule dropped.

near = list(near_thresholds(column, rules, verdicts))
edges, samples = examples(documents, verdicts, near, known)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.report.columns import Column, Place, nearest
from curate.report.samples import Row, fetch
from curate.report.verdicts import ABSENT, KEPT, Verdicts
from curate.report.words import number, says, threshold_of

NEAR = 3  # documents on each side of a threshold
EACH = 2  # samples of each rule


@dataclass(frozen=True)
class Shown:
    """A document with its score and what became of it."""

    row: Row
    value: str
    verdict: str


@dataclass(frozen=True)
class Edge:
    """The documents on both sides of a threshold."""

    rule: str
    says: str
    first: int
    failed: tuple[Shown, ...]
    passed: tuple[Shown, ...]


@dataclass(frozen=True)
class Samples:
    """Documents that a rule dropped."""

    rule: str
    first: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Near:
    """The rows around the threshold of a rule: place, value and verdict."""

    rule: dict[str, Plain]
    failed: tuple[tuple[Place, float, int], ...]
    passed: tuple[tuple[Place, float, int], ...]


def near_thresholds(column: Column, rules: Sequence[dict[str, Plain]], verdicts: Verdicts) -> Iterator[Near]:
    """The rows around the thresholds of the rules on a column."""
    for rule in rules:
        threshold = threshold_of(rule)
        if threshold is None:
            continue
        sides = nearest(column, verdicts.reasons.index(str(rule["name"])), threshold, NEAR)
        failed, passed = (
            tuple((column.place(i), float(column.values[i]), int(column.codes[i])) for i in side) for side in sides
        )
        if failed or passed:
            yield Near(rule, failed, passed)


def examples(
    documents: Dataset, verdicts: Verdicts, near: Sequence[Near], known: Mapping[str, Dataset]
) -> tuple[list[Edge], list[Samples]]:
    """The documents around every threshold and of every rule; their text is read in one go.

    `known` has the datasets that the places are in, by digest.
    """
    dropped = {i: _spread(verdicts, i) for i in range(len(verdicts.reasons))}
    places = [place for each in near for side in (each.failed, each.passed) for place, _, _ in side]
    places += [place for some in dropped.values() for place in some]
    rows = fetch(documents, known, places)

    def show(side: Sequence[tuple[Place, float, int]]) -> tuple[Shown, ...]:
        return tuple(Shown(rows[p], number(v), _verdict(verdicts, code)) for p, v, code in side if p in rows)

    order = {name: i for i, name in enumerate(verdicts.reasons)}
    first = [int(sum((codes == i).sum() for codes in verdicts.codes.values())) for i in range(len(verdicts.reasons))]
    edges = [
        Edge(name, says(each.rule), first[order[name]], show(each.failed), show(each.passed))
        for each in sorted(near, key=lambda each: order[str(each.rule["name"])])
        for name in [str(each.rule["name"])]
    ]
    samples = [
        Samples(name, first[i], tuple(rows[place] for place in dropped[i] if place in rows))
        for i, name in enumerate(verdicts.reasons)
        if dropped[i]
    ]
    return edges, samples


def _verdict(verdicts: Verdicts, code: int) -> str:
    return "kept" if code == KEPT else "not judged" if code == ABSENT else f"dropped: {verdicts.reasons[code]}"


def _spread(verdicts: Verdicts, code: int) -> list[Place]:
    """A few rows with a code, spread over the whole: the first ones tend to be from one source."""
    counts = [(shard, np.flatnonzero(codes == code)) for shard, codes in verdicts.codes.items()]
    total = sum(len(found) for _, found in counts)
    wanted = sorted({total * (2 * i + 1) // (2 * EACH) for i in range(EACH)} if total > EACH else range(total))
    places = []
    start = 0
    for shard, found in counts:
        places += [
            Place(verdicts.judge.manifest.digest, shard, int(found[i - start]))
            for i in wanted
            if 0 <= i - start < len(found)
        ]
        start += len(found)
    return places
