r"""The forms in which conversations are stored, and the turns of a row of each.

    form = find_form("auto", ["instruction", "input", "output"], "alpaca.jsonl")
    form.turns({"instruction": "Add.", "input": "1 + 1", "output": "2"})
    # (Turn("user", "Add.\n\n1 + 1"), Turn("assistant", "2"))

A form says which column holds what. Nothing of a turn is changed, left out or put in: a row whose turns cannot
be recognised is refused with its reason. That a conversation begins with the assistant, or that a user speaks twice,
is no reason: such conversations are real, and whether a template can write them is for the template to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import orjson
from pydantic import model_validator

from curate.core.chat.messages import ANSWERS, Conversation, Turn
from curate.core.config import Model
from curate.core.errors import ConfigError, nearest

FormName = Literal["alpaca", "sharegpt", "messages", "prompt"]

# The names under which each part of a form is known; of each part a file has one.
_FORMS: dict[FormName, dict[str, tuple[str, ...]]] = {
    "messages": {"messages": ("messages",)},
    "sharegpt": {"messages": ("conversations", "conversation"), "system": ("system", "system_prompt")},
    "alpaca": {
        "prompt": ("instruction",),
        "input": ("input", "context"),
        "answer": ("output", "response"),
        "system": ("system", "system_prompt"),
        "history": ("history",),
    },
    "prompt": {
        "prompt": ("prompt",),
        "answer": ("completion", "response", "answer"),
        "system": ("system", "system_prompt"),
    },
}

# As the dumps of chat sites, of tool callers and of training libraries name them.
_ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "claude": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


class ConversationColumns(Model):
    """Which column holds what: either `messages`, a list of turns, or `prompt` with what belongs to it.

    Attributes:
        messages: the list of turns, each a role and a content (or `from` and `value`).
        prompt: what the user says, as text or as a list of turns.
        input: what is added to the prompt after an empty line.
        answer: what the assistant says to it.
        system: what stands before all turns.
        history: earlier turns, as a list of pairs of prompt and answer.
    """

    messages: str | None = None
    prompt: str | None = None
    input: str | None = None
    answer: str | None = None
    system: str | None = None
    history: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> ConversationColumns:
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("name either the column of `messages` or that of the `prompt`")
        if self.messages is not None and (self.input or self.answer or self.history):
            raise ValueError("`messages` holds all turns; only `system` may stand beside it")
        return self


Conversations = ConversationColumns | Literal["auto", "alpaca", "sharegpt", "messages", "prompt"]


class NotTurns(ValueError):
    """Why a row is no conversation: `reason` is a word to count, the text says it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Form:
    """Which column of a file holds which part of its conversations."""

    parts: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that become turns."""
        return tuple(self.parts.values())

    def turns(self, row: Mapping[str, object]) -> Conversation:
        """The conversation of a row.

        Raises:
            NotTurns: the row holds none, with the turn or column that is at fault.
        """
        turns = self._system(row)
        if "messages" in self.parts:
            said = tuple(_listed(row.get(self.parts["messages"]), self.parts["messages"]))
            # Some dumps give the system's turn twice, as a column and among the turns.
            turns = said if turns and said[:1] == turns else turns + said
        else:
            turns += (*self._history(row), *self._prompt(row), *self._said(row, "answer", ANSWERS))
        if not turns:
            raise NotTurns("no-turns", "the conversation has no turns")
        for number, turn in enumerate(turns):
            if not turn.content.strip():
                raise NotTurns("empty-turn", f"turn {number} ({turn.role}) is empty")
        if all(turn.role != "user" for turn in turns):
            raise NotTurns("no-prompt", "no turn of the user")
        return turns

    def _text(self, row: Mapping[str, object], part: str) -> str | None:
        column = self.parts.get(part)
        value = None if column is None else row.get(column)
        if value is None or isinstance(value, str):
            return value
        raise NotTurns("wrong-type", f"column {column!r} is {_kind(value)}, not text")

    def _system(self, row: Mapping[str, object]) -> Conversation:
        text = self._text(row, "system")
        return (Turn("system", text),) if text and text.strip() else ()

    def _history(self, row: Mapping[str, object]) -> Iterator[Turn]:
        column = self.parts.get("history", "")
        for pair in _list(row.get(column) or [], column):
            if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(each, str) for each in pair):
                raise NotTurns("wrong-type", f"column {column!r} is not a list of pairs of prompt and answer")
            yield Turn("user", pair[0])
            yield Turn(ANSWERS, pair[1])

    def _prompt(self, row: Mapping[str, object]) -> Iterator[Turn]:
        added = self._text(row, "input")
        if not added or not added.strip():
            yield from self._said(row, "prompt", "user")
            return
        text = self._text(row, "prompt")
        yield Turn("user", f"{text}\n\n{added}" if text and text.strip() else added)

    def _said(self, row: Mapping[str, object], part: str, role: str) -> Iterator[Turn]:
        column = self.parts.get(part)
        value = None if column is None else row.get(column)
        if isinstance(value, str):
            yield Turn(role, value)
        elif isinstance(value, list):
            yield from _listed(value, column or part)
        elif value is not None:
            raise NotTurns("wrong-type", f"column {column!r} is {_kind(value)}, not text or a list of turns")


def _list(value: object, column: str) -> list[object]:
    if isinstance(value, str):
        # As CSV has it, and Parquet where the rows had no common type.
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise NotTurns("wrong-type", f"column {column!r} is text, not a list of turns") from None
    if not isinstance(value, list):
        raise NotTurns("wrong-type", f"column {column!r} is {_kind(value)}, not a list of turns")
    return value


def _listed(value: object, column: str) -> Iterator[Turn]:
    for number, item in enumerate(_list([] if value is None else value, column)):
        if not isinstance(item, dict):
            raise NotTurns("wrong-type", f"turn {number} is {_kind(item)}, not a role and its content")
        said = _either(item, "role", "from")
        role = _ROLES.get(said.strip().casefold()) if isinstance(said, str) else None
        if role is None:
            known = ", ".join(_ROLES)
            raise NotTurns("unknown-role", f"turn {number} has the role {_shown(said)}; known: {known}")
        if item.get("tool_calls") or (item.get("function_call") and role == ANSWERS):
            raise NotTurns("tool-call", f"turn {number} ({role}) calls a tool, which a turn of text cannot hold")
        yield Turn(role, _content(_either(item, "content", "value"), number, role))


def _either(item: Mapping[str, object], name: str, other: str) -> object:
    # A table has every key in every turn, null where a row lacks it.
    value = item.get(name)
    return item.get(other) if value is None else value


def _content(value: object, number: int, role: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if not isinstance(value, list):
        raise NotTurns("wrong-type", f"the content of turn {number} ({role}) is {_kind(value)}, not text")
    texts = []
    for each in value:
        text = each.get("text") if isinstance(each, dict) and (each.get("type") or "text") == "text" else None
        if not isinstance(text, str):
            kind = each.get("type") if isinstance(each, dict) else each
            raise NotTurns("not-text", f"turn {number} ({role}) has a part that is not text: {_shown(kind)}")
        texts.append(text)
    return "\n".join(texts)


def _kind(value: object) -> str:
    names = {type(None): "null", str: "text", dict: "an object", list: "a list", bool: "true or false"}
    return names.get(type(value), "a number")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def find_form(wanted: Conversations, names: Iterable[str], path: str) -> Form:
    """The form of a file's conversations.

    Args:
        wanted: the name of a form, its columns, or `auto`.
        names: the file's columns.
        path: how errors name the file.

    Raises:
        ConfigError: the columns fit no form, or fit it in two ways; names the columns and what to set.
    """
    known = list(dict.fromkeys(names))
    if isinstance(wanted, ConversationColumns):
        parts = {part: name for part, name in wanted.model_dump().items() if name is not None}
        for part, name in parts.items():
            if name not in known:
                raise ConfigError(f"{path}: no column {name!r} for conversations.{part}; {_hint(name, known)}")
        return Form(parts)
    if wanted == "auto":
        found = next((form for form, parts in _FORMS.items() if _key(parts, known)), None)
        if found is None:
            raise ConfigError(
                f"{path}: its columns ({', '.join(known)}) do not tell the form of its conversations; set "
                f"conversations to one of {', '.join(get_args(FormName))}, "
                "or to {messages: COLUMN} or {prompt: COLUMN, answer: COLUMN}"
            )
        wanted = found
    parts_of = _FORMS[wanted]
    if not _key(parts_of, known):
        missing = next(iter(parts_of.values()))[0]
        raise ConfigError(
            f"{path}: no column {missing!r}, as conversations of the form {wanted} have; {_hint(missing, known)}"
        )
    return Form({part: _one(part, names, known, path) for part, names in parts_of.items()})


def _key(parts: Mapping[str, tuple[str, ...]], known: list[str]) -> bool:
    """Whether the columns of the part that makes the form are there."""
    return any(name in known for name in next(iter(parts.values())))


def _one(part: str, names: tuple[str, ...], known: list[str], path: str) -> str:
    there = [name for name in names if name in known]
    if len(there) > 1:
        raise ConfigError(
            f"{path}: the columns {' and '.join(there)} could both hold the {part}; name those that do, as in "
            "conversations: {prompt: COLUMN, answer: COLUMN}"
        )
    # Where none is among the first rows, a later row may have it.
    return there[0] if there else names[0]


def _hint(name: str, known: list[str]) -> str:
    hint = nearest(name, known)
    listed = "" if hint.startswith(("known", "there")) else f"; known: {', '.join(known)}"
    return f"{hint}{listed}"
