"""Conversations as a model's tokens, those of the answers marked as supervised.

    encode = load_chat_encoder("models/tiny", template=None, context=1024)
    row, = encode([(Turn("user", "Hi"), Turn("assistant", "Hello"))])
    row.ids, row.supervised                      # or a Refused, with its reason

Which tokens are supervised follows from the place of every answer in the rendered text and from the places that
the tokenizer gives for its tokens; the decoded text is never searched. An answer is what the template writes from
its prompt for the next answer up to the end of that turn, the token that ends the turn included: the template is
rendered up to each answer, and each rendering must be how the next one begins.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from curate.core.chat.messages import ANSWERS, Conversation, Turn
from curate.core.errors import ModelError
from curate.models.device import require
from curate.models.lm.folder import (
    Tokenizer,
    Tokens,
    check_folder,
    context_of,
    load_errors,
    load_tokenizer,
    read_config,
)

# For models that bring no template, and to render alike for models of different ones.
TEMPLATES: Mapping[str, str] = {
    "alpaca": (
        "{{ bos_token or '' }}{% for m in messages %}"
        "{% if m['role'] == 'assistant' %}{{ '### Response:\n' + m['content'] + eos_token + '\n\n' }}"
        "{% elif m['role'] == 'system' %}{{ m['content'] + '\n\n' }}"
        "{% else %}{{ '### Instruction:\n' + m['content'] + '\n\n' }}{% endif %}"
        "{% endfor %}{{ '### Response:\n' if add_generation_prompt else '' }}"
    ),
    "tulu": (
        "{{ bos_token or '' }}{% for m in messages %}"
        "{{ '<|' + m['role'] + '|>\n' + m['content'] + (eos_token + '\n' if m['role'] == 'assistant' else '\n') }}"
        "{% endfor %}{{ '<|assistant|>\n' if add_generation_prompt else '' }}"
    ),
}
# A template that writes the day into its text would give other tokens every day.
_DAY = datetime.date(2024, 7, 26)
_AT_ONCE = 512


class _ChatTokenizer(Protocol):
    """What is used of a tokenizer beside what `Tokenizer` says."""

    chat_template: object
    is_fast: bool
    all_special_tokens: Sequence[str]
    added_tokens_decoder: Mapping[int, object]
    bos_token: str | None
    eos_token: str | None

    def convert_tokens_to_ids(self, tokens: Sequence[str]) -> list[int]: ...

    def apply_chat_template(self, conversations: list[list[dict[str, str]]], **options: object) -> list[str]: ...

    def __call__(self, texts: list[str], **options: object) -> Mapping[str, list[list[object]]]: ...


@dataclass(frozen=True)
class Encoded:
    """A conversation as tokens.

    Attributes:
        ids: its first tokens, as many as the context holds.
        supervised: which of them belong to an answer; at least one does.
        cut: how many tokens the context had no room for.
        last: where the last answer's tokens begin and end among `ids`, up to the end of the context.
    """

    ids: Tokens
    supervised: npt.NDArray[np.bool_]
    cut: int
    last: tuple[int, int]


@dataclass(frozen=True)
class Refused:
    """A conversation that gives no supervised token: `reason` is a word to count, `message` says it."""

    reason: str
    message: str


class ChatEncoder:
    """From conversations to tokens, by one tokenizer, template and context.

    Attributes:
        tokenizer: of the model.
        context: how many tokens of a conversation are read.
        special: the ids of the special tokens, which no content spells: among an answer's they end its turn.
    """

    def __init__(self, tokenizer: Tokenizer, template: str | None, context: int, path: str) -> None:
        self.tokenizer, self.context = tokenizer, context
        self._chat = cast(_ChatTokenizer, tokenizer)
        if template is not None and template not in TEMPLATES:
            raise ModelError(f"no chat template {template!r}; known: {', '.join(TEMPLATES)}")
        if template is None and not self._chat.chat_template:
            raise ModelError(f"{path}: its tokenizer has no chat template; set `template:` to {' or '.join(TEMPLATES)}")
        if not self._chat.is_fast:
            raise ModelError(f"{path}: its tokenizer does not tell the places of tokens; it needs a tokenizer.json")
        if template is not None and self._chat.eos_token is None:
            raise ModelError(
                f"{path}: its tokenizer has no eos_token, by which the template {template} ends an answer;"
                " use a model that has one"
            )
        self._template, self._path = None if template is None else TEMPLATES[template], path
        self._special = special_tokens(tokenizer)
        self.special = np.array(sorted(self._chat.convert_tokens_to_ids(self._special)), dtype=np.int32)

    def __call__(self, conversations: Sequence[Conversation]) -> list[Encoded | Refused]:
        """The tokens of each conversation, or why there are none to learn from."""
        found: list[Encoded | Refused] = []
        for at in range(0, len(conversations), _AT_ONCE):
            found += self._some(conversations[at : at + _AT_ONCE])
        return found

    def prompt(self, conversation: Conversation) -> Tokens | Refused:
        """The tokens that the answer to a conversation's last turn would follow, all of them."""
        refused = self._check(conversation, answered=False)
        if refused:
            return refused
        text = self._render(conversation, prompt=True)
        if isinstance(text, Refused):
            return text
        ids = self._chat([text], add_special_tokens=False, verbose=False)["input_ids"][0]
        return np.asarray(ids, dtype=np.int32)

    @functools.cached_property
    def prefix(self) -> Tokens:
        """The tokens before an answer that answers nothing: the model's first and the template's response prefix.

        Each is left out where the template does not write it.
        """
        asked = (Turn("user", "?"),)
        text, before = self._render(asked, prompt=True), self._render(asked, prompt=False)
        if isinstance(text, Refused) or isinstance(before, Refused):
            return np.zeros(0, dtype=np.int32)
        header = text[len(before) :] if text.startswith(before) else ""
        first = self._chat.bos_token or ""
        found = (first if text.startswith(first) else "") + header
        return np.asarray(self._chat([found], add_special_tokens=False)["input_ids"][0], dtype=np.int32)

    def answers(self, row: Encoded) -> list[npt.NDArray[np.int64]]:
        """Where each answer's tokens stand among the row's, without the special ones that the template adds."""
        marked = np.flatnonzero(row.supervised)
        runs = np.split(marked, np.flatnonzero(np.diff(marked) > 1) + 1)
        own = [run[~np.isin(row.ids[run], self.special)] for run in runs]
        return [run for run in own if len(run)]

    def _some(self, conversations: Sequence[Conversation]) -> Iterator[Encoded | Refused]:
        rendered = [self._spans(each) for each in conversations]
        texts = [each[0] for each in rendered if not isinstance(each, Refused)]
        if texts:
            tokens = self._chat(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            encoded = iter(zip(tokens["input_ids"], tokens["offset_mapping"], strict=True))
        for each in rendered:
            if isinstance(each, Refused):
                yield each
            else:
                yield self._marked(*next(encoded), each[1])

    def _marked(self, ids: list[object], offsets: list[object], spans: list[tuple[int, int]]) -> Encoded | Refused:
        places = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
        begins, ends = places[:, 0], places[:, 1]
        marks = np.zeros(len(ids), dtype=np.bool_)
        last = np.zeros(len(ids), dtype=np.bool_)
        for start, stop in spans:
            # A token that reaches from the prompt into the answer is of the answer, where its last character is.
            last = (ends > start) & (ends <= stop) & (ends > begins)
            marks |= last
        kept = marks[: self.context]
        if not kept.any():
            return Refused("no-supervised-token", f"no token of an answer among the first {self.context} tokens")
        where = np.flatnonzero(last)
        edges = (int(where[0]), int(where[-1]) + 1) if len(where) else (len(ids), len(ids))
        stop_at = min(len(ids), self.context)
        return Encoded(
            np.asarray(ids[: self.context], dtype=np.int32),
            kept,
            max(0, len(ids) - self.context),
            (min(edges[0], stop_at), min(edges[1], stop_at)),
        )

    def _check(self, conversation: Conversation, *, answered: bool) -> Refused | None:
        if not conversation:
            return Refused("empty-conversation", "the conversation has no turns")
        if answered and not any(turn.role == ANSWERS for turn in conversation):
            return Refused("no-answer", "no turn of the assistant")
        for number, turn in enumerate(conversation):
            if not turn.content.strip():
                return Refused("empty-turn", f"turn {number} ({turn.role}) is empty")
            token = next((each for each in self._special if each in turn.content), None)
            if token is not None:
                # As tokens it would end or begin a turn in the middle of one.
                return Refused("special-token", f"turn {number} ({turn.role}) spells the model's own token {token!r}")
        return None

    def _spans(self, conversation: Conversation) -> tuple[str, list[tuple[int, int]]] | Refused:
        """The rendered text and where its answers stand."""
        refused = self._check(conversation, answered=True)
        if refused:
            return refused
        whole = self._render(conversation, prompt=False)
        if isinstance(whole, Refused):
            return whole
        spans: list[tuple[int, int]] = []
        for number, turn in enumerate(conversation):
            if turn.role != ANSWERS:
                continue
            before = self._render(conversation[:number], prompt=True)
            after = whole if number + 1 == len(conversation) else self._render(conversation[: number + 1], prompt=False)
            if isinstance(before, Refused) or isinstance(after, Refused):
                return before if isinstance(before, Refused) else cast(Refused, after)
            if not after.startswith(before) or not whole.startswith(after.rstrip()):
                return Refused("cannot-render", f"the chat template writes what comes before turn {number} in two ways")
            spans.append((len(before), len(after.rstrip())))
        return whole, spans

    def _render(self, turns: Sequence[Turn], *, prompt: bool) -> str | Refused:
        from jinja2 import TemplateError, TemplateSyntaxError

        try:
            # A list of one conversation, as an empty one that stands alone would be taken for an empty list of them.
            (text,) = self._chat.apply_chat_template(
                [[turn._asdict() for turn in turns]],
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=prompt,
                strftime_now=_DAY.strftime,
            )
        except TemplateSyntaxError as error:
            raise ModelError(
                f"{self._path}: its chat template is damaged ({error}); mend it or set `template:`"
            ) from None
        except (TemplateError, TypeError, ValueError, IndexError) as error:
            line = " ".join(str(error).split())[:200]
            return Refused("cannot-render", f"the chat template refuses it: {line}")
        return text


def special_tokens(tokenizer: Tokenizer) -> list[str]:
    """The tokens of a model that no content may spell, as they would begin or end a turn in the middle of one."""
    chat = cast(_ChatTokenizer, tokenizer)
    added = [str(each) for each in chat.added_tokens_decoder.values() if getattr(each, "special", False)]
    return sorted({*added, *chat.all_special_tokens} - {""})


def load_chat_encoder(path: str, *, template: str | None = None, context: int | None = None) -> ChatEncoder:
    """The encoder of a model's folder.

    Args:
        path: the folder, with a tokenizer.
        template: a name in `TEMPLATES`; None takes the tokenizer's own.
        context: how many tokens of a conversation are read; the model's context by default, 2,048 at most.

    Raises:
        ModelError: the folder is not there or not safe, there is no template, or the model reads fewer tokens.
    """
    require()
    path = check_folder(path)
    with load_errors(path):
        most = context_of(read_config(path))
        tokenizer = load_tokenizer(path)
    if context is not None and most is not None and context > most:
        raise ModelError(f"{path}: the model reads {most} tokens at once, not {context}; lower `context:`")
    return ChatEncoder(tokenizer, template, context or min(most or 2048, 2048), path)
