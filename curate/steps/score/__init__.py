"""Scorers: plain functions from a batch of texts, or of conversations, to columns, and the tables that name them.

    scorer = SCORERS["gopher_quality"](variant="dolma")
    scorer(TextBatch.of(["Some text."]))["words"]

To add one: write a factory in a file here, add its line to its table, and a golden row to the tests.
"""

from __future__ import annotations

from collections.abc import Callable

from curate.core.table import Table
from curate.steps.score.scorer import Columns, ConversationScorer, Scorer

SCORERS: Table[Callable[..., Scorer]] = Table(
    {
        "c4": "curate.steps.score.c4:c4",
        "causal_lm": "curate.steps.score.causal_lm:causal_lm",
        "dsir": "curate.steps.score.dsir:dsir",
        "embedding": "curate.steps.score.embedding:embedding",
        "fineweb": "curate.steps.score.fineweb:fineweb",
        "gopher_quality": "curate.steps.score.gopher:gopher_quality",
        "gopher_repetition": "curate.steps.score.gopher:gopher_repetition",
        "language": "curate.steps.score.fasttext:language",
        "lines": "curate.steps.score.lines:lines",
        "markup": "curate.steps.score.markup:markup",
        "perplexity": "curate.steps.score.perplexity:perplexity",
        "quality": "curate.steps.score.fasttext:quality",
        "url": "curate.steps.score.url:url",
    }
)

CHAT_SCORERS: Table[Callable[..., ConversationScorer]] = Table(
    {
        "answer_loss": "curate.steps.score.answer_loss:answer_loss",
        "deita": "curate.steps.score.deita:deita",
        "ifd_loss": "curate.steps.score.ifd:ifd_loss",
        "ifd_ppl": "curate.steps.score.ifd:ifd_ppl",
        "reward": "curate.steps.score.reward:reward",
        "selectit": "curate.steps.score.selectit:selectit",
        "turns": "curate.steps.score.turns:turns",
    }
)

__all__ = ["CHAT_SCORERS", "SCORERS", "Columns", "ConversationScorer", "Scorer"]
