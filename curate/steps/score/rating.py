r"""What a language model replies when it is asked for a number: the logits of the rating tokens after a prompt.

    rater = load_rater("models/smol", RATINGS, context=None, device="auto")
    prompt = parse_prompt("deita: quality_prompt", "Rate this.\n{question}\n{answer}\nRating:\n")
    rater.logits(prompt, pairs_of(conversation), batch_tokens=8192)      # float64 arrays, or reasons

The scorers `deita` and `selectit` make their scores of these. A turn is what the user says and the answer to it.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from curate.core.chat.messages import ANSWERS, Conversation
from curate.core.errors import ConfigError, ModelError, nearest
from curate.models.device import Device
from curate.models.lm.chat_encode import special_tokens
from curate.models.lm.folder import LanguageModel, Tokenizer, Tokens, load_causal_lm, load_tokenizer
from curate.models.lm.windows import next_logits

_FIELDS = ("question", "answer")
_MOST_CONTEXT = 2048
# A question and its answer.
Pair = Mapping[str, str]
# Each literal part of a prompt, and the field after it.
Prompt = tuple[tuple[str, str | None], ...]
Logits = npt.NDArray[np.float64]


def pairs_of(conversation: Conversation) -> list[Pair] | str:
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


def parse_prompt(where: str, prompt: str) -> Prompt:
    """A prompt with its fields found; `where` names it in an error.

    Raises:
        ConfigError: another field than a question or an answer, or none.
    """
    try:
        parsed = list(string.Formatter().parse(prompt))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; write {{{{ and }}}} for braces") from None
    for _, field, form, conversion in parsed:
        if field is not None and (field not in _FIELDS or form or conversion):
            raise ConfigError(f"{where} has no field {field!r}; {nearest(field, _FIELDS)}")
    if not any(field for _, field, _, _ in parsed):
        raise ConfigError(f"{where} has no field; write {{question}} where the question goes")
    return tuple((text, field) for text, field, _, _ in parsed)


class _Vocabulary(Protocol):
    unk_token_id: int | None

    def convert_tokens_to_ids(self, tokens: Sequence[str]) -> list[int | None]: ...


@dataclass(frozen=True)
class Rater:
    """A language model, and the tokens that it may reply with."""

    lm: LanguageModel
    tokenizer: Tokenizer
    special: tuple[str, ...]
    ratings: tuple[int, ...]
    context: int

    def logits(self, prompt: Prompt, pairs: Sequence[Pair], batch_tokens: int) -> list[Logits | str]:
        """The logits of the rating tokens where the reply to each pair would begin, or the reason for none.

        Args:
            prompt: what is asked.
            pairs: of what.
            batch_tokens: about how many tokens are computed at once; changes no number.
        """
        found: list[Logits | str] = ["special-token"] * len(pairs)
        plain = [i for i, pair in enumerate(pairs) if not self._spells_special(prompt, pair)]
        prompts = dict(zip(plain, self._tokens(prompt, [pairs[i] for i in plain]), strict=True))
        fit = [i for i, each in prompts.items() if len(each) <= self.context]
        for i in plain:
            found[i] = "over-context"
        logits = next_logits(
            self.lm, [prompts[i] for i in fit], self.ratings, context=self.context, batch_tokens=batch_tokens
        )
        for i, row in zip(fit, logits, strict=True):
            found[i] = row
        return found

    def _spells_special(self, prompt: Prompt, pair: Pair) -> bool:
        return any(token in pair[name] for _, name in prompt if name for token in self.special)

    def _tokens(self, prompt: Prompt, pairs: Sequence[Pair]) -> Iterator[Tokens]:
        texts = ["".join(text + (pair[name] if name else "") for text, name in prompt) for pair in pairs]
        first = self.tokenizer.bos_token_id
        for text in texts:
            # One at a time: a text may be of megabytes, and the tokenizer holds several hundred bytes a token.
            ids = self.tokenizer([text], add_special_tokens=False, split_special_tokens=False, verbose=False)
            tokens = ids["input_ids"][0]
            yield np.asarray([first, *tokens] if first is not None and tokens[:1] != [first] else tokens, np.int32)


def load_rater(model: str, ratings: Sequence[str], *, context: int | None, device: Device) -> Rater:
    """Load a causal language model that rates.

    Args:
        model: its folder.
        ratings: the tokens that it may reply with, the lowest first.
        context: how many tokens of a prompt are read; by default the model's context, 2,048 at most.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: the model reads fewer tokens than `context`.
        ModelError: the folder is not there, not whole or not safe, has no tokens for the ratings, or there is no GPU.
    """
    lm = load_causal_lm(model, device=device)
    tokenizer = load_tokenizer(lm.path)
    vocabulary = cast(_Vocabulary, tokenizer)
    found = vocabulary.convert_tokens_to_ids(ratings)
    known = [each for each in found if each is not None and each != vocabulary.unk_token_id]
    if len(set(known)) != len(ratings):
        raise ModelError(
            f"{lm.path}: its tokenizer has no token of its own for each of {ratings[0]} to {ratings[-1]};"
            " use another model"
        )
    reads = context or min(lm.context or _MOST_CONTEXT, _MOST_CONTEXT)
    if lm.context is not None and reads > lm.context:
        raise ConfigError(f"{lm.path}: the model reads {lm.context} tokens at once, not {reads}; lower `context:`")
    return Rater(lm, tokenizer, tuple(special_tokens(tokenizer)), tuple(known), reads)
