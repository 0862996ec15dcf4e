"""An answer in the shapes of the OpenAI API: chat or legacy completions, whole or as a stream of events.

reply = Reply.of(body, digest(body), "Yes, sir.", chat=True)      # cut at `stop` and at `max_tokens`
reply.whole()                                       # a chat.completion, as JSON
reply.events()                                      # chat.completion.chunks, one a token, as server-sent events
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from tests.llm.answers import NOUNS, Body, pieces, prompt_tokens

CREATED = 1_700_000_000  # the same request gets the same bytes


def problem(body: object, chat: bool) -> str | None:
    """Why a request is not one, or None."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return "you must provide a model parameter"
    if chat:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(_is_message(each) for each in messages):
            return "'messages' must be a list of one or more messages with a role"
        if body.get("top_logprobs") is not None and not body.get("logprobs"):
            return "'logprobs' must be true when 'top_logprobs' is given"
    elif not isinstance(prompt := body.get("prompt"), str):
        one = isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str)
        return None if one else "'prompt' must be a string or a list of one string"
    if any(body.get(key) is not None and body[key] < 1 for key in ("max_tokens", "max_completion_tokens")):
        return "'max_tokens' must be at least 1"
    return None


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def error(message: str, kind: str, code: str | None = None) -> Body:
    """The body of a refusal."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@dataclass(frozen=True)
class Reply:
    """What was asked, the tokens of the answer and why it ends. `n` is ignored: there is one choice."""

    body: Body
    digest: str
    chat: bool
    tokens: list[str]
    finish: str
    prompt_tokens: int

    @classmethod
    def of(cls, body: Body, digest: str, text: str, *, chat: bool) -> Reply:
        stops = body.get("stop") or []
        for stop in [stops] if isinstance(stops, str) else stops:
            text = text.partition(stop)[0]
        tokens = pieces(text)
        most = min((body[key] for key in ("max_tokens", "max_completion_tokens") if body.get(key)), default=len(tokens))
        finish = "length" if len(tokens) > most else "stop"
        return cls(body, digest, chat, tokens[:most], finish, prompt_tokens(body))

    def whole(self) -> bytes:
        """One JSON document."""
        text = "".join(self.tokens)
        said: Body = (
            {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
        )
        choice = {"index": 0, **said, "logprobs": self._logprobs(0, len(self.tokens)), "finish_reason": self.finish}
        return orjson.dumps({**self._head(""), "choices": [choice], "usage": self.usage()})

    def events(self) -> list[bytes]:
        """Server-sent events: one a token, the end, the usage if asked for, `[DONE]`."""
        asked = bool((self.body.get("stream_options") or {}).get("include_usage"))
        head = self._head(".chunk")
        bodies = [{**head, "choices": [choice], **({"usage": None} if asked else {})} for choice in self._steps()]
        if asked:
            bodies.append({**head, "choices": [], "usage": self.usage()})
        return [b"data: " + orjson.dumps(each) + b"\n\n" for each in bodies] + [b"data: [DONE]\n\n"]

    def usage(self) -> Body:
        prompt, answer = self.prompt_tokens, len(self.tokens)
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}

    def _head(self, part: str) -> Body:
        name, kind = ("chatcmpl-", f"chat.completion{part}") if self.chat else ("cmpl-", "text_completion")
        return {"id": name + self.digest[:24], "object": kind, "created": CREATED, "model": self.body["model"]}

    def _steps(self) -> Iterator[Body]:
        """The choice of each event."""
        if self.chat:
            yield _step({"delta": {"role": "assistant", "content": ""}})
        for i, token in enumerate(self.tokens):
            said: Body = {"delta": {"content": token}} if self.chat else {"text": token}
            yield _step(said, self._logprobs(i, i + 1))
        yield _step({"delta": {}} if self.chat else {"text": ""}, finish=self.finish)

    def _logprobs(self, start: int, end: int) -> Body | None:
        """Log-probabilities of the tokens from start to end, if asked for, in the shape of the endpoint."""
        asked = self.body.get("logprobs")
        if asked is None or asked is False:
            return None
        count = (self.body.get("top_logprobs") or 0) if self.chat else int(asked)
        tops = [self._alternatives(i, max(count, 1)) for i in range(start, end)]
        if self.chat:
            return {"content": [{**_entry(*top[0]), "top_logprobs": [_entry(*each) for each in top[:count]]} for top in tops],
                    "refusal": None}  # fmt: skip
        lengths = [len(token) for token in self.tokens]
        return {
            "tokens": self.tokens[start:end],
            "token_logprobs": [top[0][1] for top in tops],
            "top_logprobs": [dict(top[:count]) for top in tops] if count else None,
            "text_offset": [sum(lengths[:i]) for i in range(start, end)],
        }

    def _alternatives(self, i: int, count: int) -> list[tuple[str, float]]:
        """The token at `i` with a probability above a half, then others with a falling part of the rest."""
        byte = hashlib.sha256(f"{self.digest}:{i}".encode()).digest()[0]
        p = 0.5 + byte / 512
        others = [noun for k in range(len(NOUNS)) if (noun := f" {NOUNS[(byte + k) % len(NOUNS)]}") != self.tokens[i]]
        chances = [(self.tokens[i], p), *((other, (1 - p) / 2 ** (k + 1)) for k, other in enumerate(others))]
        return [(token, round(math.log(chance), 6)) for token, chance in chances[:count]]


def _step(said: Body, logprobs: Body | None = None, finish: str | None = None) -> Body:
    return {"index": 0, **said, "logprobs": logprobs, "finish_reason": finish}


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
