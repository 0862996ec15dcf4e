"""What became of one attempt, in one word.

Outcome("failed", error="timeout", message="no answer within 600 s").what       # 'failed'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# answer: a body. limited: too much at once. failed: nobody's fault, may be tried again. refused: this request will
# never be answered. stop: nor will any other.
What = Literal["answer", "limited", "failed", "refused", "stop"]


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt.

    Attributes:
        what: see `What`.
        body: of the response, where there is an answer.
        message: the server's, in one line, without a key.
        error: a word to count; empty for an answer.
        retry_after: seconds that the server wants to be left alone.
        billed: whether the attempt may have been billed; of an answer `usage` says how much.
        cut: whether the answer was cut off here, so that `usage` does not say it.
    """

    what: What
    body: bytes = b""
    message: str = ""
    error: str = ""
    retry_after: float = 0.0
    billed: bool = True
    cut: bool = False
