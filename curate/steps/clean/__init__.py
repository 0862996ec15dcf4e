"""Cleaners edit text: the table of their names, and what they are made of.

    text, columns = CLEANERS["c4"](variant="code")(batch)

A new cleaner is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from curate.core.table import Table
from curate.steps.clean.cleaner import Cleaner, Columns

CLEANERS: Table[Callable[..., Cleaner]] = Table(
    {
        "c4": "curate.steps.clean.c4:c4",
        "pii": "curate.steps.clean.pii:pii",
    }
)
# Those that mean the same for a turn of a conversation; the lines that `c4` judges are those of a page.
OF_TURNS = ("pii",)

__all__ = ["CLEANERS", "OF_TURNS", "Cleaner", "Columns", "c4", "pii"]
