"""What a cleaner is: a plain function from a batch of texts to the edited texts and counts of the edits.

    clean = pii(email=True)                    # the factory's arguments are its configuration
    text, columns = clean(TextBatch.of(["write to jo@example.org"]))

Cleaning twice gives what cleaning once gives.
"""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from curate.text.batch import TextBatch

Columns = dict[str, pa.Array]


class Cleaner(Protocol):
    """The edited text as large_string, a null one null, and one value per row and column."""

    def __call__(self, batch: TextBatch) -> tuple[pa.Array, Columns]:
        """Edit the texts and count the edits."""
        ...
