"""The values of a model's card for the page, and the tables that are made of them.

at({"words": 1234}, "words"), at({}, "words")            # '1,234', '–'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from curate.core.digest import Plain
from curate.report.words import plain

CardValues: TypeAlias = Mapping[str, Plain]


@dataclass(frozen=True)
class Bar:
    """A cell that is drawn: from `start`, `width` long, both in percent of the cell."""

    start: float
    width: float
    kind: str


@dataclass(frozen=True)
class Table:
    """A short table; the first column is of words, the others of numbers or bars."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | Bar, ...], ...]


# The figures that matter first, by what they are called, and the tables.
Described: TypeAlias = tuple[list[tuple[str, str]], list[Table]]


def mapping(card: CardValues, key: str) -> CardValues:
    """A mapping of the card, empty where it has none."""
    found = card.get(key)
    return found if isinstance(found, dict) else {}


def listed(card: CardValues, key: str) -> Sequence[Plain]:
    """A list of the card, empty where it has none."""
    found = card.get(key)
    return found if isinstance(found, list) else []


def at(card: CardValues, key: str) -> str:
    """A value in words, a dash where the card has none."""
    return plain(card[key]) if card.get(key) is not None else "–"
