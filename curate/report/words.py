"""Numbers and rules in words.

says({"column": "quality", "comparison": "at_least", "value": 0.5})      # 'quality ≥ 0.5'
"""

from __future__ import annotations

from collections.abc import Mapping

from curate.core.digest import Plain

SIGNS = {"at_least": "≥", "at_most": "≤", "above": ">", "below": "<", "top": "≥", "bottom": "≤"}
_WORDS = {
    "equals": "is",
    "one_of": "is one of",
    "top": "highest, down to",
    "bottom": "lowest, up to",
}


def number(value: float) -> str:
    """A number for a reader: 1,234 or 0.0123 or 1.2e-7.

    >>> number(1234567.0), number(0.01234567), number(3.0)
    ('1,234,567', '0.01235', '3')
    """
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def threshold_of(rule: Mapping[str, Plain]) -> float | None:
    """The number a rule compares with, when it is one."""
    value = rule["value"]
    if isinstance(value, bool) or not isinstance(value, int | float) or rule["comparison"] not in SIGNS:
        return None
    return float(value)


def says(rule: Mapping[str, Plain]) -> str:
    """A rule in words: what a kept row satisfies."""
    return "kept by an earlier step" if rule["column"] == "keep" else f"{rule['column']} {short(rule)}"


def short(rule: Mapping[str, Plain]) -> str:
    """A rule without its column: `≥ 0.5`."""
    comparison, value = str(rule["comparison"]), rule["value"]
    if comparison == "sample":
        # Its threshold is one of a key, not of the score (`curate.core.draw`).
        score = "score" if rule["temperature"] == 1 else f"score / {plain(rule['temperature'])}"
        return f"sampled (seed {rule['seed']}): {score} + noise ≥ {plain(value)}"
    return f"{_WORDS.get(comparison) or SIGNS.get(comparison, comparison)} {plain(value)}"


def plain(value: Plain) -> str:
    """A value of a manifest for a reader."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    return "none" if value is None else str(value)
