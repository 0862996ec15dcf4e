"""The Batch API of OpenAI, as another way of sending the same requests: at its price, and at its pace.

    sender = BatchSender("large", endpoint, ledger, price)
    for attempt, spent in await sender.recover():     # what an earlier process had sent
        ...
    outcome = await sender.send(request, attempt="1f0c...")

Requests are collected until there are enough of them or no more come, and go out as one file. The ledger has a batch
by its file before it is created, so that it is found again whenever this process ends. An answer is stored before
anybody gets it; a line that a batch did not do is sent again.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import orjson

from curate.core.errors import RunError
from curate.generate.account import account_for
from curate.generate.batch_result import BatchResult
from curate.generate.client import FAILURES, Client
from curate.generate.endpoints import Endpoint
from curate.generate.ledger import Amount, Attempt, Ledger
from curate.generate.outcome import Outcome
from curate.generate.prices import Price
from curate.generate.request import CHAT, COMPLETIONS, Kind, Request

_QUIET = 0.5  # seconds without a request until those that came are sent
_MOST_BYTES = 100_000_000  # of a file; the Batch API takes 200 MB
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 60.0
_FINAL = ("completed", "failed", "expired", "cancelled")
_URLS: Mapping[Kind, Literal["/v1/chat/completions", "/v1/completions"]] = {
    CHAT: "/v1/chat/completions",
    COMPLETIONS: "/v1/completions",
}
_LEFT = Outcome("stop", message="was left, as the run ended", error="left", billed=False)
_NEVER_SENT = Outcome("failed", message="its batch was not sent", error="batch-not-sent", billed=False)
_T = TypeVar("_T")


class _Stop(Exception):
    """Nothing can be sent or fetched for now; `sure` if the endpoint said so itself."""

    def __init__(self, outcome: Outcome, *, sure: bool) -> None:
        super().__init__(outcome.message)
        self.outcome, self.sure = outcome, sure


@dataclass(frozen=True)
class _Entry:
    request: Request
    attempt: str
    line: bytes
    outcome: asyncio.Future[Outcome]


class BatchSender:
    """Sends requests to one endpoint in batches; to be closed.

    Args:
        name: of the endpoint.
        endpoint: with its one server.
        ledger: where batches stand until they are done.
        price: of a token.
    """

    def __init__(self, name: str, endpoint: Endpoint, ledger: Ledger, price: Price) -> None:
        self._name, self._endpoint, self._ledger, self._price = name, endpoint, ledger, price
        self._client = Client(endpoint.places[0], endpoint)
        self._entries: list[_Entry] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._far: set[asyncio.Task[None]] = set()  # those that wait for the endpoint
        self._closed = False

    async def send(self, request: Request, attempt: str) -> Outcome:
        """Send a request with others; returns when its batch is done, or when the sender is closed."""
        if self._closed:
            return _LEFT
        asked = {"custom_id": attempt, "method": "POST", "url": _URLS[request.kind]}
        line = orjson.dumps({**asked, "body": {"model": request.model, **request.body}}) + b"\n"
        entry = _Entry(request, attempt, line, asyncio.get_running_loop().create_future())
        self._entries.append(entry)
        self._bytes += len(line)
        if self._timer is not None:
            self._timer.cancel()
        if len(self._entries) >= self._endpoint.batch_rows or self._bytes >= _MOST_BYTES:
            self._flush()
        else:
            self._timer = asyncio.get_running_loop().call_later(_QUIET, self._flush)
        return await entry.outcome

    async def recover(self) -> list[tuple[Attempt, Amount]]:
        """Wait for the batches that the ledger knows and store their answers; what each attempt cost.

        Raises:
            RunError: the endpoint does not answer, or knows nothing of a batch.
        """
        batches = self._ledger.batches()
        own = {file: entries for file, entries in batches.items() if entries[0][1].endpoint == self._name}
        spent: list[tuple[Attempt, Amount]] = []
        try:
            known = await self._find(own)
            for file, entries in own.items():
                of: Callable[[str], Outcome] = _always(_NEVER_SENT)
                if file in known:
                    of = (await self._result(known[file])).of
                else:
                    # Another account would not know the file either: this one has it, and never made a batch of it.
                    await self._until(functools.partial(self._client.openai.files.retrieve, file))
                spent += await self._store(file, entries, of)
        except _Stop as stop:
            raise RunError(
                f"endpoint {self._name} {stop}; {self._ledger.path} awaits answers of a batch from it: ask with the url"
                " and the key that it was sent with, or set `batch: false` to ask for them anew"
            ) from None
        return spent

    async def close(self) -> None:
        """Let go: batches that are not done stay in the ledger, and are asked for by the next process."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        _tell(self._entries, _always(_LEFT))
        self._entries = []
        for task in self._far:
            task.cancel()  # what it waits for stays on record
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    def _flush(self) -> None:
        """Send what was collected, a file for each kind."""
        entries, self._entries, self._bytes, self._timer = self._entries, [], 0, None
        for kind in _URLS:
            if some := [each for each in entries if each.request.kind == kind]:
                task = asyncio.create_task(self._run(kind, some))
                self._tasks.add(task)
                self._far.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(self._far.discard)
                # One that was cancelled before it began reports nothing.
                task.add_done_callback(functools.partial(_leave, some))

    async def _run(self, kind: Kind, entries: Sequence[_Entry]) -> None:
        """One batch, from its file to the outcomes."""
        file = ""
        of: Callable[[str], Outcome]
        try:
            file = await self._upload(entries)
            await self._ledger.begin_batch(file, {each.attempt: each.request for each in entries})
            of = (await self._result(await self._create(file, kind))).of
            self._far.discard(_this_task())
            await self._store(file, self._ledger.batches()[file], of)
        except asyncio.CancelledError:
            of = _always(replace(_LEFT, billed=file in self._ledger.batches()))
        except _Stop as stop:
            of = _always(replace(stop.outcome, billed=file in self._ledger.batches()))
        except Exception as error:  # it is theirs that wait
            for entry in entries:
                if not entry.outcome.done():
                    entry.outcome.set_exception(error)
            return
        _tell(entries, of)

    async def _upload(self, entries: Sequence[_Entry]) -> str:
        content = b"".join(each.line for each in entries)
        create = self._client.openai.files.create
        made = await self._until(functools.partial(create, file=("requests.jsonl", content), purpose="batch"))
        return made.id

    async def _create(self, file: str, kind: Kind) -> str:
        """Make a batch of a file, once, whatever becomes of the endpoint's answer; its id."""
        tried = False

        async def once() -> str:
            nonlocal tried
            if tried and (found := await self._list([file])):
                return found[file]
            tried = True
            made = await self._client.openai.batches.create(
                input_file_id=file, endpoint=_URLS[kind], completion_window="24h"
            )
            return made.id

        try:
            return await self._until(once)
        except _Stop as stop:
            if stop.sure:
                await self._ledger.end_batch(file)
            raise

    async def _list(self, files: Collection[str]) -> dict[str, str]:
        """The batches that were made of some files, by file."""
        found: dict[str, str] = {}
        async for each in self._client.openai.batches.list(limit=100):
            if each.input_file_id in files:
                found[each.input_file_id] = each.id
                if len(found) == len(files):
                    break
        return found

    async def _result(self, id: str) -> BatchResult:
        """Wait until a batch has ended, and fetch what it did."""
        wait = _FIRST_WAIT
        retrieve = functools.partial(self._client.openai.batches.retrieve, id)
        while (batch := await self._until(retrieve)).status not in _FINAL:
            await asyncio.sleep(wait)
            wait = min(_LONGEST_WAIT, 1.5 * wait)
        result = BatchResult(self._client, batch)
        for file in (batch.output_file_id, batch.error_file_id):
            if file is not None:
                content = await self._until(functools.partial(self._client.openai.files.content, file))
                result.add(content.content)
        return result

    async def _store(
        self, file: str, entries: Sequence[tuple[Attempt, Request]], of: Callable[[str], Outcome]
    ) -> list[tuple[Attempt, Amount]]:
        """Record what the attempts of a batch came to, and that nothing more is awaited; what each cost."""
        spent: list[tuple[Attempt, Amount]] = []
        settling: list[Awaitable[None]] = []
        for attempt, request in entries:
            account = account_for(self._price, attempt.worst, request.kind, of(attempt.id))
            answer = (request, account.outcome.body) if account.completion is not None else None
            settling.append(self._ledger.settle(attempt.id, account.state, account.spent, answer))
            spent.append((attempt, account.spent))
        await asyncio.gather(*settling)
        await self._ledger.end_batch(file)
        return spent

    async def _find(self, files: Collection[str]) -> dict[str, str]:
        return await self._until(functools.partial(self._list, files)) if files else {}

    async def _until(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """What a call gives, as soon as the endpoint answers it.

        Raises:
            _Stop: it refuses, or has not answered for as long as is waited.
        """
        wait, begun = _FIRST_WAIT, time.monotonic()
        while True:
            try:
                return await call()
            except FAILURES as error:
                outcome = self._client.failure(error)
            if outcome.what == "stop":
                raise _Stop(outcome, sure=True)
            if outcome.what == "refused":
                raise _Stop(replace(outcome, what="stop", message=f"refuses it ({outcome.message})"), sure=True)
            gone = time.monotonic() - begun
            if gone > self._endpoint.patience:
                message = f"has not answered for {gone:.0f} s ({outcome.message}); run the same command again"
                raise _Stop(replace(outcome, what="stop", message=message), sure=False)
            await asyncio.sleep(max(outcome.retry_after, wait))
            wait = min(_LONGEST_WAIT, 2 * wait)


def _tell(entries: Sequence[_Entry], of: Callable[[str], Outcome]) -> None:
    for entry in entries:
        if not entry.outcome.done():
            entry.outcome.set_result(of(entry.attempt))


def _always(outcome: Outcome) -> Callable[[str], Outcome]:
    return lambda attempt: outcome


def _leave(entries: Sequence[_Entry], task: asyncio.Task[None]) -> None:
    _tell(entries, _always(_LEFT))


def _this_task() -> asyncio.Task[None]:
    task: asyncio.Task[None] | None = asyncio.current_task()
    assert task is not None
    return task
