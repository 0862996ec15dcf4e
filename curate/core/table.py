"""A table of names, whose values are imported when they are looked up.

    SCORERS: Table[Callable[..., Scorer]] = Table({"c4": "curate.steps.score.c4:c4"})
    "c4" in SCORERS, sorted(SCORERS)      # imports nothing
    SCORERS["c4"]

A config is checked by the names of all and by the code of those that it names. The text says where a value lives, so
that a search finds it, and `tools/imports.py` counts it as an import.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Table(MutableMapping[str, T], Generic[T]):
    """From names to values, each given as `module:name`, or as it is (by a test)."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._values: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        """The value; the name is in the table, or it is a KeyError."""
        if name not in self._values:
            module, _, attribute = self._places[name].partition(":")
            self._values[name] = getattr(importlib.import_module(module), attribute)
        return self._values[name]

    def __setitem__(self, name: str, value: T) -> None:
        """Add a value that is at hand."""
        self._places[name] = ""
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        """Forget a name."""
        del self._places[name]
        self._values.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        """The names in order."""
        return iter(self._places)

    def __len__(self) -> int:
        """How many names."""
        return len(self._places)
