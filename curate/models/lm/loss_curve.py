"""The loss curve of a training as a table and as a picture that needs nothing else.

rows = curve_rows(curve, step_tokens=4096)
curve_svg(rows)                              # '<svg ...'
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from curate.models.lm.pretrain.loop import Point

Row = Mapping[str, int | float | None]
COLUMNS = ("step", "tokens", "train_loss", "held_out_loss", "held_out_bits_per_byte")
_WIDTH, _HEIGHT, _LEFT, _TOP = 640, 360, 56, 24
_LINES = (("train_loss", "#1f77b4", "training"), ("held_out_loss", "#d62728", "held out"))


def curve_rows(curve: Sequence[Point], step_tokens: int) -> list[Row]:
    """A row for each point, losses rounded to 6 decimals, null where nothing was held out."""
    values = [
        (p.step, p.step * step_tokens, *map(rounded, (p.train_loss, p.held_out_loss, p.bits_per_byte))) for p in curve
    ]
    return [dict(zip(COLUMNS, row, strict=True)) for row in values]


def rounded(value: float) -> float | None:
    """A loss as the card has it: 6 decimals, None where it is not known."""
    return None if math.isnan(value) else round(value, 6)


def curve_csv(rows: Sequence[Row]) -> str:
    """The rows with a header; nulls are empty."""
    lines = [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
    return "\n".join([",".join(rows[0]), *lines]) + "\n"


def curve_svg(rows: Sequence[Row]) -> str:
    """Both losses over the tokens learnt."""
    known = [float(v) for row in rows for name, _, _ in _LINES if (v := row[name]) is not None]
    low, high = math.floor(min(known) * 2) / 2, math.ceil(max(known) * 2) / 2
    high = high if high > low else low + 0.5
    most = max(float(row["tokens"] or 0) for row in rows)
    across, down = _WIDTH - _LEFT - 16, _HEIGHT - _TOP - 44

    def at(tokens: float, loss: float) -> str:
        return f"{_LEFT + across * tokens / most:.1f},{_TOP + down * (high - loss) / (high - low):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    for i in range(5):
        loss = high - (high - low) * i / 4
        y = _TOP + down * i / 4
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{across}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{loss:.2f}</text>')
    parts.append(f'<text x="{_LEFT}" y="14">nats a token</text>')
    parts.append(f'<text x="{_LEFT + across}" y="{_HEIGHT - 28}" text-anchor="end">{most:,.0f} tokens</text>')
    for i, (name, colour, label) in enumerate(_LINES):
        points = [at(float(row["tokens"] or 0), float(v)) for row in rows if (v := row[name]) is not None]
        if points:
            parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts.append(f'<text x="{_LEFT + 90 * i}" y="{_HEIGHT - 8}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
