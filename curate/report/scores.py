"""The score columns of a run, put together by the scorer that made them.

groups, near = score_groups(story, outputs, verdicts, rules)
groups[0].name, groups[0].first[0].svg
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.report.charts import histogram_svg
from curate.report.columns import Column, Histogram, histogram, numeric_columns, read_column
from curate.report.examples import Near, near_thresholds
from curate.report.labels import Labels, label_columns, labels
from curate.report.story import Story
from curate.report.verdicts import KEPT, Codes, Verdicts
from curate.report.words import SIGNS, number, short, threshold_of

# So many columns are shown at once; of more, those that decided of no row are folded away.
FEW = 12
Rules = Sequence[dict[str, Plain]]
# Columns in which every row says something else.
_PROSE = {"judge": ("feedback",)}


@dataclass(frozen=True)
class Card:
    """One column: of numbers with a histogram, or of text and flags with its values.

    Attributes:
        rules: what the rules say of it.
        failed: whether a row failed one of them.
        every: 1, or k where only every k-th row was read.
    """

    column: str
    rules: tuple[str, ...]
    failed: bool
    figure: Histogram | None = None
    svg: Markup | None = None
    every: int = 1
    labels: Labels | None = None

    @property
    def constant(self) -> str | None:
        """The value, where all rows have one; None where they differ."""
        if self.figure is None or self.figure.least < self.figure.most or self.figure.nulls:
            return None
        return number(self.figure.least)


@dataclass(frozen=True)
class Group:
    """The columns of one scorer.

    Attributes:
        name: of its entry in the score step.
        about: the scorer where its name is another one, the step where several have such an entry.
        first: columns shown at once, those whose rules some row failed before the others.
        others: columns that are folded away.
        constants: columns with one value for all.
        used: how many columns a rule uses.
        open: whether the group is unfolded.
    """

    name: str
    about: str
    first: tuple[Card, ...]
    others: tuple[Card, ...]
    constants: tuple[Card, ...]
    used: int
    open: bool

    @property
    def columns(self) -> int:
        """How many there are."""
        return len(self.first) + len(self.others) + len(self.constants)


def score_groups(
    story: Story, outputs: Mapping[str, Dataset], verdicts: Verdicts | None, rules: Rules
) -> tuple[list[Group], list[Near]]:
    """The groups, those with the earliest rules first, and the rows around the thresholds."""
    found: dict[tuple[str, str], list[Card]] = {}
    about: dict[tuple[str, str], str] = {}
    near: list[Near] = []
    for dataset in _scored(story, outputs):
        codes = verdicts.beside(dataset) if verdicts else _all_kept(dataset)
        step, entries = dataset.manifest.step, _entries(dataset)
        for card, column in _cards(dataset, outputs, codes, rules):
            entry = _entry_of(card.column, entries) or step
            found.setdefault((step, entry), []).append(card)
            about[step, entry] = entries.get(entry, entry)
            if verdicts is not None and column is not None:
                near += near_thresholds(column, [r for r in rules if r["column"] == card.column], verdicts)
    total = sum(card.constant is None for cards in found.values() for card in cards)
    place = {str(rule["column"]): i for i, rule in reversed(list(enumerate(rules)))}
    order = sorted(found, key=lambda key: min(place.get(card.column, len(rules)) for card in found[key]))
    several = len(order) > len({entry for _, entry in order})
    groups = []
    for step, entry in order:
        scorer = about[step, entry]
        words = [scorer] * (scorer != entry) + [f"in {step}"] * several
        groups.append(_group(entry, ", ".join(words), found[step, entry], place, few=total <= FEW))
    if groups and not any(group.open for group in groups):
        first = groups[0]
        groups[0] = Group(
            first.name, first.about, first.first + first.others, (), first.constants, first.used, open=True
        )
    return groups, near


def _group(name: str, about: str, cards: Sequence[Card], place: Mapping[str, int], *, few: bool) -> Group:
    varied = [card for card in cards if card.constant is None]
    ruled = sorted((card for card in varied if card.rules), key=lambda card: place[card.column])
    telling = [card for card in ruled if card.failed]
    constants = tuple(card for card in cards if card.constant is not None)
    used = sum(bool(card.rules) for card in cards)
    rest = [card for card in [*ruled, *(card for card in varied if not card.rules)] if not (card.rules and card.failed)]
    decided = any(card.failed for card in cards)
    first, others = (telling, rest) if decided and not few else ([*telling, *rest], [])
    return Group(name, about, tuple(first), tuple(others), constants, used, few or decided)


def _cards(
    dataset: Dataset, outputs: Mapping[str, Dataset], codes: Mapping[str, Codes], rules: Rules
) -> Iterator[tuple[Card, Column | None]]:
    """Every column of a dataset that it has of itself, in its order; with the values of those of numbers."""
    without = ["id", "text", "source", *_PROSE.get(dataset.manifest.kind, ()), *_of_inputs(dataset, outputs)]
    numeric, text = dict(numeric_columns(dataset, without)), label_columns(dataset, without)
    for name in dataset.schema().names if dataset.shards else ():
        about = [rule for rule in rules if rule["column"] == name]
        said = tuple(f"{short(rule)}: {rule['first']:,} dropped" for rule in about)
        failed = any(rule["all"] for rule in about)
        if name in numeric:
            column = read_column(dataset, name, codes, integers=numeric[name])
            lines = [(value, str(rule["comparison"])) for rule in about if (value := threshold_of(rule)) is not None]
            figure = histogram(column, [value for value, _ in lines])
            if figure is not None:
                marks = [(_place(figure, value, sign), f"{SIGNS[sign]} {number(value)}") for value, sign in lines]
                svg = histogram_svg(figure, marks)
                yield Card(name, said, failed, figure, svg, column.step), column
        elif name in text:
            yield Card(name, said, failed, labels=labels(dataset, name, codes)), None


def _place(figure: Histogram, value: float, sign: str) -> float:
    """Where a threshold is drawn: at the side of a bin of one whole number, as that number is in or out as a whole."""
    if not figure.whole or value != int(value):
        return value
    return value - 0.5 if sign in ("at_least", "below", "top") else value + 0.5


def _entries(dataset: Dataset) -> dict[str, str]:
    """The entries of a score step and their scorers, or of a verify step and their verifiers."""
    config = dataset.manifest.config
    listed = config.get("scorers") or config.get("verifiers")
    entries = [each for each in listed if isinstance(each, list)] if isinstance(listed, list) else []
    return {str(name): str(scorer) for name, scorer, *_ in entries}


def _entry_of(column: str, entries: Mapping[str, str]) -> str | None:
    """The entry that made a column: its name is the column's, or the longest beginning of it."""
    made = [entry for entry in entries if column == entry or column.startswith(f"{entry}_")]
    return max(made, key=len, default=None)


def _scored(story: Story, outputs: Mapping[str, Dataset]) -> list[Dataset]:
    """The score columns that belong to the documents of the story: those of a training set do not."""
    parts = {each.manifest.digest for each in story.chain}
    own = story.documents.manifest.digest if story.documents is not None else None
    found = []
    for each in outputs.values():
        kind, inputs = each.manifest.kind, each.manifest.inputs
        checked = kind in ("verify", "judge") and own in (inputs.get("from"), inputs.get("from[0]"))
        if checked or (kind in ("score", "clean") and each.manifest.digest in parts):
            found.append(each)
    return found


def _of_inputs(dataset: Dataset, outputs: Mapping[str, Dataset]) -> Iterator[str]:
    """The columns that a step got and passed on: a cleaner adds its counts to the documents' own."""
    given = set(dataset.manifest.inputs.values())
    for each in outputs.values():
        if each.manifest.digest in given and each.shards:
            yield from each.schema().names


def _all_kept(dataset: Dataset) -> dict[str, Codes]:
    return {shard.name: np.full(shard.rows, KEPT, np.uint16) for shard in dataset.shards}
