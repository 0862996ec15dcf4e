"""Presets: the published rules and whole recipes as plain data, for `score` and for `filter`.

    PRESETS["gopher-dolma"].scorers           # {'gopher_quality': {'variant': 'dolma'}, ...}
    PRESETS["gopher-dolma"].rules[0].column   # 'gopher_quality_words'

    scores: {score: {from: docs, preset: fineweb, language: {model: lid.176.ftz}}}
    kept: {filter: {from: [scores], rules: [{preset: fineweb}]}}

`docs/presets.md` says what of each recipe lies in other steps.

Gopher: Rae et al. 2021, table A1. C4: Raffel et al. 2020. mC4: Xue et al. 2021. CCNet: Wenzek et al. 2020.
FineWeb: Penedo et al. 2024. DCLM: Li et al. 2024, whose heuristics are those of RefinedWeb (Penedo et al. 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Value: TypeAlias = "str | bool | int | float | list[str] | dict[str, float]"
Arguments: TypeAlias = "Mapping[str, str | bool]"


@dataclass(frozen=True)
class PresetRule:
    """One comparison of a column of a scorer's entry; `part` is the set of rules that it belongs to, if any."""

    entry: str
    suffix: str
    comparison: str
    value: Value
    part: str = ""

    @property
    def column(self) -> str:
        """The column, for an entry of the scorer's own name."""
        return self.column_of(self.entry)

    def column_of(self, entry: str) -> str:
        """The column, for an entry of this name."""
        return f"{entry}_{self.suffix}" if self.suffix else entry


@dataclass(frozen=True)
class Preset:
    """What a recipe scores, with the arguments that it fixes, and what it then asks of the scores, in order."""

    scorers: Mapping[str, Arguments]
    rules: tuple[PresetRule, ...] = field(default=())


# What a user brings for a scorer that reads a model.
BRINGS: dict[str, str] = {
    "language": "`language: {model: FILE}`, a fastText language identifier such as lid.176.ftz",
    "quality": "`quality: {model: FILE or training step, label: LABEL}`, a fastText classifier",
    "perplexity": "`perplexity: {model: FILE or training step}`, an n-gram model",
}


def _part(name: str, entry: str, *rules: tuple[str, str, Value]) -> tuple[PresetRule, ...]:
    return tuple(PresetRule(entry, suffix, comparison, value, name) for suffix, comparison, value in rules)


_GOPHER_QUALITY = _part(
    "gopher-quality",
    "gopher_quality",
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
)
_GOPHER_REPETITION = _part(
    "gopher-repetition",
    "gopher_repetition",
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
)
_FINEWEB_QUALITY = _part(
    "fineweb-quality",
    "fineweb",
    ("line_punct", "at_least", 0.12),
    ("short_lines", "at_most", 0.67),
    ("dup_line_chars", "at_most", 0.01),
    ("newlines_per_word", "at_most", 0.3),
)
_C4_PAGE: tuple[tuple[str, str, Value], ...] = (("lorem_ipsum", "equals", False), ("curly_bracket", "equals", False))
_C4_PAGE_CODE = _part("c4-page-code", "c4", *_C4_PAGE, ("sentences", "at_least", 3))
_C4_PAGE_PAPER = _part("c4-page-paper", "c4", *_C4_PAGE, ("sentences", "at_least", 5))
_REFINEDWEB_LINES = _part("refinedweb-lines", "lines", ("removed_words", "at_most", 0.05))
_ENGLISH = (PresetRule("language", "", "one_of", ["en"]),)
_ENGLISH_65 = (*_ENGLISH, PresetRule("language", "score", "at_least", 0.65))
_HEAD_AND_MIDDLE = (
    PresetRule("language", "score", "at_least", 0.5),
    PresetRule("perplexity", "", "below", {"quantile": 0.60}),
)
_TOP_TENTH = (PresetRule("quality", "", "top", 0.10),)


def _gopher(variant: str) -> Preset:
    scorers = {"gopher_quality": {"variant": variant}, "gopher_repetition": {"variant": variant}}
    return Preset(scorers, (*_GOPHER_QUALITY, *_GOPHER_REPETITION))


def _c4(variant: str, page: tuple[PresetRule, ...]) -> Preset:
    scorers: dict[str, Arguments] = {"language": {}, "c4": {"variant": variant, "terminal_punctuation": True}}
    return Preset(scorers, (*_ENGLISH, *page))


PRESETS: dict[str, Preset] = {
    # Parts: the rules of one scorer.
    "gopher-quality": Preset({"gopher_quality": {}}, _GOPHER_QUALITY),
    "gopher-repetition": Preset({"gopher_repetition": {}}, _GOPHER_REPETITION),
    "fineweb-quality": Preset({"fineweb": {}}, _FINEWEB_QUALITY),
    "refinedweb-lines": Preset({"lines": {}}, _REFINEDWEB_LINES),
    "c4-page-code": Preset({"c4": {"variant": "code"}}, _C4_PAGE_CODE),
    "c4-page-paper": Preset({"c4": {"variant": "paper"}}, _C4_PAGE_PAPER),
    "mc4": Preset({"c4": {}}, _part("mc4", "c4", ("three_long_lines", "equals", True))),
    # Whole recipes.
    "gopher-datatrove": _gopher("datatrove"),
    "gopher-dclm": _gopher("dclm"),
    "gopher-dolma": _gopher("dolma"),
    "gopher-nemo": _gopher("nemo"),
    "c4-code": _c4("code", _C4_PAGE_CODE),
    "c4-paper": _c4("paper", _C4_PAGE_PAPER),
    "ccnet": Preset({"language": {}, "perplexity": {}}, _HEAD_AND_MIDDLE),
    "fineweb": Preset(
        {
            "language": {},
            "gopher_repetition": {"variant": "datatrove"},
            "gopher_quality": {"variant": "datatrove"},
            "c4": {"variant": "paper", "terminal_punctuation": False},
            "fineweb": {},
        },
        (*_ENGLISH_65, *_GOPHER_REPETITION, *_GOPHER_QUALITY, *_C4_PAGE_PAPER, *_FINEWEB_QUALITY),
    ),
    "dclm": Preset(
        {
            "language": {},
            "gopher_quality": {"variant": "dclm"},
            "gopher_repetition": {"variant": "dclm"},
            "lines": {},
            "quality": {},
        },
        (*_ENGLISH_65, *_GOPHER_QUALITY, *_GOPHER_REPETITION, *_REFINEDWEB_LINES, *_TOP_TENTH),
    ),
}
