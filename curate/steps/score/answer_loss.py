"""The scorer `answer_loss`: how well a language model predicts the answers of a conversation from what is before them.

    scorer = answer_loss(model="models/smol")
    scorer(ChatBatch.of([[("user", "Name a colour."), ("assistant", "Blue.")]]))["perplexity"]

It is the loss that fine-tuning lowers: the mean of -log P(token | tokens before it) over the supervised tokens, in
nats, those that end a turn among them; its exponential is the perplexity by which rows of the middle or the top are
chosen. The same over all other tokens but the first is the question's, the template's words among them.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.chat.messages import ChatBatch
from curate.core.config import RESOURCE
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.models.device import Device
from curate.models.lm.chat_encode import Encoded
from curate.models.lm.chat_model import load_chat_model
from curate.models.lm.windows import perplexity
from curate.steps.score.scorer import Columns, ConversationScorer

_DECIMALS = 6


def answer_loss(
    *,
    model: ModelFile,
    template: str | None = None,
    context: int | None = None,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> ConversationScorer:
    """Mean loss of the answers' tokens in nats `""`, `perplexity`, `question_perplexity`, `tokens`, `cut`, `reason`.

    `tokens` is how many tokens of answers were scored, `cut` how many of the conversation the context had no room
    for. A conversation without a supervised token has null scores and the reason, one of
    `curate.models.lm.chat_encode`.
    Scores are float64, rounded to 6 decimals; a loss above 709 has the perplexity of 709, 8.2e307.

    Args:
        model: a folder with `config.json`, safetensors weights and a tokenizer, or a step that trains one.
        template: a named chat template in place of the tokenizer's own.
        context: how many tokens of a conversation are read; by default the model's context, 2,048 at most.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: a number is out of range.
        ModelError: the folder is not there, not whole or not safe, has no chat template, or there is no GPU.
    """
    if batch_tokens < 1:
        raise ConfigError(f"answer_loss: batch_tokens {batch_tokens} is below 1; set a positive number")
    chat = load_chat_model(model, template=template, context=context, device=device)

    def score(batch: ChatBatch) -> Columns:
        encoded = chat.encode(batch.conversations)
        rows = [each for each in encoded if isinstance(each, Encoded)]
        losses = iter(chat.losses([row.ids for row in rows], batch_tokens=batch_tokens))
        answers: list[npt.NDArray[np.float64]] = []
        questions: list[npt.NDArray[np.float64]] = []
        reasons: list[str | None] = []
        for each in encoded:
            loss = next(losses) if isinstance(each, Encoded) else np.zeros(0)
            marks = each.supervised[1:] if isinstance(each, Encoded) else np.zeros(0, np.bool_)
            answers.append(loss[marks])
            questions.append(loss[~marks])
            # One supervised token, and nothing before it.
            missing = None if marks.any() else "no-supervised-token"
            reasons.append(missing if isinstance(each, Encoded) else each.reason)
        means = [_mean(each) for each in answers]
        return {
            "": pa.array([None if mean is None else round(mean, _DECIMALS) for mean in means], pa.float64()),
            "perplexity": pa.array([_perplexity(mean) for mean in means], pa.float64()),
            "question_perplexity": pa.array([_perplexity(_mean(each)) for each in questions], pa.float64()),
            "tokens": pa.array([len(each) for each in answers], pa.int32()),
            "cut": pa.array([each.cut if isinstance(each, Encoded) else 0 for each in encoded], pa.int32()),
            "reason": pa.array(reasons, pa.string()),
        }

    return score


def _mean(losses: npt.NDArray[np.float64]) -> float | None:
    return math.fsum(losses) / len(losses) if len(losses) else None


def _perplexity(mean: float | None) -> float | None:
    return None if mean is None else round(perplexity(mean), _DECIMALS)
