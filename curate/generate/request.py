"""What is asked of a language model, and what it answers.

request = Request("large", "gpt-4o-mini", "", CHAT, {"messages": [{"role": "user", "content": "Hi"}]}, sample=0)
request.key                       # 64 hex digits: the same question has the same answer in the ledger
completion = read_completion(request.kind, b'{"choices": [...]}')
completion.text
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import orjson

from curate.core.digest import Plain, canonical
from curate.core.errors import CurateError

Kind = Literal["chat", "completions"]
CHAT: Kind = "chat"
COMPLETIONS: Kind = "completions"
PATHS: Mapping[Kind, str] = {CHAT: "/chat/completions", COMPLETIONS: "/completions"}
# How an answer ended that was cut where it began to repeat itself.
RUNAWAY = "runaway"
# What a chat template, a default system prompt and the like add to the tokens of a request, at most.
_TEMPLATE_TOKENS = 256


@dataclass(frozen=True)
class Request:
    """One question to a model.

    Attributes:
        endpoint: the name of the endpoint in the configuration, whichever of its servers answers.
        model: as the endpoint calls it.
        revision: of the model, as the configuration says.
        kind: chat, or completions of a bare prompt.
        body: what is sent besides the model: messages or prompt, sampling parameters, tools, schema.
        sample: which of several answers to the same question.
        most: tokens that the answer has at most.
    """

    endpoint: str
    model: str
    revision: str
    kind: Kind
    body: Mapping[str, Plain]
    sample: int
    most: int

    @functools.cached_property
    def canonical(self) -> bytes:
        """Everything that bears identity, as JSON with sorted keys."""
        return canonical(
            {
                "endpoint": self.endpoint,
                "model": self.model,
                "revision": self.revision,
                "kind": self.kind,
                "body": cast("dict[str, Plain]", self.body),
                "sample": self.sample,
            }
        )

    @functools.cached_property
    def key(self) -> str:
        """sha256 of the canonical request, as 64 hex digits."""
        return hashlib.sha256(self.canonical).hexdigest()

    @property
    def prompt_tokens(self) -> int:
        """How many tokens the prompt has at most: no tokenizer makes more than one of a byte."""
        return len(self.canonical) + _TEMPLATE_TOKENS


def as_request(data: Mapping[str, Plain]) -> Request:
    """The request of which `data` is the canonical form; how long its answer may be is not in it.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    kind, body, sample = data["kind"], data["body"], data["sample"]
    if kind not in PATHS or not isinstance(body, dict) or not isinstance(sample, int):
        raise ValueError("it is no request in canonical form")
    endpoint, model, revision = (str(data[name]) for name in ("endpoint", "model", "revision"))
    return Request(endpoint, model, revision, CHAT if kind == CHAT else COMPLETIONS, body, sample, 0)


@dataclass(frozen=True)
class Usage:
    """The tokens that an endpoint bills: of the prompt, those of it that were cached, and of the answer."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0


@dataclass(frozen=True)
class Completion:
    """An answer.

    Attributes:
        text: what the model wrote; empty where it wrote nothing.
        finish: `stop`, `length`, `content_filter` or what else the endpoint says.
        reasoning: what it wrote before the answer, where the endpoint tells it.
        refusal: what it said instead of an answer, where the endpoint marks that.
        logprobs: for each token its text, log probability and the top logprobs, where they were asked for.
        usage: what is billed.
    """

    text: str
    finish: str
    reasoning: str
    refusal: str
    logprobs: tuple[TokenLogprob, ...]
    usage: Usage


@dataclass(frozen=True)
class TokenLogprob:
    """A token of an answer, its log probability, and the top logprobs there."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]


class Unreadable(CurateError):
    """A response that is no completion: not JSON, an HTML page, cut short, or without choices."""


def read_completion(kind: Kind, response: bytes) -> Completion:
    """The completion in the body of a response.

    Raises:
        Unreadable: it is none; says what it is instead.
    """
    try:
        data = orjson.loads(response)
    except orjson.JSONDecodeError:
        start = response.lstrip()[:15].lower()
        what = "an HTML page" if start.startswith((b"<!doctype html", b"<html")) else "no whole JSON"
        raise Unreadable(f"the endpoint answered with {what} ({len(response)} bytes)") from None
    if not isinstance(data, dict):
        raise Unreadable("the endpoint answered with JSON that is no object")
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        error = data.get("error")
        detail = str(error.get("message", error)) if isinstance(error, dict) else f"the keys {sorted(data)[:5]}"
        raise Unreadable(f"the endpoint answered without choices: {detail[:200]}")
    choice = choices[0]
    message = choice.get("message") if kind == CHAT else choice
    if not isinstance(message, dict):
        raise Unreadable("the endpoint answered without a message")
    return Completion(
        text=_text(message.get("content" if kind == CHAT else "text")),
        finish=_text(choice.get("finish_reason")) or "stop",
        reasoning=_text(message.get("reasoning_content") or message.get("reasoning")),
        refusal=_text(message.get("refusal")),
        logprobs=_logprobs(kind, choice.get("logprobs")),
        usage=_usage(data.get("usage")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _usage(value: object) -> Usage:
    if not isinstance(value, dict):
        raise Unreadable("the endpoint answered without `usage`, so that its price is not known")
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    try:
        usage = Usage(int(value["prompt_tokens"]), int(cached or 0), int(value.get("completion_tokens") or 0))
    except (KeyError, TypeError, ValueError):
        raise Unreadable("the endpoint answered with a `usage` that holds no numbers") from None
    if min(usage.prompt, usage.cached, usage.completion) < 0:
        raise Unreadable("the endpoint answered with a `usage` below zero")
    return usage


def _logprobs(kind: Kind, value: object) -> tuple[TokenLogprob, ...]:
    if not isinstance(value, dict):
        return ()
    if kind == CHAT:
        return tuple(
            TokenLogprob(
                str(each["token"]),
                float(each["logprob"]),
                tuple((str(top["token"]), float(top["logprob"])) for top in each.get("top_logprobs") or ()),
            )
            for each in value.get("content") or ()
        )
    tokens, logprobs = value.get("tokens") or (), value.get("token_logprobs") or ()
    tops = value.get("top_logprobs") or [{}] * len(tokens)
    return tuple(
        TokenLogprob(str(token), float(logprob), tuple((str(k), float(v)) for k, v in (top or {}).items()))
        for token, logprob, top in zip(tokens, logprobs, tops, strict=False)
        if logprob is not None
    )
