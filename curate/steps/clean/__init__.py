"""Cleaners edit text: the table of their names, and what they are made of.

    text, columns = CLEANERS["c4"](variant="code")(batch)

A new cleaner is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from curate.steps.clean.c4 import c4
from curate.steps.clean.cleaner import Cleaner, Columns
from curate.steps.clean.pii import pii

CLEANERS: dict[str, Callable[..., Cleaner]] = {"c4": c4, "pii": pii}
# Those that mean the same for a turn of a conversation; the lines that `c4` judges are those of a page.
OF_TURNS = ("pii",)

__all__ = ["CLEANERS", "OF_TURNS", "Cleaner", "Columns", "c4", "pii"]
