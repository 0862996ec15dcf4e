"""Small SVG charts whose colours come from the page, so that they follow light and dark.

histogram_svg(figure, [(0.7, "0.7")])
curve_svg([Line("train", [(1000, 5.9), (2000, 5.1)]), Line("held-out", [(1000, 6.0), (2000, 5.3)])], "tokens")
intervals_svg([Interval("seeds", 0.71, 0.65, 0.77), Interval("seeds + synthetic", 0.8, 0.75, 0.85)])
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from curate.report.columns import Histogram
from curate.report.words import number

WIDTH, HEIGHT = 360, 152
LEFT, RIGHT, TOP, BOTTOM = 6, 354, 22, 128
_LABEL_ROWS, _ROW, _LETTER = 3, 14, 8  # of the labels of thresholds: rows at most, height, width of a character
_ACROSS, _DOWN = 640, 260  # a curve
_CURVE_LEFT, _CURVE_RIGHT, _CURVE_TOP, _CURVE_BOTTOM = 46, 632, 12, 214
_NAMES, _LINE, _LONGEST = 216, 30, 28  # of intervals: room for the names, height of a line, letters of a name


@dataclass(frozen=True)
class Line:
    """One line of a curve: the CSS class that colours it, and its points."""

    kind: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Interval:
    """A share and the interval that it lies in, from 0 to 1."""

    name: str
    value: float
    low: float
    high: float


def histogram_svg(figure: Histogram, thresholds: Sequence[tuple[float, str]]) -> Markup:
    """Bars of kept rows with the dropped on top, ticks, and a line at every threshold that is in range."""
    x = functools.partial(_across, figure)
    low, high = float(figure.edges[0]), float(figure.edges[-1])
    labels = _label_rows([(x(value), label) for value, label in thresholds if low <= value <= high])
    top = TOP + _ROW * max((row for *_, row in labels), default=0)
    tallest = max(1, int((figure.kept + figure.dropped).max()))
    parts: list[str] = []
    for i, (kept, dropped) in enumerate(zip(figure.kept.tolist(), figure.dropped.tolist(), strict=True)):
        left, right = x(float(figure.edges[i])), x(float(figure.edges[i + 1]))
        width = max(0.5, right - left - 0.8)
        base = float(BOTTOM)
        for count, kind in ((kept, "kept"), (dropped, "dropped")):
            if count:
                # A bin with a single row stays visible beside one with a million.
                tall = max(1.2, count / tallest * (BOTTOM - top))
                base -= tall
                size = f'width="{width:.2f}" height="{tall:.2f}"'
                parts.append(f'<rect class="{kind}" x="{left:.2f}" y="{base:.2f}" {size}/>')
    parts += _axis(figure)
    for place, label, anchor, row in labels:
        head = TOP - 5 + _ROW * row
        parts.append(f'<line class="threshold" x1="{place:.2f}" y1="{head - 9}" x2="{place:.2f}" y2="{BOTTOM}"/>')
        where = f'x="{place + (3 if anchor == "start" else -3):.2f}" y="{head}" text-anchor="{anchor}"'
        parts.append(f'<text class="threshold" {where}>{escape(label)}</text>')
    body = "".join(parts)  # numbers, and labels that were escaped above
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-hidden="true">{body}</svg>')


def shares_svg(figure: Histogram) -> Markup:
    """The shares of the kept rows in each bin as an outline, before bars of the shares of all rows."""
    return _outline_svg(figure, figure.kept + figure.dropped)


def beside_svg(figure: Histogram) -> Markup:
    """The shares of the kept rows in each bin as an outline, before bars of the shares of the dropped ones."""
    return _outline_svg(figure, figure.dropped)


def _outline_svg(figure: Histogram, bars: npt.NDArray[np.int64]) -> Markup:
    shares = [counts / max(1, int(counts.sum())) for counts in (bars, figure.kept)]
    tallest = max(float(share.max()) for share in shares) or 1.0
    places = [_across(figure, float(edge)) for edge in figure.edges]
    tops = [[BOTTOM - float(each) / tallest * (BOTTOM - TOP) for each in share] for share in shares]
    parts = [
        f'<rect class="pool" x="{left:.2f}" y="{top:.2f}" width="{max(0.5, right - left - 0.8):.2f}" '
        f'height="{BOTTOM - top:.2f}"/>'
        for left, right, top in zip(places, places[1:], tops[0], strict=False)
        if top < BOTTOM
    ]
    corners = [f"{places[0]:.2f},{BOTTOM}"]
    for left, right, top in zip(places, places[1:], tops[1], strict=False):
        corners += [f"{left:.2f},{top:.2f}", f"{right:.2f},{top:.2f}"]
    corners.append(f"{places[-1]:.2f},{BOTTOM}")
    parts.append(f'<polyline class="picked" points="{" ".join(corners)}"/>')
    body = "".join([*parts, *_axis(figure)])
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-hidden="true">{body}</svg>')


def _across(figure: Histogram, value: float) -> float:
    """Where a value stands."""
    low, high = float(figure.edges[0]), float(figure.edges[-1])
    share = math.log(value / low) / math.log(high / low) if figure.log else (value - low) / (high - low)
    return LEFT + share * (RIGHT - LEFT)


def _axis(figure: Histogram) -> list[str]:
    """The axis of a histogram, with its ticks."""
    parts = [f'<line class="axis" x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{BOTTOM}"/>']
    for tick in _ticks(float(figure.edges[0]), float(figure.edges[-1]), log=figure.log, whole=figure.whole):
        place = _across(figure, tick)
        anchor = "start" if place < LEFT + 20 else "end" if place > RIGHT - 20 else "middle"
        parts.append(f'<line class="axis" x1="{place:.2f}" y1="{BOTTOM}" x2="{place:.2f}" y2="{BOTTOM + 4}"/>')
        parts.append(f'<text x="{place:.2f}" y="{BOTTOM + 17}" text-anchor="{anchor}">{escape(number(tick))}</text>')
    return parts


def _label_rows(lines: Sequence[tuple[float, str]]) -> list[tuple[float, str, str, int]]:
    """Place, label, anchor and row of each line: one that would lie over another stands a row lower.

    What finds no room in the rows has its line alone: the words under the figure say it too.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(_LABEL_ROWS)]
    found = []
    for place, label in sorted(dict.fromkeys(lines)):
        wide = _LETTER * len(label) + 6
        anchor = "start" if place + wide <= RIGHT else "end"
        span = (place, place + wide) if anchor == "start" else (place - wide, place)
        free = [i for i, row in enumerate(taken) if all(span[1] <= a or b <= span[0] for a, b in row)]
        if free:
            taken[free[0]].append(span)
        found.append((place, label if free else "", anchor, free[0] if free else 0))
    return found


