"""The scorers `ifd_loss` and `ifd_ppl`: how much harder an answer is to predict with its question than without.

    scorer = ifd_ppl(model="models/smol")
    scorer(ChatBatch.of([[("user", "Name a colour."), ("assistant", "Blue is a colour.")]]))[""]

Instruction-following difficulty. Two papers of the same authors define it in two ways, which rank rows otherwise:

- `ifd_loss` (Cherry; Li et al. 2024a, arXiv 2308.12032): mean loss of the answer's tokens given the question, over
  their mean loss given the template's response prefix alone. They keep scores of at most 1, the highest first.
- `ifd_ppl` (Superfiltering; Li et al. 2024b, arXiv 2402.00530): perplexity of the answer given the question, over
  its perplexity given nothing, whose mean leaves out the first token. They keep scores under 1, the highest first.

The tokens of an answer are the same in both passes, as they were cut in the whole conversation, and the token that
ends a turn is not among them. Of several answers the means are over the tokens of all, each answer given all that
is before it, and each alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.chat.messages import ChatBatch
from curate.core.config import RESOURCE
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.models.device import Device
from curate.models.lm.chat_encode import ChatEncoder, Encoded, Refused
from curate.models.lm.chat_model import ChatModel, load_chat_model
from curate.models.lm.folder import Tokens
from curate.models.lm.windows import perplexity
from curate.steps.score.scorer import Columns, ConversationScorer

_DECIMALS = 6
Losses = npt.NDArray[np.float64]
# From the answers' losses given the question and alone to the score, or to the reason why there is none.
Measure = Callable[[Losses, Losses], tuple[float, float, float] | str]


def ifd_loss(
    *,
    model: ModelFile,
    template: str | None = None,
    context: int | None = None,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> ConversationScorer:
    """The ratio of the two losses `""`, the losses in nats `conditioned` and `alone`, `tokens`, `cut` and `reason`.

    `tokens` is how many tokens of answers were scored, `cut` how many of the conversation the context had no room
    for. A conversation without a score has the reason: one of `curate.models.lm.chat_encode`, or `zero-loss` where
    the answer alone is certain. Scores are float64, rounded to 6 decimals.

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

    def before(encode: ChatEncoder, first: int) -> Tokens:
        return encode.prefix if len(encode.prefix) else np.array([first], dtype=np.int32)

    def measure(given: Losses, alone: Losses) -> tuple[float, float, float] | str:
        conditioned, free = math.fsum(given) / len(given), math.fsum(alone) / len(alone)
        return (conditioned / free, conditioned, free) if free > 0 else "zero-loss"

    return _scorer("ifd_loss", model, template, context, batch_tokens, device, before, measure)


def ifd_ppl(
    *,
    model: ModelFile,
    template: str | None = None,
    context: int | None = None,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> ConversationScorer:
    """The ratio of the two perplexities `""`, the perplexities `conditioned` and `alone`, `tokens`, `cut` and `reason`.

    As `ifd_loss`; an answer of one token has nothing to be scored alone: no score, with the reason
    `one-token-answer`. A perplexity stops at 8.2e307, as does the score.

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

    def before(_encode: ChatEncoder, _first: int) -> Tokens:
        return np.zeros(0, dtype=np.int32)

    def measure(given: Losses, alone: Losses) -> tuple[float, float, float] | str:
        if not len(alone):
            return "one-token-answer"
        conditioned, free = math.fsum(given) / len(given), math.fsum(alone) / len(alone)
        return perplexity(conditioned - free), perplexity(conditioned), perplexity(free)

    return _scorer("ifd_ppl", model, template, context, batch_tokens, device, before, measure)


def _scorer(
    name: str,
    model: str,
    template: str | None,
    context: int | None,
    batch_tokens: int,
    device: Device,
    before: Callable[[ChatEncoder, int], Tokens],
    measure: Measure,
) -> ConversationScorer:
    if batch_tokens < 1:
        raise ConfigError(f"{name}: batch_tokens {batch_tokens} is below 1; set a positive number")
    chat = load_chat_model(model, template=template, context=context, device=device)
    prefix = before(chat.encode, chat.lm.start)

    def score(batch: ChatBatch) -> Columns:
        encoded = chat.encode(batch.conversations)
        rows = [each for each in encoded if isinstance(each, Encoded)]
        pairs = iter(_losses(chat, rows, prefix, batch_tokens))
        found: list[tuple[float, float, float] | str] = []
        tokens: list[int] = []
        for each in encoded:
            if isinstance(each, Refused):
                found.append(each.reason)
                tokens.append(0)
                continue
            given, alone = next(pairs)
            tokens.append(len(given))
            found.append(measure(given, alone) if len(given) else "no-supervised-token")
        scores = [None if isinstance(each, str) else each for each in found]
        return {
            **{
                column: pa.array([None if each is None else round(each[i], _DECIMALS) for each in scores], pa.float64())
                for i, column in enumerate(("", "conditioned", "alone"))
            },
            "tokens": pa.array(tokens, pa.int32()),
            "cut": pa.array([each.cut if isinstance(each, Encoded) else 0 for each in encoded], pa.int32()),
            "reason": pa.array([each if isinstance(each, str) else None for each in found], pa.string()),
        }

    return score


def _losses(chat: ChatModel, rows: Sequence[Encoded], prefix: Tokens, batch_tokens: int) -> list[tuple[Losses, Losses]]:
    """For each row the losses of its answers' tokens given all before them, and given `prefix` alone."""
    # A token that nothing stands before has no loss.
    places = [[run[run > 0] for run in chat.encode.answers(row)] for row in rows]
    alone = [
        [np.concatenate([prefix, row.ids[run]]) for run in runs if len(run)]
        for row, runs in zip(rows, places, strict=True)
    ]
    sequences = [*(row.ids for row in rows), *(each for some in alone for each in some)]
    losses = iter(chat.losses(sequences, batch_tokens=batch_tokens))
    given = [next(losses) for _ in rows]
    skipped = max(0, len(prefix) - 1)
    found: list[tuple[Losses, Losses]] = []
    for loss, runs, some in zip(given, places, alone, strict=True):
        where = np.concatenate([*runs, np.zeros(0, np.int64)]) - 1
        single = [next(losses)[skipped:] for _ in some]
        found.append((loss[where], np.concatenate([*single, np.zeros(0)])))
    return found
