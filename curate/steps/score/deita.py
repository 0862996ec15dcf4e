"""The scorer `deita`: complexity of the questions times quality of the answers, as language models rate them.

    scorer = deita(complexity="models/complexity", quality="models/quality")
    scorer(ChatBatch.of([[("user", "Name a colour."), ("assistant", "Blue.")]]))[""]

As in DEITA (Liu et al. 2024, arXiv 2312.15685) a model is asked to rate with a number, and the score is the sum over
k = 1..6 of k times the probability of the token "k", the softmax of the six logits where its reply would begin. For
each turn, a question and the answer to it, the two are multiplied; over the turns of a conversation the default is the
mean, so that long chats do not win by their length (the paper takes the sum).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa

from curate.core.chat.messages import ChatBatch
from curate.core.config import RESOURCE
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.models.device import Device
from curate.steps.score.rating import Logits, Prompt, Rater, load_rater, pairs_of, parse_prompt
from curate.steps.score.scorer import Columns, ConversationScorer

RATINGS = ("1", "2", "3", "4", "5", "6")
COMPLEXITY = (
    "Rate how demanding the request below is, from 1 (anybody could answer it at once) to 6 (it needs several steps,"
    " constraints or special knowledge). Reply with the number alone.\n\nRequest:\n{question}\n\nRating:\n"
)
QUALITY = (
    "Rate how well the reply below answers the request, from 1 (wrong or useless) to 6 (correct, complete and clear)."
    " Reply with the number alone.\n\nRequest:\n{question}\n\nReply:\n{answer}\n\nRating:\n"
)
_DECIMALS = 6


def deita(
    *,
    complexity: ModelFile | None = None,
    quality: ModelFile | None = None,
    turns: Literal["mean", "sum"] = "mean",
    complexity_prompt: str = COMPLEXITY,
    quality_prompt: str = QUALITY,
    context: int | None = None,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> ConversationScorer:
    """The score `""`, `complexity` and `quality` (float64, rounded to 6 decimals), `turns` (int32) and `reason`.

    With one model alone the score is what that one says, and the other's column is null. A conversation without
    a score has the reason: `empty-conversation`, `no-answer`, `empty-turn`, `special-token` (a turn spells one of the
    model's), or `over-context`.

    Args:
        complexity: a causal language model as a folder, or a step that trains one, that rates questions.
        quality: one that rates answers; it may be the same.
        turns: how the turns of a conversation become one number, the columns of each model among them.
        complexity_prompt: what the model reads; `{question}` stands for the question, `{{` and `}}` for braces.
        quality_prompt: the same with `{answer}` besides. Published scorers need the prompts they were trained with.
        context: how many tokens of a prompt are read; by default the model's context, 2,048 at most.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: no model, a field that is not known in a prompt, or a number is out of range.
        ModelError: a folder is not there, not whole or not safe, has no tokens for the ratings, or there is no GPU.
    """
    for name, value in (("context", context), ("batch_tokens", batch_tokens)):
        if value is not None and value < 1:
            raise ConfigError(f"deita: {name} {value} is below 1; set a positive number")
    if complexity is None and quality is None:
        raise ConfigError("deita: names no model; set `complexity:`, `quality:` or both")
    loaded: dict[str, Rater] = {}
    asked: dict[str, tuple[Rater, Prompt]] = {}
    for name, model, text in (("complexity", complexity, complexity_prompt), ("quality", quality, quality_prompt)):
        prompt = parse_prompt(f"deita: {name}_prompt", text)
        if model is not None:
            if model not in loaded:
                loaded[model] = load_rater(model, RATINGS, context=context, device=device)
            asked[name] = (loaded[model], prompt)

    def score(batch: ChatBatch) -> Columns:
        pairs = [pairs_of(each) for each in batch.conversations]
        reasons = [each if isinstance(each, str) else None for each in pairs]
        there = [[] if isinstance(each, str) else each for each in pairs]
        flat = [pair for each in there for pair in each]
        ratings = {
            name: [_expected(each) for each in rater.logits(prompt, flat, batch_tokens)]
            for name, (rater, prompt) in asked.items()
        }
        columns: dict[str, list[float | None]] = {"": [], "complexity": [], "quality": []}
        at = 0
        for i, some in enumerate(there):
            rows = {name: each[at : at + len(some)] for name, each in ratings.items()}
            at += len(some)
            refused = (each for row in rows.values() for each in row if isinstance(each, str))
            reasons[i] = reasons[i] or next(refused, None)
            numbers = {name: [each for each in row if not isinstance(each, str)] for name, row in rows.items()}
            numbers[""] = [math.prod(each) for each in zip(*numbers.values(), strict=False)]
            for name, values in columns.items():
                values.append(_over(turns, numbers[name]) if reasons[i] is None and name in numbers else None)
        return {
            **{name: pa.array(values, pa.float64()) for name, values in columns.items()},
            "turns": pa.array([len(each) for each in there], pa.int32()),
            "reason": pa.array(reasons, pa.string()),
        }

    return score


def _over(turns: Literal["mean", "sum"], values: Sequence[float]) -> float:
    total = math.fsum(values)
    return round(total / len(values) if turns == "mean" else total, _DECIMALS)


def _expected(logits: Logits | str) -> float | str:
    """The rating, 1 to 6, or the reason why there is none."""
    if isinstance(logits, str):
        return logits
    powers = np.exp(logits - logits.max())
    return math.fsum(powers * np.arange(1, len(RATINGS) + 1)) / math.fsum(powers)