def curve_svg(lines: Sequence[Line], across: str) -> Markup:
    """Lines over a common axis from 0, which `across` names; nothing for no points."""
    points = [point for line in lines for point in line.points]
    if not points:
        return Markup("")
    low, high = min(y for _, y in points), max(y for _, y in points)
    room = (high - low) * 0.06 or abs(high) * 0.05 or 0.5
    low, high, most = low - room, high + room, max(x for x, _ in points) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        down = (high - y) / (high - low) * (_CURVE_BOTTOM - _CURVE_TOP)
        return _CURVE_LEFT + x / most * (_CURVE_RIGHT - _CURVE_LEFT), _CURVE_TOP + down

    parts = []
    for tick in _ticks(low, high, log=False, about=6):
        y = at(0, tick)[1]
        parts.append(f'<line class="axis" x1="{_CURVE_LEFT}" y1="{y:.2f}" x2="{_CURVE_RIGHT}" y2="{y:.2f}"/>')
        parts.append(f'<text x="{_CURVE_LEFT - 7}" y="{y + 4:.2f}" text-anchor="end">{escape(number(tick))}</text>')
    for tick in _ticks(0.0, most, log=False):
        x = at(tick, low)[0]
        anchor = "end" if x > _CURVE_RIGHT - 20 else "middle"
        parts.append(f'<text x="{x:.2f}" y="{_CURVE_BOTTOM + 18}" text-anchor="{anchor}">{escape(number(tick))}</text>')
    parts.append(f'<text x="{_CURVE_RIGHT}" y="{_CURVE_BOTTOM + 36}" text-anchor="end">{escape(across)}</text>')
    for line in lines:
        places = [at(*point) for point in line.points]
        joined = " ".join(f"{x:.2f},{y:.2f}" for x, y in places)
        parts.append(f'<polyline class="curve {escape(line.kind)}" points="{joined}"/>')
        parts += [f'<circle class="curve {escape(line.kind)}" cx="{x:.2f}" cy="{y:.2f}" r="2.6"/>' for x, y in places]
    body = "".join(parts)  # numbers, and words that were escaped above
    return Markup(f'<svg viewBox="0 0 {_ACROSS} {_DOWN}" role="img" aria-hidden="true">{body}</svg>')


