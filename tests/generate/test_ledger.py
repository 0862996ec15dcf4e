"""The ledger: what is in it when a process is killed, what an answer costs to store, and who may read it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import RunError
from curate.generate.ledger import Amount, Attempt, GaveUp, Ledger, entries, spent_in
from tests.generate.asking import PRICE, PRICES, asking, attempts, chat, endpoints, states
from tests.helpers import ROOT
from tests.llm.faults import Faults
from tests.llm.server import serve

WORST = Amount(270_000_000, 500, 1)
amounts = st.builds(Amount, *[st.integers(0, 2**60)] * 3)


def body(text: str) -> bytes:
    return b'{"choices": [], "said": "%s"}' % text.encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "part-00000.sqlite"


def test_an_attempt_is_on_disk_before_its_request_is_sent(path: Path) -> None:
    seen: list[list[str]] = []

    def answer(asked: dict[str, object]) -> str:
        seen.append(states(path))  # another connection, while the request is on its way
        return "Yes."

    async def main(url: str) -> None:
        async with asking(path, endpoints(url)) as ask:
            await ask(chat())

    with serve(answer=answer) as server:
        asyncio.run(main(server.url))
    assert seen == [["sent"]] and states(path) == ["settled"]


def test_an_answer_is_on_disk_before_it_is_used(path: Path) -> None:
    async def main() -> None:
        ledger = Ledger(str(path))
        await ledger.begin(Attempt("a1", chat().key, "small", WORST))
        await ledger.settle("a1", "settled", Amount(90, 18, 1), (chat(), body("yes")))
        (found,) = entries(str(path))
        assert (found.key, found.request, found.response) == (chat().key, chat().canonical, body("yes"))
        assert spent_in(str(path)) == {"small": Amount(90, 18, 1)}
        ledger.close()

    asyncio.run(main())


def test_what_a_killed_process_had_sent_counts_with_its_worst_case(path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from tests.generate.asking import asking, chat, endpoints\n"
        "async def main():\n"
        "    async with asking(Path(sys.argv[1]), endpoints(sys.argv[2])) as ask:\n"
        "        await asyncio.gather(*(ask(chat(f'hangs {i}')) for i in range(3)))\n"
        "asyncio.run(main())"
    )

    async def answered(url: str) -> None:
        async with asking(path, endpoints(url)) as ask:
            await ask(chat("answered"))

    with serve(prices=PRICES) as server:
        asyncio.run(answered(server.url))
        server.faults = Faults(hang_before=1.0)
        process = subprocess.Popen([sys.executable, "-c", script, str(path), server.url], cwd=ROOT)
        deadline = time.monotonic() + 60
        while server.stats()["requests"] < 4:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert states(path) == ["sent", "sent", "sent", "settled"]
    asked = [chat(f"hangs {i}") for i in range(3)]
    worst = sum(PRICE.worst(each.prompt_tokens, each.most) for each in asked)
    (known,) = (row[1] for row in attempts(path).values() if row[0] == "settled")
    Ledger(str(path)).close()
    assert states(path) == ["lost", "lost", "lost", "settled"]
    assert spent_in(str(path))["small"].money == known + worst


def test_many_answers_at_once_share_a_commit(path: Path) -> None:
    commits: list[str] = []

    async def main() -> None:
        ledger = Ledger(str(path))
        ledger._write.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        requests = [chat(f"Q{i}") for i in range(1000)]
        ids = [f"a{i}" for i in range(1000)]
        await asyncio.gather(
            *(ledger.begin(Attempt(id, r.key, "small", WORST)) for id, r in zip(ids, requests, strict=True))
        )
        settles = (ledger.settle(id, "settled", WORST, (r, body("x"))) for id, r in zip(ids, requests, strict=True))
        await asyncio.gather(*settles)
        ledger.close()

    asyncio.run(main())
    assert len(list(entries(str(path)))) == 1000
    assert len(commits) < 200  # of 2,000 things that were written


def test_what_was_asked_for_is_written_although_nobody_waits_for_it(path: Path) -> None:
    async def main() -> None:
        ledger = Ledger(str(path))
        task = asyncio.create_task(ledger.begin(*(Attempt(f"a{i}", chat().key, "small", WORST) for i in range(100))))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        ledger.close()

    asyncio.run(main())
    assert states(path) == ["sent"] * 100


def test_the_first_answer_to_a_request_stays(path: Path) -> None:
    async def main() -> bytes | None:
        ledger = Ledger(str(path))
        for id, said in (("a1", "first"), ("a2", "second")):
            await ledger.begin(Attempt(id, chat().key, "small", WORST))
            await ledger.settle(id, "settled", WORST, (chat(), body(said)))
        found = ledger.find(chat().key)
        ledger.close()
        return found

    assert asyncio.run(main()) == body("first")
    assert spent_in(str(path)) == {"small": WORST.plus(WORST)}


def test_other_ledgers_are_read_where_this_one_has_no_answer(path: Path, tmp_path: Path) -> None:
    async def main() -> None:
        other = Ledger(str(tmp_path / "other.sqlite"))
        await other.begin(Attempt("a1", chat().key, "small", WORST))
        await other.settle("a1", "settled", WORST, (chat(), body("from the other")))
        await other.give_up(chat("refused").key, GaveUp("http-400", "it says no"))
        other.close()
        ledger = Ledger(str(path), [str(tmp_path / "other.sqlite")])
        assert ledger.find(chat().key) == body("from the other")
        assert ledger.find(chat("new").key) is None
        assert ledger.gave_up(chat("refused").key) == GaveUp("http-400", "it says no")
        assert ledger.gave_up(chat().key) is None
        ledger.close()

    asyncio.run(main())
    assert states(path) == []


def test_a_batch_stands_with_its_requests_until_it_is_ended(path: Path) -> None:
    async def main() -> None:
        ledger = Ledger(str(path))
        requests = {f"a{i}": chat(f"Q{i}") for i in range(3)}
        for id, request in requests.items():
            await ledger.begin(Attempt(id, request.key, "small", WORST))
        await ledger.begin_batch("file-1", {id: requests[id] for id in ("a0", "a1")})
        ledger.close()
        ledger = Ledger(str(path))
        assert states(path) == ["lost", "sent", "sent"]  # a2 is in no batch
        (batch,) = ledger.batches().values()
        assert [(attempt.id, attempt.worst, asked.key) for attempt, asked in batch] == [
            (id, WORST, requests[id].key) for id in ("a0", "a1")
        ]
        await ledger.settle("a0", "settled", Amount(1, 1, 1), (requests["a0"], body("x")))
        await ledger.end_batch("file-1")
        assert ledger.batches() == {}
        ledger.close()

    asyncio.run(main())
    assert {id: row[0] for id, row in attempts(path).items()} == {"a0": "settled", "a1": "stands", "a2": "lost"}


def test_a_file_that_is_no_ledger_is_refused_by_name(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.sqlite"
    wrong.write_bytes(b"no database at all" * 100)
    with pytest.raises(RunError, match=r"wrong\.sqlite: is no ledger"):
        Ledger(str(wrong))
    with pytest.raises(RunError, match=r"is no ledger"):
        spent_in(str(tmp_path / "missing.sqlite"))


def test_a_ledger_that_cannot_be_written_says_so(path: Path) -> None:
    async def main() -> None:
        ledger = Ledger(str(path))
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE attempts")
        with pytest.raises(RunError, match=r"part-00000\.sqlite: the ledger cannot be written \(no such table"):
            await ledger.begin(Attempt("a1", chat().key, "small", WORST))
        ledger.close()

    asyncio.run(main())


def test_no_other_file_is_left_when_a_ledger_is_closed(path: Path) -> None:
    Ledger(str(path)).close()
    assert os.listdir(path.parent) == [path.name]


@given(amounts, amounts)
def test_amounts_are_added_and_compared_dimension_by_dimension(a: Amount, b: Amount) -> None:
    assert a.plus(b).minus(b) == a and a.plus(b).covers(a)
    assert a.covers(b) == all(x >= y for x, y in zip(a, b, strict=True))
