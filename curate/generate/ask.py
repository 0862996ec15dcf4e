"""Asking: a request becomes a completion, whatever it takes, and everything about it is on record.

    async with Ask(endpoints, ledger, budget, names=["large"], replay=False) as ask:
        completion = await ask(request)

First the ledger is looked in. What it has not, is reserved in the budget, recorded, sent when the governor
lets it, and its answer recorded, in this order. What cannot be answered raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from curate.core.errors import RunError
from curate.generate.account import Account, account_for
from curate.generate.budget import BudgetClient
from curate.generate.endpoints import Endpoint, Endpoints
from curate.generate.governor import Governor, Open
from curate.generate.ledger import Amount, Attempt, GaveUp, Ledger
from curate.generate.outcome import Outcome
from curate.generate.request import Completion, Request, read_completion

if TYPE_CHECKING:
    from curate.generate.batch import BatchSender

_FIRST_WAIT, _LONGEST_WAIT = 0.25, 30.0


class Generate(Protocol):
    """The seam to a language model."""

    async def __call__(self, request: Request) -> Completion:
        """The model's answer.

        Raises:
            Skipped: the budget has nothing left for it.
            GivenUp: it will not be answered.
            RunError: nothing will be, for now; or its answer is not on record and nobody may be asked.
        """
        ...


class Skipped(Exception):
    """The budget has nothing left for a request."""


class GivenUp(Exception):
    """A request has no answer and will have none; `why` says it."""

    def __init__(self, why: GaveUp) -> None:
        super().__init__(f"{why.error}: {why.message}")
        self.why = why


class Sender(Protocol):
    """Sends requests to one server of an endpoint, in one way."""

    async def send(self, request: Request, attempt: str) -> Outcome:
        """What became of an attempt; does not raise."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class _Server:
    """One server of an endpoint, its governor and its weight."""

    def __init__(self, sender: Sender, governor: Governor, weight: float) -> None:
        self.sender, self.governor, self.weight = sender, governor, weight


