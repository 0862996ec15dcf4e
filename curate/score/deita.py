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
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, cast

import numpy as np
import pyarrow as pa

from curate.chat.encode import special_tokens
from curate.chat.messages import ANSWERS, ChatBatch, Conversation
from curate.config import RESOURCE
from curate.errors import ConfigError, ModelError, nearest
from curate.files import ModelFile
from curate.neural.device import Device
from curate.neural.folder import LanguageModel, Tokenizer, Tokens, load_causal_lm, load_tokenizer
from curate.neural.windows import next_logits
from curate.score.scorer import Columns, ConversationScorer

RATINGS = ("1", "2", "3", "4", "5", "6")
COMPLEXITY = (
    "Rate how demanding the request below is, from 1 (anybody could answer it at once) to 6 (it needs several steps,"
    " constraints or special knowledge). Reply with the number alone.\n\nRequest:\n{question}\n\nRating:\n"
)
QUALITY = (
    "Rate how well the reply below answers the request, from 1 (wrong or useless) to 6 (correct, complete and clear)."
    " Reply with the number alone.\n\nRequest:\n{question}\n\nReply:\n{answer}\n\nRating:\n"
)
_FIELDS = ("question", "answer")
_MOST_CONTEXT = 2048
_DECIMALS = 6
# A question and its answer.
Pair = Mapping[str, str]


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
    raters: dict[str, _Rater] = {}
    for name, model, prompt in (("complexity", complexity, complexity_prompt), ("quality", quality, quality_prompt)):
        pieces = _pieces(name, prompt)
        if model is not None:
            same = next((each for each in raters.values() if complexity == quality), None)
            raters[name] = _rater(model, pieces, context, device, same)

    def score(batch: ChatBatch) -> Columns:
        pairs = [_pairs(each) for each in batch.conversations]
        reasons = [each if isinstance(each, str) else None for each in pairs]
        there = [[] if isinstance(each, str) else each for each in pairs]
        flat = [pair for each in there for pair in each]
        ratings = {name: rater.rate(flat, batch_tokens) for name, rater in raters.items()}
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


def _pairs(conversation: Conversation) -> list[Pair] | str:
    """Each answer with what the user said since the last one, or the reason why there are none."""
    found: list[Pair] = []
    asked: list[str] = []
    for turn in conversation:
        if turn.role == "user":
            asked.append(turn.content)
        elif turn.role == ANSWERS and asked:
            found.append({"question": "\n\n".join(asked), "answer": turn.content})
            asked = []
    if not found:
        return "no-answer" if conversation else "empty-conversation"
    return found if all(each.strip() for pair in found for each in pair.values()) else "empty-turn"


class _Vocabulary(Protocol):
    unk_token_id: int | None

    def convert_tokens_to_ids(self, tokens: Sequence[str]) -> list[int | None]: ...


@dataclass(frozen=True)
class _Rater:
    """A model with the prompt that asks it, and the tokens that it may reply with."""

    lm: LanguageModel
    tokenizer: Tokenizer
    pieces: tuple[tuple[str, str | None], ...]
    special: tuple[str, ...]
    digits: tuple[int, ...]
    context: int

    def rate(self, pairs: Sequence[Pair], batch_tokens: int) -> list[float | str]:
        """The rating of each pair, 1 to 6, or the reason why there is none."""
        found: list[float | str] = ["special-token"] * len(pairs)
        plain = [i for i, pair in enumerate(pairs) if not self._spells_special(pair)]
        prompts = dict(zip(plain, self._prompts([pairs[i] for i in plain]), strict=True))
        fit = [i for i, prompt in prompts.items() if len(prompt) <= self.context]
        for i in plain:
            found[i] = "over-context"
        logits = next_logits(
            self.lm, [prompts[i] for i in fit], self.digits, context=self.context, batch_tokens=batch_tokens
        )
        for i, row in zip(fit, logits, strict=True):
            powers = np.exp(row - row.max())
            found[i] = math.fsum(powers * np.arange(1, len(RATINGS) + 1)) / math.fsum(powers)
        return found

    def _spells_special(self, pair: Pair) -> bool:
        return any(token in pair[name] for _, name in self.pieces if name for token in self.special)

    def _prompts(self, pairs: Sequence[Pair]) -> Iterator[Tokens]:
        texts = ["".join(text + (pair[name] if name else "") for text, name in self.pieces) for pair in pairs]
        first = self.tokenizer.bos_token_id
        for text in texts:
            # One at a time: a text may be of megabytes, and the tokenizer holds several hundred bytes a token.
            ids = self.tokenizer([text], add_special_tokens=False, split_special_tokens=False, verbose=False)
            tokens = ids["input_ids"][0]
            yield np.asarray([first, *tokens] if first is not None and tokens[:1] != [first] else tokens, np.int32)


def _pieces(name: str, prompt: str) -> tuple[tuple[str, str | None], ...]:
    """Each literal part of a prompt, and the field after it.

    Raises:
        ConfigError: another field than a question or an answer, or none.
    """
    try:
        parsed = list(string.Formatter().parse(prompt))
    except ValueError as error:
        raise ConfigError(f"deita: {name}_prompt: {error}; write {{{{ and }}}} for braces") from None
    for _, field, form, conversion in parsed:
        if field is not None and (field not in _FIELDS or form or conversion):
            raise ConfigError(f"deita: {name}_prompt has no field {field!r}; {nearest(field, _FIELDS)}")
    if not any(field for _, field, _, _ in parsed):
        raise ConfigError(f"deita: {name}_prompt has no field; write {{question}} where the question goes")
    return tuple((text, field) for text, field, _, _ in parsed)


def _rater(
    model: str, pieces: tuple[tuple[str, str | None], ...], context: int | None, device: Device, same: _Rater | None
) -> _Rater:
    lm = same.lm if same else load_causal_lm(model, device=device)
    tokenizer = same.tokenizer if same else load_tokenizer(lm.path)
    vocabulary = cast(_Vocabulary, tokenizer)
    found = vocabulary.convert_tokens_to_ids(RATINGS)
    digits = [each for each in found if each is not None and each != vocabulary.unk_token_id]
    if len(set(digits)) != len(RATINGS):
        raise ModelError(f"{lm.path}: its tokenizer has no token of its own for each of 1 to 6; use another model")
    reads = context or min(lm.context or _MOST_CONTEXT, _MOST_CONTEXT)
    if lm.context is not None and reads > lm.context:
        raise ConfigError(f"{lm.path}: the model reads {lm.context} tokens at once, not {reads}; lower `context:`")
    return _Rater(lm, tokenizer, pieces, tuple(special_tokens(tokenizer)), tuple(digits), reads)
