"""The budget of a run: what is spent never passes the caps, with any number of workers.

    budget = BudgetServer(Caps(usd=2.5), spent={})
    with serve_budget(budget, host="127.0.0.1") as address:          # in the process that runs the pipeline
        ...
    client = await BudgetClient.open(address, ledger="part-00000.sqlite")   # in a worker
    if await client.reserve("gpt-4o-mini", worst): ...; client.settle("gpt-4o-mini", worst, actual)

Before an attempt its worst case is reserved. A worker draws from the coordinator more than it needs at once, and gives
back what is left as soon as another has to wait. A worker that is lost leaves its ledger, which says what it
spent or may have.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from curate.core.errors import RunError
from curate.generate.endpoints import Cap, Caps
from curate.generate.ledger import Amount, spent_in
from curate.generate.prices import DOLLAR

# A worker draws as much at once as so many of its requests may cost, if there is enough.
_AHEAD = 1024
_NEVER = 1 << 62


@dataclass
class _Loan:
    """What one worker has, by model: drawn, and neither spent nor given back as far as is known."""

    ledger: str
    base: Mapping[str, Amount]
    reported: dict[str, Amount] = field(default_factory=dict)
    lent: dict[str, Amount] = field(default_factory=dict)


@dataclass(frozen=True)
class _Waiting:
    loan: _Loan
    model: str
    need: Amount
    want: Amount
    answer: Callable[[Amount | None], None]


class BudgetServer:
    """Who has how much of the caps. Knows nothing of processes or sockets."""

    def __init__(self, caps: Caps, spent: Mapping[str, Amount]) -> None:
        self._caps = {model: amount_of(cap) for model, cap in caps.models.items()}
        self._cap = amount_of(caps)
        self._spent = dict(spent)
        self._loans: list[_Loan] = []
        self._waiting: list[_Waiting] = []

    @property
    def spent(self) -> Mapping[str, Amount]:
        """What was spent, or may have been, by model, as far as the workers have reported."""
        return self._spent

    @property
    def waits(self) -> bool:
        """Whether somebody waits for what others give back."""
        return bool(self._waiting)

    def enter(self, ledger: str, base: Mapping[str, Amount]) -> _Loan:
        """A worker begins on a ledger that says `base` of what was spent."""
        loan = _Loan(ledger, base)
        self._loans.append(loan)
        return loan

    def draw(
        self, loan: _Loan, model: str, need: Amount, want: Amount, answer: Callable[[Amount | None], None]
    ) -> None:
        """Lend between `need` and `want`; `answer` gets None when so much will not be there any more."""
        self._waiting.append(_Waiting(loan, model, need, want, answer))
        self._serve()

    def give(self, loan: _Loan, model: str, spent: Amount, back: Amount) -> None:
        """A worker tells what it spent of a loan, and gives back a part."""
        self._spent[model] = self._spent.get(model, Amount()).plus(spent)
        loan.reported[model] = loan.reported.get(model, Amount()).plus(spent)
        loan.lent[model] = loan.lent.get(model, Amount()).minus(spent).minus(back)
        self._serve()

    def leave(self, loan: _Loan, said: Mapping[str, Amount]) -> None:
        """A worker is gone; `said` is what its ledger says now."""
        for model, total in said.items():
            known = loan.base.get(model, Amount()).plus(loan.reported.get(model, Amount()))
            self._spent[model] = self._spent.get(model, Amount()).plus(total.minus(known))
        self._loans.remove(loan)
        self._waiting = [each for each in self._waiting if each.loan is not loan]
        self._serve()

    def _left(self, model: str, *, lent: bool) -> Amount:
        """What is left for a model: of its own cap and of the run's; with `lent`, of what is not lent either."""
        left = [self._cap.minus(self._used(None, lent=lent))]
        if model in self._caps:
            left.append(self._caps[model].minus(self._used(model, lent=lent)))
        return Amount(*(min(each) for each in zip(*left, strict=True)))

    def _used(self, model: str | None, *, lent: bool) -> Amount:
        total = Amount()
        for name, amount in self._spent.items():
            total = total.plus(amount) if model in (None, name) else total
        for loan in self._loans if lent else ():
            for name, amount in loan.lent.items():
                total = total.plus(amount) if model in (None, name) else total
        return total

    def _serve(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            free = self._left(each.model, lent=True)
            if free.covers(each.need):
                share = Amount(*(left // (2 * len(self._loans)) for left in free))
                granted = Amount(*(max(n, min(w, s)) for n, w, s in zip(each.need, each.want, share, strict=True)))
                each.loan.lent[each.model] = each.loan.lent.get(each.model, Amount()).plus(granted)
                each.answer(granted)
            elif not self._left(each.model, lent=False).covers(each.need):
                each.answer(None)  # even if all that is lent came back
            else:
                self._waiting.append(each)


@dataclass(frozen=True)
class Address:
    """Where the coordinator listens, and the word by which it knows a worker of its own."""

    host: str
    port: int
    token: str


@contextlib.contextmanager
def serve_budget(budget: BudgetServer, host: str) -> Iterator[Address]:
    """Serve a budget to workers while the block lasts; a thread of this process is the coordinator.

    Args:
        budget: what is lent.
        host: the address of this machine as the workers see it; of no other is listened to.
    """
    token = secrets.token_hex(16)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(_Coordinator(budget, token).serve, host, 0))
    thread = threading.Thread(target=loop.run_forever, name="budget", daemon=True)
    thread.start()
    try:
        yield Address(host, server.sockets[0].getsockname()[1], token)
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class _Coordinator:
    def __init__(self, budget: BudgetServer, token: str) -> None:
        self._budget, self._token = budget, token
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loan: _Loan | None = None
        try:
            hello = orjson.loads(await reader.readline() or b"{}")
            if not secrets.compare_digest(str(hello.get("token", "")), self._token):
                return
            loan = self._budget.enter(hello["ledger"], spent_in(hello["ledger"]))
            self._writers.add(writer)
            _tell(writer, {"hello": 1})
            while line := await reader.readline():
                self._hear(loan, orjson.loads(line), writer)
        except (ConnectionError, orjson.JSONDecodeError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            if loan is not None:
                self._budget.leave(loan, spent_in(loan.ledger))
            writer.close()

    def _hear(self, loan: _Loan, message: dict[str, object], writer: asyncio.StreamWriter) -> None:
        model = str(message["model"])
        if "spent" in message:
            self._budget.give(loan, model, _amount(message["spent"]), _amount(message["back"]))
        if "need" in message:

            def answer(granted: Amount | None) -> None:
                _tell(writer, {"granted": granted})

            self._budget.draw(loan, model, _amount(message["need"]), _amount(message["want"]), answer)
        if self._budget.waits:
            for each in self._writers:
                _tell(each, {"recall": 1})


def amount_of(cap: Cap) -> Amount:
    """What a cap allows; where it says nothing, more than there is."""
    money = _NEVER if cap.usd is None else round(cap.usd * DOLLAR)
    return Amount(
        money,
        _NEVER if cap.tokens is None else cap.tokens,
        _NEVER if cap.requests is None else cap.requests,
    )


def _amount(value: object) -> Amount:
    assert isinstance(value, list)
    return Amount(*value)


def _tell(writer: asyncio.StreamWriter, message: Mapping[str, object]) -> None:
    if not writer.is_closing():
        writer.write(orjson.dumps(message, default=list) + b"\n")


class BudgetClient:
    """A worker's part of the budget."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._free: dict[str, Amount] = {}
        self._spent: dict[str, Amount] = {}
        self._one = asyncio.Lock()
        self._granted: asyncio.Queue[Amount | None] = asyncio.Queue()
        self._recalled = False
        self._lost = False
        self._ears = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, address: Address, ledger: str) -> BudgetClient:
        """Connect to the coordinator.

        Raises:
            RunError: it is not there.
        """
        try:
            reader, writer = await asyncio.open_connection(address.host, address.port)
        except OSError as error:
            raise RunError(f"the budget's coordinator cannot be reached at {address.host} ({error})") from None
        _tell(writer, {"token": address.token, "ledger": ledger})
        if not await reader.readline():
            raise RunError("the budget's coordinator ended the connection")
        return cls(reader, writer)

    async def reserve(self, model: str, need: Amount) -> bool:
        """Whether so much is set aside; False when the budget will not have it any more.

        Raises:
            RunError: the coordinator is gone.
        """
        async with self._one:
            while not (free := self._free.get(model, Amount())).covers(need):
                if self._lost:
                    raise RunError("the budget's coordinator is gone; run the same command again")
                # The need is drawn whole: workers that each held a part of one would take it from each other for ever.
                want = Amount(*(each * _AHEAD for each in need))
                self._tell(model, self._free.pop(model, Amount()), need=need, want=want)
                granted = await self._granted.get()
                if granted is None:
                    if self._lost:
                        continue
                    return False
                self._free[model] = self._free.get(model, Amount()).plus(granted)
            self._free[model] = free.minus(need)
            return True

    def settle(self, model: str, reserved: Amount, spent: Amount) -> None:
        """Free what was reserved and not spent."""
        self._free[model] = self._free.get(model, Amount()).plus(reserved).minus(spent)
        self._spent[model] = self._spent.get(model, Amount()).plus(spent)
        if self._recalled:
            self._give_back()

    async def close(self) -> None:
        """Give everything back."""
        self._give_back()
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        self._writer.close()
        self._ears.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await self._ears

    def _give_back(self) -> None:
        for model in list(self._free):
            self._tell(model, self._free.pop(model))

    def _tell(self, model: str, back: Amount, **asked: Amount) -> None:
        spent = self._spent.pop(model, Amount())
        _tell(self._writer, {"model": model, "spent": spent, "back": back, **asked})

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                message = orjson.loads(line)
                if "recall" in message:
                    self._recalled = True
                    self._give_back()
                else:
                    granted = message["granted"]
                    self._recalled = False
                    self._granted.put_nowait(None if granted is None else Amount(*granted))
        finally:
            self._lost = True
            self._granted.put_nowait(None)
