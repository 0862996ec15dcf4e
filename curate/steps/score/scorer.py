"""What a scorer is: a plain function from a batch of texts, or of conversations, to columns.

    scorer = gopher_quality(variant="dclm")     # the factory loads what it needs, once a worker
    columns = scorer(TextBatch.of(["some text"]))

The keys of the columns are suffixes: `""` stands for the entry's own name in the config, `"score"` gives
`<entry>_score`.
"""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from curate.core.chat.messages import ChatBatch
from curate.text.batch import TextBatch

Columns = dict[str, pa.Array]


class Scorer(Protocol):
    """One value per row and column; no side effects, no I/O. A null text counts as an empty one."""

    def __call__(self, batch: TextBatch) -> Columns:
        """Score a batch."""
        ...


class ConversationScorer(Protocol):
    """One value per row and column; no side effects, no I/O. Null messages count as no turns.

    What cannot be scored is null, and a column `reason` says why.
    """

    def __call__(self, batch: ChatBatch) -> Columns:
        """Score a batch."""
        ...
