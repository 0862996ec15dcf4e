"""Presets: the published rules, as tables over the columns of the scorer of that name.

    PRESETS["gopher-quality"].scorer         # 'gopher_quality'
    PRESETS["gopher-quality"].rules[0]       # ('words', 'at_least', 50)

Gopher: Rae et al. 2021, table A1. C4: Raffel et al. 2020. FineWeb: Penedo et al. 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

from curate.filter.rules import Value


@dataclass(frozen=True)
class Preset:
    """Rules over the columns of one scorer: (column suffix, comparison, value)."""

    scorer: str
    rules: tuple[tuple[str, str, Value], ...]


_C4_PAGE: tuple[tuple[str, str, Value], ...] = (
    ("lorem_ipsum", "equals", False),
    ("curly_bracket", "equals", False),
)

PRESETS: dict[str, Preset] = {
    "gopher-quality": Preset(
        "gopher_quality",
        (
            ("words", "at_least", 50),
            ("words", "at_most", 100_000),
            ("mean_word_length", "at_least", 3),
            ("mean_word_length", "at_most", 10),
            ("hash_ratio", "at_most", 0.1),
            ("ellipsis_ratio", "at_most", 0.1),
            ("bullet_lines", "at_most", 0.9),
            ("ellipsis_lines", "at_most", 0.3),
            ("alpha_words", "at_least", 0.8),
            ("stop_words", "at_least", 2),
        ),
    ),
    "gopher-repetition": Preset(
        "gopher_repetition",
        (
            ("dup_lines", "at_most", 0.30),
            ("dup_paragraphs", "at_most", 0.30),
            ("dup_line_chars", "at_most", 0.20),
            ("dup_paragraph_chars", "at_most", 0.20),
            ("top_2_gram", "at_most", 0.20),
            ("top_3_gram", "at_most", 0.18),
            ("top_4_gram", "at_most", 0.16),
            ("dup_5_gram", "at_most", 0.15),
            ("dup_6_gram", "at_most", 0.14),
            ("dup_7_gram", "at_most", 0.13),
            ("dup_8_gram", "at_most", 0.12),
            ("dup_9_gram", "at_most", 0.11),
            ("dup_10_gram", "at_most", 0.10),
        ),
    ),
    "fineweb": Preset(
        "fineweb",
        (
            ("line_punct", "at_least", 0.12),
            ("short_lines", "at_most", 0.67),
            ("dup_line_chars", "at_most", 0.01),
            ("newlines_per_word", "at_most", 0.3),
        ),
    ),
    "c4-code": Preset("c4", (*_C4_PAGE, ("sentences", "at_least", 3))),
    "c4-paper": Preset("c4", (*_C4_PAGE, ("sentences", "at_least", 5))),
    "mc4": Preset("c4", (("three_long_lines", "equals", True),)),
}
