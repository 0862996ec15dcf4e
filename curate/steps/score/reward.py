"""The scorer `reward`: what a sequence classifier says of a conversation, as a reward model does.

    scorer = reward(model="models/reward")
    scorer(ChatBatch.of([[("user", "Name a colour."), ("assistant", "Blue.")]]))[""]

A model with one logit gives it as it is; of one with several labels the score is the probability of one label, from
the softmax of its logits. The conversation is rendered by the chat template of the model's tokenizer. One without
a template reads the pair of question and answer, as classifiers of pairs do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.chat.messages import ChatBatch, Conversation, part
from curate.core.config import RESOURCE
from curate.core.errors import ConfigError, nearest
from curate.core.files import ModelFile
from curate.models.device import Device
from curate.models.encoder.classifier import Classifier, Sequenced, load_classifier
from curate.models.lm.chat_encode import ChatEncoder, Encoded
from curate.models.stats import softmax
from curate.steps.score.scorer import Columns, ConversationScorer

# A longer conversation costs memory for its attention.
_MOST_CONTEXT = 2048
_DECIMALS = 6


class _PairTokenizer(Protocol):
    chat_template: object

    def __call__(self, question: str, answer: str, **options: object) -> Mapping[str, Sequence[int]]: ...


def reward(
    *,
    model: ModelFile,
    label: str | None = None,
    template: str | None = None,
    context: int | None = None,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> ConversationScorer:
    """The model's number `""` (float64, rounded to 6 decimals), `tokens` and `cut` (int32), and `reason`.

    `tokens` were read, `cut` are those that the context had no room for. A conversation that cannot be read has a
    null score and the reason, one of `curate.models.lm.chat_encode`.

    Args:
        model: a folder with `config.json`, safetensors weights and a tokenizer, or a step that trains one.
        label: whose probability is the score; needed where the model has several labels.
        template: a named chat template in place of the tokenizer's own.
        context: how many tokens are read; by default the model's context, 2,048 at most.
        batch_tokens: about how many tokens are computed at once on a GPU.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: a number is out of range, or the label is missing or unknown.
        ModelError: the folder is not there, not whole or not safe, is no classifier, or there is no GPU.
    """
    for name, value in (("context", context), ("batch_tokens", batch_tokens)):
        if value is not None and value < 1:
            raise ConfigError(f"reward: {name} {value} is below 1; set a positive number")
    judge = load_classifier(model, device=device)
    chosen = _label(judge, label)
    reads = context or min(judge.context or _MOST_CONTEXT, _MOST_CONTEXT)
    if judge.context is not None and reads > judge.context:
        raise ConfigError(
            f"{judge.path}: the model reads {judge.context} tokens at once, not {reads}; lower `context:`"
        )
    templated = template is not None or cast(_PairTokenizer, judge.tokenizer).chat_template
    encode = ChatEncoder(judge.tokenizer, template, reads, judge.path) if templated else None

    def score(batch: ChatBatch) -> Columns:
        found = _rendered(encode, batch) if encode else [_pair(judge, each, reads) for each in batch.conversations]
        there = {i: each[0] for i, each in enumerate(found) if not isinstance(each, str)}
        logits = judge.logits(list(there.values()), batch_tokens=batch_tokens)
        scores: list[float | None] = [None] * len(found)
        for i, row in zip(there, logits, strict=True):
            scores[i] = round(float(row[0]) if chosen is None else _probability(row, chosen), _DECIMALS)
        return {
            "": pa.array(scores, pa.float64()),
            "tokens": pa.array(
                [0 if isinstance(each, str) else len(each[0]["input_ids"]) for each in found], pa.int32()
            ),
            "cut": pa.array([0 if isinstance(each, str) else each[1] for each in found], pa.int32()),
            "reason": pa.array([each if isinstance(each, str) else None for each in found], pa.string()),
        }

    return score


def _label(judge: Classifier, label: str | None) -> int | None:
    if len(judge.labels) == 1:
        if label is not None:
            raise ConfigError(f"{judge.path}: the model has one number and no labels; remove `label: {label}`")
        return None
    if label not in judge.labels:
        raise ConfigError(f"{judge.path}: `label:` must be one of the model's; {nearest(str(label), judge.labels)}")
    return judge.labels.index(label)


def _rendered(encode: ChatEncoder, batch: ChatBatch) -> list[tuple[Sequenced, int] | str]:
    """The tokens of each conversation and how many were cut, or why there are none."""
    return [
        ({"input_ids": each.ids.tolist()}, each.cut) if isinstance(each, Encoded) else each.reason
        for each in encode(batch.conversations)
    ]


def _pair(judge: Classifier, conversation: Conversation, reads: int) -> tuple[Sequenced, int] | str:
    """The same for question and answer: of too many tokens the longer of the two loses its last ones."""
    question, answer = part(conversation, "question"), part(conversation, "answer")
    if not answer.strip():
        return "no-answer" if conversation else "empty-conversation"
    tokenizer = cast(_PairTokenizer, judge.tokenizer)
    plain = {"add_special_tokens": True, "split_special_tokens": True, "verbose": False}
    found = tokenizer(question, answer, **plain)
    size = len(found["input_ids"])
    if size > reads:
        found = tokenizer(question, answer, truncation="longest_first", max_length=reads, **plain)
    wanted = {name: found[name] for name in ("input_ids", "token_type_ids") if name in found}
    return wanted, max(0, size - reads)


def _probability(logits: npt.NDArray[np.float64], of: int) -> float:
    return float(softmax(logits)[of])
