"""What the tests of the loopback server share: a server with a client of it, and one question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai

from tests.llm.server import Server, serve

PRICES = {"small": ("0.15", "0.60"), "large": ("2.5", "10")}
ASKED: list[Any] = [{"role": "user", "content": "Who watches the harbour?"}]
TWELVE = "one two three four five six seven eight nine ten eleven twelve"


def client(server: Server, timeout: float = 30.0) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=timeout)


@contextmanager
def serving(**options: Any) -> Iterator[tuple[Server, openai.OpenAI]]:
    with serve(**options) as server, client(server) as asks:
        yield server, asks


def ask(asks: openai.OpenAI, text: str = "Who?", **options: Any) -> str:
    chat = asks.chat.completions.create(model="small", messages=[{"role": "user", "content": text}], **options)
    return chat.choices[0].message.content or ""
