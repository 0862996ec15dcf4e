"""The ledger of one shard: every attempt stands in it before it is sent, every answer before it is used.

    ledger = Ledger("runs/demo/ledger/made/part-00000.sqlite")
    await ledger.begin(Attempt("1f0c...", request.key, "gpt-4o-mini", Amount(270_000_000, 500, 1)))
    await ledger.settle("1f0c...", "settled", Amount(90_000_000, 180, 1), answer=(request, b"{...}"))
    ledger.find(request.key)                     # b"{...}"

SQLite in WAL mode with full sync. A thread writes; what was asked of it meanwhile goes into one commit, so that a
commit's sync is shared by all that wait for it. One process writes a file at a time, others may read it. The amount of
an attempt is what it is billed at most until that is known better; that of one whose process was killed stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import orjson
import zstandard

from curate.core.errors import RunError
from curate.generate.request import Request, as_request

# sent: not known yet. settled: billed as `usage` says. free: refused, so not billed. stands: it will never be known.
# lost: nor that, as the process that sent it was killed.
State = Literal["sent", "settled", "free", "stands", "lost"]
_AT_ONCE = 256
_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses(
    key BLOB PRIMARY KEY, request BLOB NOT NULL, response BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS failures(key BLOB PRIMARY KEY, error TEXT NOT NULL, message TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts(
    id TEXT PRIMARY KEY, key BLOB NOT NULL, model TEXT NOT NULL, money INTEGER NOT NULL, tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches(
    attempt TEXT PRIMARY KEY, batch TEXT NOT NULL, request BLOB NOT NULL) WITHOUT ROWID;
"""
_Statement: TypeAlias = "tuple[str, tuple[str | int | bytes, ...]]"


class Amount(NamedTuple):
    """What is reserved or spent: pico-dollars, tokens, requests."""

    money: int = 0
    tokens: int = 0
    requests: int = 0

    def plus(self, other: Amount) -> Amount:
        """The sum."""
        return Amount(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: Amount) -> Amount:
        """The difference."""
        return Amount(*(a - b for a, b in zip(self, other, strict=True)))

    def covers(self, other: Amount) -> bool:
        """Whether it is at least as much in each."""
        return all(a >= b for a, b in zip(self, other, strict=True))


@dataclass(frozen=True)
class Attempt:
    """One sending of a request: an id of its own, and what it may be billed at most."""

    id: str
    key: str
    model: str
    worst: Amount


@dataclass(frozen=True)
class GaveUp:
    """Why a request has no answer: a word to count, and the endpoint's message."""

    error: str
    message: str


@dataclass(frozen=True)
class _Job:
    statements: Sequence[_Statement]
    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


