"""What the loopback server says: an answer that follows from the request's hash alone, and how it is counted.

digest({"model": "small", "messages": [...], "stream": True})   # as without "stream"
default(body)                                                   # "The quiet river follows a small lamp."
pieces("Yes, sir.")                                             # ["Yes", ",", " sir", "."]: four tokens
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import orjson

Body: TypeAlias = dict[str, Any]

# How the answer travels is no part of what was asked.
TRANSPORT = ("stream", "stream_options")

# A word or a mark with the space before it; any other space alone. So no token is shorter than a byte.
PIECE = re.compile(r" ?\w+| ?[^\w\s]|\s")

ADJECTIVES = (
    "quiet", "small", "green", "early", "narrow", "gentle", "wooden", "bright",
    "distant", "careful", "heavy", "honest", "golden", "hollow", "patient", "rapid",
)  # fmt: skip
NOUNS = (
    "river", "lamp", "teacher", "garden", "letter", "window", "harbour", "engine",
    "market", "bridge", "sailor", "mountain", "library", "painter", "orchard", "clock",
    "village", "kitchen", "forest", "captain", "station", "violin", "island", "blanket",
    "doctor", "meadow", "tunnel", "farmer", "castle", "journal", "winter", "signal",
)  # fmt: skip
VERBS = (
    "follows", "repairs", "remembers", "crosses", "describes", "watches", "carries", "measures",
    "protects", "visits", "explains", "borrows", "paints", "answers", "studies", "reaches",
)  # fmt: skip


def pieces(text: str) -> list[str]:
    """The tokens of a text, which joined are the text."""
    return PIECE.findall(text)


def digest(body: Body) -> str:
    """sha256 of the canonical request, 64 hex digits; how it is streamed makes no difference."""
    kept = {key: value for key, value in body.items() if key not in TRANSPORT}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()


def prompt_tokens(body: Body) -> int:
    """Tokens of the request: its texts, a few a message, and the JSON of tools and of the response format."""
    total = sum(len(pieces(orjson.dumps(body[key]).decode())) for key in ("tools", "response_format") if body.get(key))
    if "messages" not in body:
        return total + len(pieces(prompt_text(body)))
    for message in body["messages"]:
        total += 3 + len(pieces(message["role"])) + len(pieces(content_text(message)))
    return total + 3


def prompt_text(body: Body) -> str:
    """All that a request says to the model, message by message; what an `answer` usually looks at."""
    if "messages" in body:
        return "\n".join(content_text(message) for message in body["messages"])
    prompt = body["prompt"]
    return prompt if isinstance(prompt, str) else prompt[0]


def content_text(message: Body) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def default(body: Body) -> str:
    """One to three English sentences, or the JSON that the request's schema asks for."""
    choices = _bytes(digest(body))
    wanted = body.get("response_format") or {"type": "text"}
    if wanted["type"] == "json_schema":
        schema = wanted["json_schema"]["schema"]
        return orjson.dumps(_fitting(schema, schema, choices)).decode()
    if wanted["type"] == "json_object":
        return orjson.dumps({"answer": _sentence(choices)}).decode()
    return " ".join(_sentence(choices) for _ in range(1 + next(choices) % 3))


def _bytes(seed: str) -> Iterator[int]:
    """Bytes without end that follow from the seed."""
    block = 0
    while True:
        yield from hashlib.sha256(f"{seed}:{block}".encode()).digest()
        block += 1


def _sentence(choices: Iterator[int]) -> str:
    first, second = (f"{_one(ADJECTIVES, choices)} {_one(NOUNS, choices)}" for _ in range(2))
    return f"The {first} {_one(VERBS, choices)} a {second}."


def _one(values: tuple[Any, ...] | list[Any], choices: Iterator[int]) -> Any:
    return values[next(choices) % len(values)]


def _fitting(schema: Body, root: Body, choices: Iterator[int]) -> Any:
    """A value that fits a simple schema: every property is given, arrays hold one to three items."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return _one(schema["enum"], choices)
    if "anyOf" in schema:
        return _fitting(_one(schema["anyOf"], choices), root, choices)
    kind = schema["type"]
    if isinstance(kind, list):
        kind = _one(kind, choices)
    if kind == "object":
        return {name: _fitting(each, root, choices) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        least = schema.get("minItems", 1)
        most = max(least, schema.get("maxItems", least + 2))
        return [_fitting(schema["items"], root, choices) for _ in range(least + next(choices) % (most - least + 1))]
    if kind in ("integer", "number"):
        low = schema.get("minimum", min(0, schema.get("maximum", 0)))
        high = schema.get("maximum", low + 100)
        part = next(choices)
        return low + part % (int(high - low) + 1) if kind == "integer" else low + (high - low) * part / 255
    if kind == "boolean":
        return next(choices) % 2 == 1
    if kind == "null":
        return None
    return f"{_one(ADJECTIVES, choices)} {_one(NOUNS, choices)}"
