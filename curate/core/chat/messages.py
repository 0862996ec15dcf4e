"""Conversations as rows hold them: a list of turns, each a role and its content.

batch = ChatBatch(pa_column)
batch.conversations[0]                       # (Turn("user", "Hi"), Turn("assistant", "Hello"))
part(batch.conversations[0], "question")     # 'Hi'
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pyarrow as pa

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.large_string())]))
ANSWERS = "assistant"
Part = Literal["text", "question", "answer"]
PARTS: tuple[Part, ...] = ("text", "question", "answer")


def content_of(names: Iterable[str]) -> Literal["text", "messages"]:
    """The column that holds what the rows of a dataset say: `text` of documents, `messages` of conversations.

    >>> content_of(["id", "messages", "source"])
    'messages'
    """
    known = set(names)
    return "messages" if "messages" in known and "text" not in known else "text"


class Turn(NamedTuple):
    """One message."""

    role: str
    content: str


Conversation = tuple[Turn, ...]


@dataclass(frozen=True)
class ChatBatch:
    """The column `messages` of a batch; a null row is a conversation without turns."""

    column: pa.Array

    @classmethod
    def of(cls, conversations: Iterable[Sequence[tuple[str, str]]]) -> ChatBatch:
        """From roles and contents.

        >>> len(ChatBatch.of([[("user", "Hi"), ("assistant", "Hello")]]))
        1
        """
        return cls(to_arrow([tuple(Turn(*turn) for turn in each) for each in conversations]))

    def __len__(self) -> int:
        return len(self.column)

    @functools.cached_property
    def conversations(self) -> list[Conversation]:
        """Every row's turns."""
        return [
            tuple(Turn(turn["role"] or "", turn["content"] or "") for turn in row or ())
            for row in self.column.to_pylist()
        ]

    def parts(self, which: Part) -> list[str]:
        """Every row's `part`."""
        return [part(each, which) for each in self.conversations]


def to_arrow(conversations: Sequence[Conversation]) -> pa.Array:
    """The column `messages` of these conversations."""
    return pa.array([[turn._asdict() for turn in each] for each in conversations], MESSAGES)


def part(conversation: Conversation, which: Part) -> str:
    """A conversation as plain text, its turns parted by an empty line: all, all but the answers, or the answers."""
    chosen = (turn.content for turn in conversation if which == "text" or (turn.role == ANSWERS) == (which == "answer"))
    return "\n\n".join(chosen)
