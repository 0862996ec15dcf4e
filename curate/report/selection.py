"""What every `select` step took, beside its pool: the figures of the report's selection section.

    found = selections(outputs)
    found[0].picks[0].copies, found[0].overlaps[0].cells[1].share

A step is compared with the other select steps of the run that chose from the same pool, with as many of the longest
answers, and with a random pick: the run's own, or one that is drawn here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.dataset import Dataset
from curate.report.card import Table
from curate.report.pick_details import facts, reasons, settings, tables
from curate.report.picks import Pick, by_chance, longest
from curate.report.pool import PoolRows, read_pool
from curate.report.samples import Row, by_id
from curate.report.spreads import Spread, Values, labels_of, lengths_of, scores_of
from curate.report.words import number
from curate.steps.dedup.minhash import Ints, alike

FEW = 3  # rows that are shown at each place
PAIRS = 4  # rows that are shown beside their nearest example
# What every step is compared with: rows that are chosen here, where the run has no step that draws some.
RANDOM, LONGEST = "random*", "longest*"


@dataclass(frozen=True)
class Cell:
    """What two picks share: rows, their part of the one of the line, and of both together (Jaccard)."""

    rows: int
    share: float
    jaccard: float


@dataclass(frozen=True)
class Overlap:
    """The line of a pick in the table of overlaps; None where it meets itself."""

    name: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Case:
    """A row with what the step says of it."""

    said: str
    row: Row


@dataclass(frozen=True)
class Beside:
    """Two rows that are shown beside one another: a pick and its nearest example, or a row and what it repeats."""

    one: Case
    other: Case


@dataclass(frozen=True)
class Contamination:
    """How many examples of a target stand in the pool, and in the pick, by the same question and by a run of words."""

    target: str
    examples: int
    questions: tuple[int, int]
    runs: tuple[int, int]
    shown: tuple[Beside, ...]


@dataclass(frozen=True)
class Picked:
    """One select step for the page.

    Attributes:
        copies: rows that say the same as one of higher rank, word for word.
        near: among the first `looked` rows those that nearly repeat one of higher rank, the copies among them.
        reasons: why the others were not taken, with their counts.
        first, last, next: rows of the highest ranks, of the lowest, and the best scores that were not taken.
    """

    name: str
    method: str
    settings: str
    rows: int
    share: float
    turns: float
    question: float
    answer: float
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    copies: int
    near: int
    looked: int
    lengths: tuple[Spread, ...]
    scores: tuple[Spread, ...]
    values: tuple[Values, ...]
    reasons: tuple[tuple[str, int], ...]
    first: tuple[Case, ...]
    last: tuple[Case, ...]
    next: tuple[Case, ...]
    nearest: tuple[Beside, ...]
    repeats: tuple[Beside, ...]
    contamination: tuple[Contamination, ...]


@dataclass(frozen=True)
class Selection:
    """The select steps that chose from one pool.

    Attributes:
        turns, question, answer: the mean of turns and the medians of characters in the whole pool.
        columns: what the overlaps are with.
    """

    pool: str
    rows: int
    turns: float
    question: float
    answer: float
    picks: tuple[Picked, ...]
    columns: tuple[str, ...]
    overlaps: tuple[Overlap, ...]


def selections(outputs: Mapping[str, Dataset]) -> list[Selection]:
    """The select steps of a run by their pools, in the order of the run.

    Raises:
        CurateError: a dataset is damaged, or one that another was made from is gone.
    """
    by_pool: dict[str, list[Pick]] = {}
    known: dict[str, Dataset] = {each.manifest.digest: each for each in outputs.values()}
    for name, dataset in outputs.items():
        if dataset.manifest.kind == "select":
            known.update((each.manifest.digest, each) for each in dataset.ancestors())
            pool = known[dataset.manifest.inputs["from[0]"]]
            by_pool.setdefault(pool.manifest.digest, []).append(Pick.of(name, dataset, pool))
    return [_selection(picks, outputs, known) for picks in by_pool.values()]


def _selection(picks: Sequence[Pick], outputs: Mapping[str, Dataset], known: Mapping[str, Dataset]) -> Selection:
    pool = picks[0].pool
    targets = {digest: known[digest] for pick in picks for digest in pick.examples}
    found = read_pool(pool, picks, list(targets.values()))
    columns = tuple(pick.name for pick in picks)
    drawn = all(pick.method != "random" for pick in picks)
    lines = []
    for pick in picks:
        others = [None if each is pick else each.rows for each in picks]
        others += [by_chance(found.ids, pick.open, len(pick.rows))] if drawn else []
        others.append(longest(found.ids, found.answers, pick.open, len(pick.rows)))
        lines.append(Overlap(pick.name, tuple(None if rows is None else _shared(pick.rows, rows) for rows in others)))
    return Selection(
        pool.manifest.step,
        pool.rows,
        *_middle(found, np.arange(pool.rows)),
        tuple(_picked(i, pick, found, outputs, known) for i, pick in enumerate(picks)),
        (*columns, *([RANDOM] if drawn else []), LONGEST),
        tuple(lines),
    )


def _shared(mine: Ints, others: Ints) -> Cell:
    rows = len(np.intersect1d(mine, others))
    return Cell(rows, rows / len(mine), rows / (len(mine) + len(others) - rows))


def _middle(found: PoolRows, rows: Ints) -> tuple[float, float, float]:
    """The mean of turns, the medians of characters of questions and of answers."""
    question, answer = (float(np.median(values[rows])) for values in (found.questions, found.answers))
    return float(found.turns[rows].mean()), question, answer


def _picked(
    place: int, pick: Pick, found: PoolRows, outputs: Mapping[str, Dataset], known: Mapping[str, Dataset]
) -> Picked:
    count = len(pick.rows)
    first = list(range(min(FEW, count)))
    last = list(range(max(count - FEW, len(first)), count))
    beside = [i for i in dict.fromkeys(np.linspace(0, count - 1, PAIRS).astype(int).tolist()) if pick.nearest[i]]
    repeats = alike(found.signatures[place])
    met = {digest: _met(place, pick, found, digest) for digest in pick.examples}
    rows = [*pick.rows[[*first, *last, *beside]].tolist(), *(row for row, _ in pick.next)]
    rows += [int(pick.rows[i]) for pair in repeats[:FEW] for i in pair]
    rows += [row for pairs in met.values() for _, row in pairs]
    ids = found.ids.take(np.array(rows, dtype=np.int64)).to_pylist()
    texts = by_id(pick.pool, ids)
    shown = {row: texts[each] for row, each in zip(rows, ids, strict=True)}

    def case(i: int) -> Case:
        return Case(_said(i + 1, float(pick.scores[i]), pick.targets[i]), shown[int(pick.rows[i])])

    return Picked(
        pick.name,
        pick.method,
        settings(pick),
        count,
        count / pick.pool.rows,
        *_middle(found, pick.rows),
        facts(pick),
        tables(pick),
        found.copies[place],
        len(repeats),
        len(found.signatures[place]),
        tuple(lengths_of(pick, found)),
        tuple(scores_of(pick, outputs, known)),
        tuple(labels_of(pick, outputs, known)),
        reasons(pick),
        tuple(map(case, first)),
        tuple(map(case, last)),
        tuple(Case(f"score {number(score)}", shown[row]) for row, score in pick.next),
        tuple(_nearest(pick, [(i, case(i)) for i in beside], known)),
        tuple(Beside(case(one), case(other)) for one, other in repeats[:FEW]),
        tuple(_contamination(place, found, known[digest], met[digest], shown) for digest in pick.examples),
    )


def _said(rank: int, score: float, target: str | None) -> str:
    scored = [f"score {number(score)}"] if np.isfinite(score) else []
    return " · ".join([f"rank {rank:,}", *scored, *([f"for {target}"] if target else [])])


def _nearest(pick: Pick, cases: Sequence[tuple[int, Case]], known: Mapping[str, Dataset]) -> Iterator[Beside]:
    """Some picks beside the target's example that is nearest to them."""
    ids = [str(pick.nearest[i]) for i, _ in cases]
    found: dict[str, Case] = {}
    for digest in pick.examples if ids else ():
        target = known[digest]
        found.update((key, Case(target.manifest.step, row)) for key, row in by_id(target, ids).items())
    for (_, case), key in zip(cases, ids, strict=True):
        if key in found:
            yield Beside(case, found[key])


def _met(place: int, pick: Pick, found: PoolRows, digest: str) -> list[tuple[int, int]]:
    """Some examples of a target that stand in the pool, those in the pick first: the example and the pool's row."""
    seen = found.seen[digest]
    first = np.where(seen.questions.first >= 0, seen.questions.first, seen.runs.first)
    chosen = seen.questions.picked[place] | seen.runs.picked[place]
    examples = np.flatnonzero(first >= 0)
    ranked = examples[np.argsort(~chosen[examples], kind="stable")][:FEW]
    return [(int(i), int(first[i])) for i in ranked]


def _contamination(
    place: int, found: PoolRows, target: Dataset, met: Sequence[tuple[int, int]], shown: Mapping[int, Row]
) -> Contamination:
    seen = found.seen[target.manifest.digest]
    rows = by_id(target, [seen.ids[example] for example, _ in met])
    step = target.manifest.step
    pairs = [Beside(Case(step, rows[seen.ids[example]]), Case("in the pool", shown[row])) for example, row in met]
    counts = [(int((each.first >= 0).sum()), int(each.picked[place].sum())) for each in (seen.questions, seen.runs)]
    return Contamination(step, len(seen.ids), counts[0], counts[1], tuple(pairs))
