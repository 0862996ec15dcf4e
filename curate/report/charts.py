"""Small SVG charts whose colours come from the page, so that they follow light and dark.

histogram_svg(figure, [(0.7, "0.7")])
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from curate.report.columns import Histogram
from curate.report.words import number

WIDTH, HEIGHT = 360, 152
LEFT, RIGHT, TOP, BOTTOM = 6, 354, 22, 128


def histogram_svg(figure: Histogram, thresholds: Sequence[tuple[float, str]]) -> Markup:
    """Bars of kept rows with the dropped on top, ticks, and a line at every threshold that is in range."""
    edges = figure.edges
    low, high = float(edges[0]), float(edges[-1])

    def x(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if figure.log else (value - low) / (high - low)
        return LEFT + share * (RIGHT - LEFT)

    tallest = max(1, int((figure.kept + figure.dropped).max()))
    parts: list[str] = []
    for i, (kept, dropped) in enumerate(zip(figure.kept.tolist(), figure.dropped.tolist(), strict=True)):
        left, right = x(float(edges[i])), x(float(edges[i + 1]))
        width = max(0.5, right - left - 0.8)
        base = float(BOTTOM)
        for count, kind in ((kept, "kept"), (dropped, "dropped")):
            if count:
                # A bin with a single row stays visible beside one with a million.
                tall = max(1.2, count / tallest * (BOTTOM - TOP))
                base -= tall
                size = f'width="{width:.2f}" height="{tall:.2f}"'
                parts.append(f'<rect class="{kind}" x="{left:.2f}" y="{base:.2f}" {size}/>')
    parts.append(f'<line class="axis" x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{BOTTOM}"/>')
    for tick in _ticks(low, high, log=figure.log):
        place = x(tick)
        anchor = "start" if place < LEFT + 20 else "end" if place > RIGHT - 20 else "middle"
        parts.append(f'<line class="axis" x1="{place:.2f}" y1="{BOTTOM}" x2="{place:.2f}" y2="{BOTTOM + 4}"/>')
        parts.append(f'<text x="{place:.2f}" y="{BOTTOM + 16}" text-anchor="{anchor}">{escape(number(tick))}</text>')
    for value, label in thresholds:
        if low <= value <= high:
            place = x(value)
            anchor = "start" if place < (LEFT + RIGHT) / 2 else "end"
            shift = 3 if anchor == "start" else -3
            parts.append(f'<line class="threshold" x1="{place:.2f}" y1="{TOP - 14}" x2="{place:.2f}" y2="{BOTTOM}"/>')
            where = f'x="{place + shift:.2f}" y="{TOP - 5}" text-anchor="{anchor}"'
            parts.append(f'<text class="threshold" {where}>{escape(label)}</text>')
    body = "".join(parts)  # numbers, and labels that were escaped above
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-hidden="true">{body}</svg>')


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Round values within the range, about four."""
    if log:
        powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        ticks = [10.0**power for power in powers]
        if len(ticks) < 2:
            ticks = [m * 10.0**p for p in range(powers.start - 1, powers.stop + 1) for m in (1, 2, 5)]
        found = [tick for tick in ticks if low <= tick <= high]
        return found[:: math.ceil(len(found) / 5)] if found else [low, high]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)]
