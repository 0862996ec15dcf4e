"""A streamed answer, put together as if it had come in one piece, and cut where it runs away.

    outcome = await read_stream(client, CHAT, body, headers={})

A model in a loop writes the same thing, or white space, until its limit of tokens. The end of the answer is looked at
now and then; when its last thousand characters repeat a short piece, the stream is closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import openai
import orjson
from openai.types.chat import ChatCompletionChunk
from openai.types.completion import Completion

from curate.generate.outcome import Outcome
from curate.generate.request import CHAT, PATHS, RUNAWAY, Kind

_WINDOW = 1024
_SEED = 32  # the period is sought by the last characters' last place before
_EVERY = 256  # characters between two looks


async def read_stream(
    client: openai.AsyncOpenAI, kind: Kind, body: Mapping[str, object], headers: Mapping[str, str]
) -> Outcome:
    """Ask with `stream` and collect; the body of the outcome is what the endpoint would have sent in one piece.

    Raises:
        openai.OpenAIError: as of any request.
    """
    whole = _Whole(kind)
    async for piece in await _open(client, kind, {**body, "stream": True, "stream_options": _USAGE}, headers):
        if whole.add(piece):
            return Outcome("answer", body=whole.body(RUNAWAY), cut=True)
    if whole.finish is None and not whole.usage:
        return Outcome("failed", message="the stream ended in the middle of the answer", error="cut-stream")
    return Outcome("answer", body=whole.body(whole.finish or "stop"))


_USAGE = {"include_usage": True}


async def _open(
    client: openai.AsyncOpenAI, kind: Kind, body: Mapping[str, object], headers: Mapping[str, str]
) -> AsyncIterator[dict[str, object]]:
    if kind == CHAT:
        chat = await client.post(
            PATHS[kind],
            body=body,
            options={"headers": dict(headers)},
            cast_to=ChatCompletionChunk,
            stream=True,
            stream_cls=openai.AsyncStream[ChatCompletionChunk],
        )
        return (each.to_dict() async for each in chat)
    plain = await client.post(
        PATHS[kind],
        body=body,
        options={"headers": dict(headers)},
        cast_to=Completion,
        stream=True,
        stream_cls=openai.AsyncStream[Completion],
    )
    return (each.to_dict() async for each in plain)


class _Whole:
    """The pieces of an answer so far."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.finish: str | None = None
        self.usage: dict[str, object] = {}
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._logprobs: dict[str, list[object]] = {}
        self._since = self._pieces = 0

    def add(self, piece: Mapping[str, object]) -> bool:
        """Add a piece; whether the answer has run away."""
        usage = piece.get("usage")
        if isinstance(usage, dict):
            self.usage = usage
        choices = piece.get("choices")
        if not isinstance(choices, list) or not choices:
            return False
        choice = choices[0]
        self.finish = choice.get("finish_reason") or self.finish
        delta = choice.get("delta") or {} if self._kind == CHAT else choice
        text = delta.get("content" if self._kind == CHAT else "text") or ""
        self._text.append(text)
        self._reasoning.append(delta.get("reasoning_content") or delta.get("reasoning") or "")
        self._refusal.append(delta.get("refusal") or "")
        # Lists by name, in either shape.
        for name, values in (choice.get("logprobs") or {}).items():
            self._logprobs.setdefault(name, []).extend(values or ())
        self._pieces += 1
        self._since += len(text)
        if self._since < _EVERY:
            return False
        self._since = 0
        return runs_away("".join(self._text[-_WINDOW:]))

    def body(self, finish: str) -> bytes:
        """The answer as JSON."""
        text = "".join(self._text)
        choice: dict[str, object] = {"index": 0, "finish_reason": finish}
        if self._kind == CHAT:
            choice["message"] = {
                "role": "assistant",
                "content": text,
                "reasoning_content": "".join(self._reasoning) or None,
                "refusal": "".join(self._refusal) or None,
            }
        else:
            choice["text"] = text
        if self._logprobs:
            choice["logprobs"] = self._logprobs
        usage = self.usage or {"prompt_tokens": 0, "completion_tokens": self._pieces}
        return orjson.dumps({"choices": [choice], "usage": usage})


def runs_away(text: str) -> bool:
    """Whether the last thousand characters of a text repeat a piece of at most half as many.

    >>> runs_away(" " * 2000), runs_away("word " * 300), runs_away("A short answer.")
    (True, True, False)
    """
    tail = text[-_WINDOW:]
    if len(tail) < _WINDOW:
        return False
    before = tail.rfind(tail[-_SEED:], 0, len(tail) - 1)
    while before >= 0 and (period := len(tail) - _SEED - before) <= _WINDOW // 2:
        if tail[:-period] == tail[period:]:
            return True
        before = tail.rfind(tail[-_SEED:], 0, before + _SEED - 1)
    return False
