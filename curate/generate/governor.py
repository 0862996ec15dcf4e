"""The governor: how many requests a server of an endpoint gets at once, and when it is left alone.

    governor = Governor(most=64)
    async with governor.turn() as mine:  # waits for a place
        if mine: ...
    governor.succeeded(); governor.limited(retry_after=2.0); governor.failed()

It starts low, allows one more after a run of answers, and three quarters as many after a 429. A server that fails
again and again is left alone for a while, then asked once: if it answers, it is used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

_START = 8
_RUN = 4  # answers until one more is allowed at once
_LESS = 0.75
_BROKEN = 8  # failures one after the other until a server is left alone
_FIRST_REST, _LONGEST_REST = 0.5, 30.0


class Governor:
    """Of one server and one model, in one process.

    Attributes:
        most: requests at once that are never passed.
        down_since: when it began to fail without an answer in between; None where it answers.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.down_since: float | None = None
        self._clock = clock
        self._allowed = float(min(_START, most))
        self._flying = self._answers = self._failures = 0
        self._rest_until = self._last_cut = 0.0
        self._rest = _FIRST_REST
        self._probe: object | None = None
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def allowed(self) -> int:
        """How many may be in flight now."""
        return int(self._allowed)

    @property
    def load(self) -> float:
        """How busy it is: of what it may have, in flight and waiting; endless while it is left alone."""
        if self.resting:
            return float("inf")
        return (self._flying + len(self._waiting)) / max(1.0, self._allowed)

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    @property
    def resting(self) -> bool:
        """Whether it is left alone, after failures or because it said so."""
        return self._clock() < self._rest_until or (self._failures >= _BROKEN and self._probe is not None)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Wait for a place, and hold it; False if the server failed meanwhile, so that another may be chosen."""
        turn = asyncio.get_running_loop().create_future()
        if self._waiting or not self._may():
            self._waiting.append(turn)
            self._wake()
        else:
            self._enter(turn)
        try:
            yield await turn
        finally:
            if turn.done() and not turn.cancelled() and turn.result():
                self._leave(turn)

    def succeeded(self) -> None:
        """It answered."""
        self.down_since, self._failures, self._rest = None, 0, _FIRST_REST
        self._answers += 1
        if self._answers >= _RUN and self._allowed < self.most:
            self._answers = 0
            self._allowed = min(float(self.most), self._allowed + 1)

    def limited(self, retry_after: float) -> None:
        """It said that this is too much, and when it may be asked again."""
        now = self._clock()
        self.down_since, self._failures, self._answers = None, 0, 0
        # Requests that were in flight together are refused together, for one reason.
        if now >= self._last_cut:
            self._allowed = max(1.0, self._allowed * _LESS)
            self._last_cut = now + max(retry_after, 0.05)
        self._rest_until = max(self._rest_until, now + retry_after)

    def failed(self) -> None:
        """It did not answer, or not sensibly."""
        now = self._clock()
        self._failures += 1
        self._answers = 0
        if self.down_since is None:
            self.down_since = now
        if self._failures >= _BROKEN and now >= self._rest_until:
            self._rest_until = now + self._rest
            self._rest = min(_LONGEST_REST, 2 * self._rest)
            waiting, self._waiting = self._waiting, deque()
            for turn in waiting:
                if not turn.done():
                    turn.set_result(False)

    def _may(self) -> bool:
        if self._clock() < self._rest_until:
            return False
        if self._failures >= _BROKEN:
            return self._probe is None  # half open: one request, and then it is known
        return self._flying < int(self._allowed)

    def _enter(self, turn: asyncio.Future[bool]) -> None:
        self._flying += 1
        if self._failures >= _BROKEN:
            self._probe = turn
        turn.set_result(True)

    def _leave(self, turn: asyncio.Future[bool]) -> None:
        self._flying -= 1
        if self._probe is turn:
            self._probe = None
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._may():
            turn = self._waiting.popleft()
            if not turn.done():
                self._enter(turn)
        if self._waiting and self._timer is None and self._clock() < self._rest_until:
            self._timer = asyncio.get_running_loop().call_later(self._rest_until - self._clock(), self._rested)

    def _rested(self) -> None:
        self._timer = None
        self._wake()


class Open(Governor):
    """Of a way of sending that takes any number at once and minds its own failures: a batch."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._allowed = float(most)

    def succeeded(self) -> None:
        """Nothing is learnt from it."""

    def limited(self, retry_after: float) -> None:
        """Nothing is learnt from it."""

    def failed(self) -> None:
        """Nothing is learnt from it."""
