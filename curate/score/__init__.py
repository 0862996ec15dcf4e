"""Scorers: plain functions from a batch of texts, or of conversations, to columns, and the tables that name them.

    scorer = SCORERS["gopher_quality"](variant="dolma")
    scorer(TextBatch.of(["Some text."]))["words"]

To add one: write a factory in a file here, add its line to its table, and a golden row to the tests.
"""

from __future__ import annotations

from collections.abc import Callable

from curate.score.answer_loss import answer_loss
from curate.score.c4 import c4
from curate.score.causal_lm import causal_lm
from curate.score.deita import deita
from curate.score.dsir import dsir
from curate.score.embedding import embedding
from curate.score.fasttext import language, quality
from curate.score.fineweb import fineweb
from curate.score.gopher import gopher_quality, gopher_repetition
from curate.score.ifd import ifd_loss, ifd_ppl
from curate.score.lines import lines
from curate.score.markup import markup
from curate.score.perplexity import perplexity
from curate.score.reward import reward
from curate.score.scorer import Columns, ConversationScorer, Scorer
from curate.score.selectit import selectit
from curate.score.turns import turns
from curate.score.url import url

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
