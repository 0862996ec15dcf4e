"""How the values of a pick lie beside those of its pool: lengths, scores, sources, and columns of text.

for each in scores_of(pick, outputs, known):
    each.name, each.svg, each.pool, each.pick
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from curate.core.dataset import Dataset
from curate.report.charts import shares_svg
from curate.report.columns import Column, Histogram, histogram, numeric_columns, read_column
from curate.report.labels import Labels, label_columns, labels
from curate.report.picks import Floats, Pick, shard_starts
from curate.report.pool import PoolRows
from curate.report.verdicts import KEPT, Verdicts

_OUT = 0  # the code of a row that was not taken
_VALUES = 8
# A column whose commonest values have less of the rows than this is no column of groups.
_GROUPS = 0.2


@dataclass(frozen=True)
class Spread:
    """The values of a column: a figure, and the medians of the pool and of the pick (None where it has no value).

    Attributes:
        about: where the column is from.
        every: 1, or k where only every k-th row was read.
        without: how many rows of the pick have no value.
    """

    name: str
    about: str
    svg: Markup
    figure: Histogram
    pool: float
    pick: float | None
    without: int
    every: int


@dataclass(frozen=True)
class Value:
    """One value: its parts of the pool and of the pick, in percent, and its rows there."""

    value: str
    pool: float
    pick: float
    rows: int
    taken: int


@dataclass(frozen=True)
class Values:
    """The commonest values of a column, then the others together."""

    name: str
    about: str
    values: tuple[Value, ...]
    others: str

    @property
    def most(self) -> float:
        """The longest bar, in percent of the rows."""
        return max(max(each.pool, each.pick) for each in self.values) or 1.0


def lengths_of(pick: Pick, found: PoolRows) -> Iterator[Spread]:
    """Turns, and characters of questions and of answers."""
    codes = np.full(pick.pool.rows, _OUT, np.uint16)
    codes[pick.rows] = KEPT
    starts = np.array(list(shard_starts(pick.pool).values()), np.int64)
    parts = {"answer, characters": found.answers, "question, characters": found.questions, "turns": found.turns}
    for name, values in parts.items():
        yield from _spread("", Column(pick.pool, name, values, codes, starts, 1, integers=True))


def scores_of(pick: Pick, outputs: Mapping[str, Dataset], known: Mapping[str, Dataset]) -> Iterator[Spread]:
    """Every column of numbers that lies beside the pool, and the step's own score."""
    verdicts = Verdicts.of(pick.dataset)
    yield from _spread(pick.name, read_column(pick.dataset, "score", verdicts.codes, integers=False))
    for dataset in _beside(pick, outputs, known):
        codes = verdicts.beside(dataset)
        for name, integers in numeric_columns(dataset, ("id", "rank", "score")):
            yield from _spread(dataset.manifest.step, read_column(dataset, name, codes, integers=integers))


def labels_of(pick: Pick, outputs: Mapping[str, Dataset], known: Mapping[str, Dataset]) -> Iterator[Values]:
    """The files of the pool, and every column of text with few values that lies beside it; then the tasks."""
    verdicts = Verdicts.of(pick.dataset)
    if len(set(pick.targets)) > 1:
        yield from _values("task served best", pick.name, labels(pick.dataset, "target", verdicts.codes, _VALUES))
    for dataset in _beside(pick, outputs, known):
        codes = verdicts.beside(dataset)
        own = ("source",) if dataset.manifest.digest == pick.pool.manifest.digest else ()
        for name in (*own, *label_columns(dataset, ("id", "text", "source", "keep", "reason", "nearest", "target"))):
            yield from _values(name, dataset.manifest.step, labels(dataset, name, codes, _VALUES))


def _beside(pick: Pick, outputs: Mapping[str, Dataset], known: Mapping[str, Dataset]) -> list[Dataset]:
    """The pool, what the step read beside it, and the scores that the run has of the same conversations."""
    inputs = pick.dataset.manifest.inputs
    read = [known[inputs[role]] for role in sorted(inputs) if role.startswith("from[")]
    digest = pick.pool.manifest.digest
    scored = [d for d in outputs.values() if d.manifest.kind == "score" and digest in d.manifest.inputs.values()]
    # What filters, copies and other picks say of a row are verdicts, not values.
    found = {d.manifest.digest: d for d in [pick.pool, *scored, *read] if "keep" not in d.schema().names}
    return list(found.values())


def _spread(about: str, column: Column) -> Iterator[Spread]:
    """The figure of a column; none for one without values, or with one for all."""
    figure = histogram(column, [])
    if figure is None or figure.least == figure.most:
        return
    taken: Floats = column.values[column.codes == KEPT]
    finite = taken[np.isfinite(taken)]
    middle = float(np.median(finite)) if len(finite) else None
    without = len(taken) - len(finite)
    yield Spread(column.name, about, shares_svg(figure), figure, figure.median, middle, without, column.step)


def _values(name: str, about: str, found: Labels) -> Iterator[Values]:
    """The parts of each value; none where nearly every row has its own, or all have the same."""
    each = [*found.values, *([found.rest] if found.others else [])]
    rows, taken = sum(v.kept + v.dropped for v in each), sum(v.kept for v in each)
    shown = sum(v.kept + v.dropped for v in found.values)
    if len(each) < 2 or shown < _GROUPS * rows:
        return
    values = tuple(
        Value(v.value, 100 * (v.kept + v.dropped) / rows, 100 * v.kept / max(taken, 1), v.kept + v.dropped, v.kept)
        for v in each
    )
    yield Values(name, about, values, found.others)