def intervals_svg(rows: Sequence[Interval]) -> Markup:
    """A line for each interval with a dot at its value, a broken line through the first one's; nothing for no rows."""
    if not rows:
        return Markup("")
    low, high = min(each.low for each in rows), max(each.high for each in rows)
    room = max(0.06 * (high - low), 0.01)
    low, high = max(0.0, low - room), min(1.0, high + room)
    bottom = 8 + _LINE * len(rows)

    def x(value: float) -> float:
        return _NAMES + (value - low) / (high - low) * (_CURVE_RIGHT - _NAMES)

    parts = [f'<line class="axis" x1="{_NAMES}" y1="{bottom}" x2="{_CURVE_RIGHT}" y2="{bottom}"/>']
    for tick in _ticks(low, high, log=False, about=5):
        place = x(tick)
        anchor = "start" if place < _NAMES + 20 else "end" if place > _CURVE_RIGHT - 20 else "middle"
        parts.append(f'<line class="axis" x1="{place:.2f}" y1="8" x2="{place:.2f}" y2="{bottom + 4}"/>')
        said = f"{number(100 * tick)} %"
        parts.append(f'<text x="{place:.2f}" y="{bottom + 19}" text-anchor="{anchor}">{escape(said)}</text>')
    first = x(rows[0].value)
    parts.append(f'<line class="threshold" x1="{first:.2f}" y1="8" x2="{first:.2f}" y2="{bottom}"/>')
    for i, each in enumerate(rows):
        y = 8 + _LINE * (i + 0.5)
        name = each.name if len(each.name) <= _LONGEST else f"{each.name[: _LONGEST - 1]}…"
        parts.append(f'<text x="{_NAMES - 12}" y="{y + 4.5:.2f}" text-anchor="end">{escape(name)}</text>')
        ends = f'x1="{x(each.low):.2f}" y1="{y:.2f}" x2="{x(each.high):.2f}" y2="{y:.2f}"'
        parts.append(f'<line class="interval" {ends}/>')
        parts.append(f'<circle class="interval" cx="{x(each.value):.2f}" cy="{y:.2f}" r="5"/>')
    body = "".join(parts)  # numbers, and names that were escaped above
    return Markup(f'<svg viewBox="0 0 {_ACROSS} {bottom + 28}" role="img" aria-hidden="true">{body}</svg>')


def _ticks(low: float, high: float, *, log: bool, whole: bool = False, about: int = 4) -> list[float]:
    """Round values within the range, `about` so many; for `whole` bins, of whole numbers alone."""
    if log:
        powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        ticks = [10.0**power for power in powers]
        if len(ticks) < 2:
            ticks = [m * 10.0**p for p in range(powers.start - 1, powers.stop + 1) for m in (1, 2, 5)]
        found = [tick for tick in ticks if low <= tick <= high]
        return found[:: math.ceil(len(found) / 5)] if found else [low, high]
    rough = max((high - low) / about, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in ((1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10)) if m * power >= rough)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)]
