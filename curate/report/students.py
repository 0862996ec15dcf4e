"""What small students learnt in a `student` step: the accuracy of each variant with its interval.

students(outputs)[0].rows[0].accuracy            # '81.3 %'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.report.card import CardValues, listed, mapping
from curate.report.charts import Interval, intervals_svg
from curate.report.words import number


@dataclass(frozen=True)
class Variant:
    """What students learnt, and how well: figures in words."""

    name: str
    rows: int
    accuracy: str
    interval: str
    macro_f1: str
    gain: str


@dataclass(frozen=True)
class Students:
    """One student step for the page.

    Attributes:
        name: of the step.
        students: how many learnt of each variant.
        tested: rows that they were tested on.
    """

    name: str
    students: str
    tested: str
    svg: Markup
    rows: tuple[Variant, ...]


def students(outputs: Mapping[str, Dataset]) -> list[Students]:
    """The student steps of a run in its order."""
    return [_students(name, each) for name, each in outputs.items() if each.manifest.kind == "student"]


def _students(name: str, dataset: Dataset) -> Students:
    details = dataset.manifest.details
    lines = [line for line in listed(details, "table") if isinstance(line, dict)]
    intervals = [Interval(str(line.get("variant")), *_three(line, "accuracy")) for line in lines]
    rows = tuple(map(_variant, lines))
    figures = {key: number(_float(details.get(key))) for key in ("students", "test_rows")}
    return Students(name, figures["students"], figures["test_rows"], intervals_svg(intervals), rows)


def _variant(line: CardValues) -> Variant:
    accuracy, low, high = _three(line, "accuracy")
    f1, gain = mapping(line, "macro_f1"), mapping(line, "gain")
    return Variant(
        str(line.get("variant")),
        int(_float(line.get("rows"))),
        f"{100 * accuracy:.1f} %",
        f"{100 * low:.1f} to {100 * high:.1f}",
        f"{100 * _float(f1.get('value')):.1f} %" if f1 else "",
        "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * each for each in _three(gain, "value"))) if gain else "",
    )


def _three(line: CardValues, key: str) -> tuple[float, float, float]:
    return _float(line.get(key)), _float(line.get("low")), _float(line.get("high"))


def _float(value: Plain) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
