r"""C4's edits: lines that do not read as prose are removed, and citations from those that stay.

    clean = c4(variant="code")
    text, columns = clean(TextBatch.of(["Home | About\nThe house was built in 1910.[3] It still stands."]))
    text[0].as_py()        # 'The house was built in 1910. It still stands.'

The rules are in `curate.text.rules.c4_lines`, and are those of the scorer `c4`.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from curate.steps.clean.cleaner import Cleaner, Columns
from curate.text.batch import TextBatch
from curate.text.rules.c4_lines import judge


def c4(*, variant: Literal["paper", "code"] = "code", terminal_punctuation: bool = True) -> Cleaner:
    """Keep the lines that pass C4's rules, each stripped and without citations, joined by line feeds.

    The arguments and the columns are those of the scorer `c4`. A document that C4 would drop keeps its
    cleaned text; its `reason` says why, and a filter on that column drops it.
    """

    def clean(batch: TextBatch) -> tuple[pa.Array, Columns]:
        verdicts = judge(batch, variant=variant, terminal_punctuation=terminal_punctuation, edit=True)
        return verdicts.text, verdicts.columns()

    return clean