class Ask:
    """`Generate` over ledger, budget, governors and clients.

    Args:
        endpoints: endpoints and prices.
        ledger: of this shard.
        budget: this worker's part of the budget; None where there is none.
        names: the endpoints that are asked.
        replay: whether the ledger alone may answer.
    """

    def __init__(
        self, endpoints: Endpoints, ledger: Ledger, budget: BudgetClient | None, names: Sequence[str], *, replay: bool
    ) -> None:
        self._endpoints, self._ledger, self._budget, self._replay = endpoints, ledger, budget, replay
        self._batches: list[BatchSender] = []
        self._servers = {} if replay else {name: self._open(name) for name in names}
        self._asking: dict[str, asyncio.Task[Completion]] = {}
        self._stopped: RunError | None = None
        self._last: dict[str, str] = {}

    async def __aenter__(self) -> Ask:
        try:
            for batches in self._batches:
                for attempt, spent in await batches.recover():
                    if self._budget is not None:
                        # Its worst case counts as spent since the client was opened.
                        self._budget.settle(attempt.model, attempt.worst, spent)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was sent is paid: its answers are waited for, and nothing else is sent. Those of a batch are fetched by
        # the next run.
        self._stopped = self._stopped or RunError("the run was stopped")
        for batches in self._batches:
            await batches.close()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        for places in self._servers.values():
            for place in places:
                with contextlib.suppress(Exception):  # a connection that does not even close in order
                    await place.sender.close()

    async def __call__(self, request: Request) -> Completion:
        """See `Generate`."""
        found = self._ledger.find(request.key)
        if found is not None:
            return read_completion(request.kind, found)
        if self._replay:
            why = self._ledger.gave_up(request.key)
            if why is not None:
                raise GivenUp(why)
            raise RunError(
                f"the ledger has no answer to request {request.key[:16]} to {request.endpoint}"
                f" ({_begins(request)}); run without --replay to ask for it"
            )
        task = self._asking.get(request.key)
        if task is None:
            task = asyncio.create_task(self._ask(request))
            self._asking[request.key] = task
            task.add_done_callback(lambda _: self._asking.pop(request.key, None))
        return await asyncio.shield(task)

    async def _ask(self, request: Request) -> Completion:
        endpoint = self._endpoints.by_name[request.endpoint]
        begun: float | None = None
        wait = _FIRST_WAIT
        failures = 0
        while True:
            place = min(self._servers[request.endpoint], key=_busy)
            async with place.governor.turn() as mine:
                self._check(request.endpoint, endpoint)
                if not mine:
                    continue
                attempt, account = await self._attempt(place, request)
            # The place is another's while the answer is recorded.
            await self._settle(attempt, request, account)
            if account.completion is not None:
                return account.completion
            outcome = account.outcome
            if outcome.what == "stop":
                raise _stop(request, outcome)
            if outcome.what == "refused":
                await self._give_up(request, outcome)
            begun = begun or time.monotonic()
            self._last[request.endpoint] = outcome.message
            if outcome.what == "failed":
                # Where nobody listens nothing was tried: how long that may last is a matter of patience.
                failures += outcome.error != "connection" or outcome.billed
                if failures >= endpoint.tries:
                    await self._give_up(request, outcome)
            elif time.monotonic() - begun > endpoint.patience:
                await self._give_up(request, outcome)
            # Chance keeps those that failed together from coming back together; it is in no output.
            await asyncio.sleep(max(outcome.retry_after, wait * random.uniform(0.5, 1.5)))
            wait = min(_LONGEST_WAIT, 2 * wait)

    async def _attempt(self, place: _Server, request: Request) -> tuple[Attempt, Account]:
        """One sending, from the reservation to what it came to, which is to be settled."""
        price = self._endpoints.price(request.endpoint)
        prompt, most = request.prompt_tokens, request.most
        worst = Amount(price.worst(prompt, most), prompt + most, 1)
        if self._budget is not None and not await self._budget.reserve(request.model, worst):
            raise Skipped
        attempt = Attempt(secrets.token_hex(12), request.key, request.model, worst)
        await self._ledger.begin(attempt)
        account = account_for(price, worst, request.kind, await place.sender.send(request, attempt.id))
        _govern(place.governor, account.outcome)
        if account.outcome.what == "stop":
            self._stopped = _stop(request, account.outcome)
        return attempt, account

    async def _settle(self, attempt: Attempt, request: Request, account: Account) -> None:
        """Record what an attempt came to, and free what it did not cost."""
        answer = (request, account.outcome.body) if account.completion is not None else None
        await self._ledger.settle(attempt.id, account.state, account.spent, answer)
        if self._budget is not None:
            self._budget.settle(attempt.model, attempt.worst, account.spent)

    async def _give_up(self, request: Request, outcome: Outcome) -> None:
        why = GaveUp(outcome.error, outcome.message)
        await self._ledger.give_up(request.key, why)
        raise GivenUp(why)

    def _open(self, name: str) -> list[_Server]:
        # They import `openai`, which whoever asks nobody does without.
        from curate.generate.batch import BatchSender
        from curate.generate.client import Client

        endpoint = self._endpoints.by_name[name]
        if endpoint.batch:
            batches = BatchSender(name, endpoint, self._ledger, self._endpoints.price(name))
            self._batches.append(batches)
            return [_Server(batches, Open(endpoint.batch_rows), 1.0)]
        return [_Server(Client(each, endpoint), Governor(endpoint.in_flight), each.weight) for each in endpoint.places]

    def _check(self, name: str, endpoint: Endpoint) -> None:
        """See that the run has not stopped, and that the endpoint is not down for good."""
        if self._stopped is not None:
            raise self._stopped
        since = [place.governor.down_since for place in self._servers[name]]
        if all(each is not None for each in since):
            down = time.monotonic() - max(each for each in since if each is not None)
            if down > endpoint.patience:
                self._stopped = RunError(
                    f"endpoint {name} has not answered for {down:.0f} s ({self._last.get(name)}); see whether it runs"
                )
                raise self._stopped


def _busy(place: _Server) -> tuple[float, float]:
    return place.governor.load / place.weight, place.governor.waiting / place.weight


def _stop(request: Request, outcome: Outcome) -> RunError:
    return RunError(f"endpoint {request.endpoint} {outcome.message}")


def _govern(governor: Governor, outcome: Outcome) -> None:
    if outcome.what in ("answer", "refused", "stop"):
        governor.succeeded()
    elif outcome.what == "limited":
        governor.limited(outcome.retry_after)
    else:
        governor.failed()


def _begins(request: Request) -> str:
    messages = request.body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else request.body.get("prompt")
    text = last.get("content") if isinstance(last, dict) else last
    short = " ".join(str(text).split())
    return short if len(short) <= 60 else f"{short[:60]}..."
