"""Scorers: plain functions from a batch of texts, or of conversations, to columns, and the tables that name them.

    scorer = SCORERS["gopher_quality"](variant="dolma")
    scorer(TextBatch.of(["Some text."]))["words"]

To add one: write a factory in a file here, add its line to its table, and a golden row to the tests.
"""

from __future__ import annotations

from collections.abc import Callable

from curate.steps.score.answer_loss import answer_loss
from curate.steps.score.c4 import c4
from curate.steps.score.causal_lm import causal_lm
from curate.steps.score.deita import deita
from curate.steps.score.dsir import dsir
from curate.steps.score.embedding import embedding
from curate.steps.score.fasttext import language, quality
from curate.steps.score.fineweb import fineweb
from curate.steps.score.gopher import gopher_quality, gopher_repetition
from curate.steps.score.ifd import ifd_loss, ifd_ppl
from curate.steps.score.lines import lines
from curate.steps.score.markup import markup
from curate.steps.score.perplexity import perplexity
from curate.steps.score.reward import reward
from curate.steps.score.scorer import Columns, ConversationScorer, Scorer
from curate.steps.score.selectit import selectit
from curate.steps.score.turns import turns
from curate.steps.score.url import url

SCORERS: dict[str, Callable[..., Scorer]] = {
    "c4": c4,
    "causal_lm": causal_lm,
    "dsir": dsir,
    "embedding": embedding,
    "fineweb": fineweb,
    "gopher_quality": gopher_quality,
    "gopher_repetition": gopher_repetition,
    "language": language,
    "lines": lines,
    "markup": markup,
    "perplexity": perplexity,
    "quality": quality,
    "url": url,
}

CHAT_SCORERS: dict[str, Callable[..., ConversationScorer]] = {
    "answer_loss": answer_loss,
    "deita": deita,
    "ifd_loss": ifd_loss,
    "ifd_ppl": ifd_ppl,
    "reward": reward,
    "selectit": selectit,
    "turns": turns,
}

__all__ = ["CHAT_SCORERS", "SCORERS", "Columns", "ConversationScorer", "Scorer"]