class Ledger:
    """One file, written by this process alone.

    Args:
        path: the file; made where it is not there.
        others: ledgers that are read where this one has no answer.
    """

    def __init__(self, path: str, others: Sequence[str] = ()) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.path = path
        self._write = open_sqlite(path, schema=True)
        # Their process is gone, and nobody will say what became of them. Those of a batch can still be asked for.
        self._write.execute(
            "UPDATE attempts SET state = 'lost' WHERE state = 'sent' AND id NOT IN (SELECT attempt FROM batches)"
        )
        self._read = [open_sqlite(each) for each in (path, *others)]
        self._zip, self._unzip = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._commit, name="ledger", daemon=True)
        self._thread.start()

    def find(self, key: str) -> bytes | None:
        """The body of the response to a request, as the endpoint sent it; None where there is none."""
        for each in self._read:
            row = each.execute("SELECT response FROM responses WHERE key = ?", (bytes.fromhex(key),)).fetchone()
            if row is not None:
                return self._unzip.decompress(row[0])
        return None

    def gave_up(self, key: str) -> GaveUp | None:
        """Why a request failed for good, by this run or an earlier one."""
        for each in self._read:
            row = each.execute("SELECT error, message FROM failures WHERE key = ?", (bytes.fromhex(key),)).fetchone()
            if row is not None:
                return GaveUp(row[0], row[1])
        return None

    async def begin(self, *attempts: Attempt) -> None:
        """Record attempts that are about to be sent; durable on return."""
        await self._put(
            [
                (
                    "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, 'sent')",
                    (each.id, bytes.fromhex(each.key), each.model, *each.worst),
                )
                for each in attempts
            ]
        )

    async def settle(
        self, attempt: str, state: State, spent: Amount, answer: tuple[Request, bytes] | None = None
    ) -> None:
        """Record what an attempt came to, and its answer if it has one; durable on return."""
        statements: list[_Statement] = [
            (
                "UPDATE attempts SET money = ?, tokens = ?, requests = ?, state = ? WHERE id = ?",
                (*spent, state, attempt),
            )
        ]
        if answer is not None:
            statements.append(stored(self._zip, answer[0].key, answer[0].canonical, answer[1]))
        await self._put(statements)

    async def give_up(self, key: str, why: GaveUp) -> None:
        """Record that a request failed for good."""
        await self._put(
            [("INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (bytes.fromhex(key), why.error, why.message))]
        )

    async def begin_batch(self, batch: str, requests: Mapping[str, Request]) -> None:
        """Record a batch that is about to be sent, with the requests of its attempts by the attempts' ids."""
        await self._put(
            [
                ("INSERT INTO batches VALUES (?, ?, ?)", (attempt, batch, self._zip.compress(request.canonical)))
                for attempt, request in requests.items()
            ]
        )

    async def end_batch(self, batch: str) -> None:
        """Record that a batch has nothing more to tell: what its attempts are not known to have cost stands."""
        await self._put(
            [
                (
                    "UPDATE attempts SET state = 'stands' WHERE state = 'sent' AND id IN"
                    " (SELECT attempt FROM batches WHERE batch = ?)",
                    (batch,),
                ),
                ("DELETE FROM batches WHERE batch = ?", (batch,)),
            ]
        )

    def batches(self) -> dict[str, list[tuple[Attempt, Request]]]:
        """The batches of which a result is awaited, by id: their attempts, and what these asked."""
        query = (
            "SELECT batch, request, id, key, model, money, tokens, requests FROM batches"
            " JOIN attempts ON id = attempt ORDER BY batch, id"
        )
        found: dict[str, list[tuple[Attempt, Request]]] = {}
        for batch, request, id, key, model, *worst in self._read[0].execute(query):
            asked = as_request(orjson.loads(self._unzip.decompress(request)))
            found.setdefault(batch, []).append((Attempt(id, key.hex(), model, Amount(*worst)), asked))
        return found

    def close(self) -> None:
        """Write what is waiting, and let go of the files."""
        self._queue.put(None)
        self._thread.join()
        for each in [*self._read, self._write]:
            each.close()

    async def _put(self, statements: Sequence[_Statement]) -> None:
        loop = asyncio.get_running_loop()
        job = _Job(statements, loop.create_future(), loop)
        self._queue.put(job)
        # What was asked for is written even when nobody waits for it any more.
        await asyncio.shield(job.done)

    def _commit(self) -> None:
        ended = False
        while not ended:
            jobs: list[_Job] = []
            job = self._queue.get()
            while job is not None:
                jobs.append(job)
                if len(jobs) >= _AT_ONCE:
                    break
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break
            ended = job is None
            if jobs:
                self._commit_some(jobs)

    def _commit_some(self, jobs: Sequence[_Job]) -> None:
        error: Exception | None = None
        try:
            self._write.execute("BEGIN IMMEDIATE")
            for job in jobs:
                for sql, values in job.statements:
                    self._write.execute(sql, values)
            self._write.execute("COMMIT")
        except sqlite3.Error as failure:
            with contextlib.suppress(sqlite3.Error):
                self._write.execute("ROLLBACK")
            error = RunError(f"{self.path}: the ledger cannot be written ({failure}); mend that")
        with contextlib.suppress(RuntimeError):  # the loop has ended
            jobs[0].loop.call_soon_threadsafe(_resolve, [job.done for job in jobs], error)


def _resolve(futures: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
    for each in futures:
        if each.done():
            continue
        if error is None:
            each.set_result(None)
        else:
            each.set_exception(error)


def stored(zip: zstandard.ZstdCompressor, key: str, request: bytes, response: bytes) -> _Statement:
    """The statement that stores an answer; the first one stays."""
    return (
        "INSERT OR IGNORE INTO responses VALUES (?, ?, ?)",
        (bytes.fromhex(key), zip.compress(request), zip.compress(response)),
    )


def open_sqlite(path: str, *, schema: bool = False) -> sqlite3.Connection:
    """A connection to a ledger; statements commit one by one unless a transaction is begun.

    Raises:
        RunError: the file is no ledger, or cannot be opened.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        if schema:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
        connection.execute("SELECT count(*) FROM batches")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise RunError(f"{path}: is no ledger that can be read ({error})") from None
    return connection


def spent_in(path: str) -> dict[str, Amount]:
    """What a ledger's attempts were billed, or may have been, by model."""
    connection = open_sqlite(path)
    try:
        query = "SELECT model, sum(money), sum(tokens), sum(requests) FROM attempts GROUP BY model ORDER BY model"
        return {row[0]: Amount(*row[1:]) for row in connection.execute(query)}
    finally:
        connection.close()


def answers_in(path: str) -> int:
    """How many answers a ledger has; they are never removed, so the last one's number says it."""
    connection = open_sqlite(path)
    try:
        found: tuple[int | None] = connection.execute("SELECT max(rowid) FROM responses").fetchone()
        return found[0] or 0
    finally:
        connection.close()


def states_in(path: str) -> dict[str, dict[str, int]]:
    """How many attempts of a ledger are in which state, by model."""
    connection = open_sqlite(path)
    found: dict[str, dict[str, int]] = {}
    try:
        for model, state, count in connection.execute("SELECT model, state, count(*) FROM attempts GROUP BY 1, 2"):
            found.setdefault(model, {})[state] = count
    finally:
        connection.close()
    return found


@dataclass(frozen=True)
class Entry:
    """An answer as the ledger keeps it: the canonical request and the response, both JSON."""

    key: str
    request: bytes
    response: bytes


def entries(path: str) -> Iterator[Entry]:
    """Every answer of a ledger, in the order of the keys."""
    connection = open_sqlite(path)
    unzip = zstandard.ZstdDecompressor()
    try:
        for key, request, response in connection.execute("SELECT * FROM responses ORDER BY key"):
            yield Entry(key.hex(), unzip.decompress(request), unzip.decompress(response))
    finally:
        connection.close()
