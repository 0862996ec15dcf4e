"""The scorer `selectit`: how well language models rate the answers, and how sure they are of it.

    scorer = selectit(model="models/smol")
    scorer(ChatBatch.of([[("user", "Name a colour."), ("assistant", "Blue.")]]))[""]

SelectIT (Liu et al. 2024, arXiv 2402.16705, and its published code) asks a model for a number from 1 to K = 5. With
P_k the probability of the token k where its reply would begin, the five of them made to add up to 1:

    token     S = b · sum over k of |P_b - P_k| / (K - 1), b being the rating with the highest probability
    sentence  mean of S / (1 + alpha · standard deviation of S), over several prompts that ask the same
    model     mean of the sentence scores of several models, each weighed by its number of parameters

The paper's alpha is 0.2; it asks five prompts, as many as there are ratings. The deviation is that of the whole
(divided by the number of prompts, as the code has it). The code's weights of models are written for three models
and do not add up to 1; here they do, as in the paper. The paper scores one turn; of several, the score is the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import pyarrow as pa

from curate.core.chat.messages import ChatBatch
from curate.core.config import RESOURCE
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.models.device import Device
from curate.steps.score.rating import Logits, Pair, Rater, load_rater, pairs_of, parse_prompt
from curate.steps.score.scorer import Columns, ConversationScorer

if TYPE_CHECKING:
    import torch

RATINGS = ("1", "2", "3", "4", "5")
_REPLY = " Reply with the number alone.\n\nRequest:\n{question}\n\nReply:\n{answer}\n\nRating:\n"
PROMPTS = [
    "How well does the reply do what the request asks? Rate it from 1 (not at all) to 5 (fully)." + _REPLY,
    "Judge whether the reply below is correct, from 1 (wrong) to 5 (right in every point)." + _REPLY,
    "Would an assistant become better by learning this reply to the request? Answer from 1 (worse) to 5 (much better)."
    + _REPLY,
    "On a scale from 1 (useless) to 5 (very useful), how useful is the reply to whoever made the request?" + _REPLY,
    "Mark the reply as a strict teacher would: 1 for the poorest, 5 for one that is complete, clear and to the point."
    + _REPLY,
]
_DECIMALS = 6


def selectit(
    *,
    model: ModelFile | list[ModelFile],
    prompts: list[str] = PROMPTS,
    alpha: float = 0.2,
    context: int | None = None,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> ConversationScorer:
    """The score `""` and the `rating` (float64, rounded to 6 decimals), `turns` (int32) and `reason`.

    The score is from 0 (every rating is as likely) to 5 (every prompt gets a 5 for certain). `rating` is the mean of
    the most likely ratings, 1 to 5, sure or not. A conversation without a score has the reason: `empty-conversation`,
    `no-answer`, `empty-turn`, `special-token` (a turn spells one of a model's), or `over-context`.

    Args:
        model: a causal language model as a folder, or a step that trains one, or several; all are held in memory.
        prompts: what a model reads, one after the other; `{question}` and `{answer}` stand for the turn.
        alpha: how much it counts that the prompts' scores differ.
        context: how many tokens of a prompt are read; by default a model's context, 2,048 at most.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: no model or prompt, a field that is not known in a prompt, or a number is out of range.
        ModelError: a folder is not there, not whole or not safe, has no tokens for the ratings, or there is no GPU.
    """
    for name, value in (("context", context), ("batch_tokens", batch_tokens)):
        if value is not None and value < 1:
            raise ConfigError(f"selectit: {name} {value} is below 1; set a positive number")
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ConfigError(f"selectit: alpha {alpha} is below 0 or not finite; set 0 or more")
    if not prompts:
        raise ConfigError("selectit: `prompts` is empty; name one at least, or leave the key out")
    asked = [parse_prompt(f"selectit: prompts[{i}]", each) for i, each in enumerate(prompts)]
    paths = [model] if isinstance(model, str) else model
    if not paths:
        raise ConfigError("selectit: names no model; set `model:`")
    raters = [load_rater(each, RATINGS, context=context, device=device) for each in paths]
    weights = _weights(raters)

    def rate(rater: Rater, pairs: Sequence[Pair]) -> list[tuple[float, float] | str]:
        """The sentence score of each pair by one model, and its mean rating."""
        replies = [rater.logits(prompt, pairs, batch_tokens) for prompt in asked]
        return [sentence_score(each, alpha) for each in zip(*replies, strict=True)]

    def score(batch: ChatBatch) -> Columns:
        pairs = [pairs_of(each) for each in batch.conversations]
        counts = [0 if isinstance(each, str) else len(each) for each in pairs]
        by_model = [
            rate(rater, [pair for each in pairs if not isinstance(each, str) for pair in each]) for rater in raters
        ]
        columns: dict[str, list[float | None]] = {"": [], "rating": []}
        reasons: list[str | None] = []
        at = 0
        for why, count in zip(pairs, counts, strict=True):
            found = [some[at : at + count] for some in by_model]
            at += count
            refused = next((each for some in found for each in some if isinstance(each, str)), None)
            reasons.append(why if isinstance(why, str) else refused)
            for i, values in enumerate(columns.values()):
                rated = (
                    weight * each[i]
                    for weight, some in zip(weights, found, strict=True)
                    for each in some
                    if not isinstance(each, str)
                )
                values.append(round(math.fsum(rated) / count, _DECIMALS) if reasons[-1] is None else None)
        return {
            **{name: pa.array(values, pa.float64()) for name, values in columns.items()},
            "turns": pa.array(counts, pa.int32()),
            "reason": pa.array(reasons, pa.string()),
        }

    return score


def sentence_score(replies: Sequence[Logits | str], alpha: float) -> tuple[float, float] | str:
    """The score of the replies to several prompts and the mean of their most likely ratings, or why there is none.

    >>> sentence_score([np.array([0.0, 0, 0, 0, 900]), np.array([0.0, 0, 900, 0, 0])], 0.2)     # 4 / (1 + 0.2 · 1)
    (3.3333333333333335, 4.0)
    """
    scores: list[float] = []
    ratings: list[int] = []
    for logits in replies:
        if isinstance(logits, str):
            return logits
        powers = np.exp(logits - logits.max())
        shares = powers / math.fsum(powers)
        best = int(shares.argmax())
        ratings.append(best + 1)
        scores.append(ratings[-1] * math.fsum(shares[best] - shares) / (len(shares) - 1))
    mean = math.fsum(scores) / len(scores)
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in scores) / len(scores))
    return mean / (1 + alpha * deviation), math.fsum(ratings) / len(ratings)


def _weights(raters: Sequence[Rater]) -> list[float]:
    """The share of each model in the parameters of all."""
    sizes = [sum(each.numel() for each in cast("torch.nn.Module", rater.lm.model).parameters()) for rater in raters]
    return [size / sum(sizes) for size in sizes]
