"""What may go wrong at the loopback server, and when.

Faults(rate_limit=0.2, reset_after=0.1)     # a fifth of the requests gets 429, a tenth is reset after the work
Faults.all(0.02)                            # every fault that a second attempt gets over

Whether an attempt fails follows from the body, from how often that body came before, and from the seed: a run
can be repeated, whatever the order of arrival. A body fails at most `most` times, so every request succeeds in the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

# Refused or lost before any work is done: not billed.
UNBILLED = (
    "rate_limit", "rate_limit_date", "server_error", "unavailable", "request_timeout", "conflict",
    "reset_before", "hang_before", "html", "bad_gateway",
)  # fmt: skip
# The work is done and billed, whatever the client sees of it.
BILLED = ("reset_after", "hang_after", "truncated", "cut_json", "whitespace", "empty", "slow", "stalled")
LINES = ("line_failed", "line_expired")
KINDS = (*UNBILLED, *BILLED)


@dataclass(frozen=True)
class Faults:
    """Probabilities, 0 to 1. Those of requests are exclusive, so they add up to at most 1; so do those of lines."""

    rate_limit: float = 0.0  # 429, Retry-After in seconds
    rate_limit_date: float = 0.0  # 429, Retry-After as an HTTP date about a second ahead
    server_error: float = 0.0  # 500
    unavailable: float = 0.0  # 503
    request_timeout: float = 0.0  # 408
    conflict: float = 0.0  # 409
    reset_before: float = 0.0  # TCP reset
    hang_before: float = 0.0  # nothing is said until the client leaves
    html: float = 0.0  # a page instead of JSON, with status 200
    bad_gateway: float = 0.0  # a page, with status 502

    reset_after: float = 0.0
    hang_after: float = 0.0
    truncated: float = 0.0  # the connection ends in the middle of the body
    cut_json: float = 0.0  # the body is complete for HTTP, its JSON or its stream of events is not
    whitespace: float = 0.0  # 40,000 spaces, or as many as max_tokens allows
    empty: float = 0.0  # no text at all
    slow: float = 0.0  # the body comes in parts, `pause` seconds apart
    stalled: float = 0.0  # half of the body, then nothing until the client leaves

    no_quota: float = 0.0  # 429, code insufficient_quota, for every attempt with that body: drawn apart from the others

    line_failed: float = 0.0  # a line of a batch goes to the error file with status 500
    line_expired: float = 0.0  # a line is not done in time, and its batch ends as expired
    polls: int = 1  # how often a batch is asked for until it is done

    refused: str = ""  # 400 for every body that contains this text
    retry_after: float = 0.05  # seconds
    seconds: float = 30.0  # a hang ends after this, for clients that never leave
    pause: float = 0.02  # seconds
    most: int = 3  # a body that failed so often succeeds
    seed: int = 0

    def __post_init__(self) -> None:
        for kinds in (KINDS, LINES):
            chances = [getattr(self, kind) for kind in kinds]
            if min(chances) < 0 or sum(chances) > 1 + 1e-9:
                raise ValueError(f"the probabilities of {kinds[0]} to {kinds[-1]} are not between 0 and 1 together")

    @classmethod
    def all(cls, p: float, **others: float | str) -> Faults:
        """Every fault that a later attempt gets over, each with probability `p` (at most 1/18)."""
        return cls.of({**dict.fromkeys((*UNBILLED, *BILLED, *LINES), p), **others})

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Faults:
        """From plain values by name.

        Raises:
            ValueError: a name that there is not.
        """
        known = [each.name for each in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"no fault is called {unknown[0]!r}: there are {', '.join(known)}")
        return cls(**values)

    def request(self, digest: str, came: int) -> str | None:
        """The fault that a body meets when it came `came` times before; None when all goes well."""
        if self.no_quota and self._draw(f"quota:{digest}") < self.no_quota:
            return "no_quota"
        return self._pick(self._requests, f"request:{came}:{digest}", came)

    def line(self, digest: str, came: int) -> str | None:
        """The same for a line of a batch."""
        return self._pick(self._lines, f"line:{came}:{digest}", came)

    @cached_property
    def _requests(self) -> list[tuple[str, float]]:
        return [(kind, p) for kind in KINDS if (p := getattr(self, kind))]

    @cached_property
    def _lines(self) -> list[tuple[str, float]]:
        return [(kind, p) for kind in LINES if (p := getattr(self, kind))]

    def _pick(self, chances: list[tuple[str, float]], key: str, came: int) -> str | None:
        if not chances or came >= self.most:
            return None
        draw = self._draw(key)
        for kind, p in chances:
            draw -= p
            if draw < 0:
                return kind
        return None

    def _draw(self, key: str) -> float:
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{key}".encode()).digest()[:8], "big") / 2**64
