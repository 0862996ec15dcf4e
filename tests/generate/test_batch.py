"""The Batch API: the same answers, each paid once, whatever becomes of a batch or of the process that sent it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from curate.core.errors import RunError
from curate.generate.ask import GivenUp
from curate.generate.budget import BudgetServer, Caps, serve_budget
from curate.generate.ledger import Amount, Attempt, Ledger, spent_in
from curate.generate.request import Completion, Request
from tests.generate.asking import PRICES, asking, attempts, chat, endpoints, free_port, prompt, saying, states
from tests.helpers import ROOT
from tests.llm.asking import client
from tests.llm.faults import Faults
from tests.llm.server import Server, serve


async def ask_all(path: Path, url: str, requests: list[Request], **options: object) -> list[Completion]:
    async with asking(path, endpoints(url, batch=True, **options)) as ask:
        return await asyncio.gather(*map(ask, requests))


def waiting(path: Path) -> int:
    """Attempts of batches of which the ledger awaits the result."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM batches").fetchone()[0])


def the_bill_is_the_ledger(server: Server, path: Path) -> None:
    kept = attempts(path)
    assert sorted(each.attempt or "" for each in server.bill()) == sorted(
        id for id, row in kept.items() if row[0] == "settled"
    )
    for each in server.bill():
        assert kept[each.attempt or ""] == ("settled", each.price, each.prompt_tokens + each.completion_tokens, 1)


def test_a_batch_gives_the_answers_that_single_requests_give(tmp_path: Path) -> None:
    requests = [chat(f"Question {i}") for i in range(40)] + [prompt(f"Once {i}") for i in range(5)]

    async def singly(url: str) -> list[Completion]:
        async with asking(tmp_path / "b" / "one.sqlite", endpoints(url)) as ask:
            return await asyncio.gather(*map(ask, requests))

    with serve(prices=PRICES, faults=Faults(polls=2)) as server:
        path = tmp_path / "a" / "many.sqlite"
        batched = asyncio.run(ask_all(path, server.url, requests))
        the_bill_is_the_ledger(server, path)
        assert {each.batch for each in server.bill()} == {"batch_000001", "batch_000002"}  # chats, and bare prompts
        assert batched == asyncio.run(singly(server.url))
    assert waiting(path) == 0


def test_as_many_rows_as_a_batch_may_have_are_sent_at_once(tmp_path: Path) -> None:
    with serve(prices=PRICES) as server:
        asyncio.run(ask_all(tmp_path / "x.sqlite", server.url, [chat(f"Q{i}") for i in range(10)], batch_rows=4))
        sizes = [each.batch for each in server.bill()]
    assert sorted(sizes.count(name) for name in set(sizes)) == [2, 4, 4]


@pytest.mark.parametrize("fault", ["line_failed", "line_expired"])
def test_only_the_lines_that_a_batch_did_not_do_are_sent_again(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "x.sqlite"
    with serve(prices=PRICES, faults=Faults.of({fault: 0.5, "most": 1})) as server:
        completions = asyncio.run(ask_all(path, server.url, [chat(f"Q{i}") for i in range(20)]))
        missed = server.stats()["faults"][fault]
        assert 0 < missed < 20 and all(each.text for each in completions)
        assert len(server.bill()) == 20
        the_bill_is_the_ledger(server, path)
    assert states(path) == ["free"] * missed + ["settled"] * 20


def test_a_line_that_is_refused_fails_and_the_others_are_answered(tmp_path: Path) -> None:
    async def ask_three(url: str) -> list[Completion | BaseException]:
        async with asking(tmp_path / "x.sqlite", endpoints(url, batch=True)) as ask:
            texts = ("a word", "a forbidden word", "words")
            return await asyncio.gather(*(ask(chat(text)) for text in texts), return_exceptions=True)

    with serve(prices=PRICES, faults=Faults(refused="forbidden")) as server:
        first, second, third = asyncio.run(ask_three(server.url))
    assert isinstance(first, Completion) and isinstance(third, Completion)
    assert isinstance(second, GivenUp) and second.why.error == "http-400"


def test_a_batch_costs_its_part_of_the_price(tmp_path: Path) -> None:
    with serve(prices=PRICES) as server:
        asyncio.run(ask_all(tmp_path / "x.sqlite", server.url, [chat("Q")], discount=0.5))
        (billed,) = server.bill()
    ((_, money, _, _),) = attempts(tmp_path / "x.sqlite").values()
    assert 2 * money == billed.price


def test_a_batch_stays_within_the_budget(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    requests = [chat(f"Q{i}") for i in range(12)]
    with serve(prices=PRICES) as server, serve_budget(BudgetServer(Caps(requests=5), {}), "127.0.0.1") as address:

        async def main() -> list[Completion | BaseException]:
            async with asking(path, endpoints(server.url, batch=True), address=address) as ask:
                return await asyncio.gather(*map(ask, requests), return_exceptions=True)

        found = asyncio.run(main())
        assert len(server.bill()) == 5 == sum(isinstance(each, Completion) for each in found)


def test_what_a_killed_process_had_in_a_batch_is_fetched_and_not_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    script = (
        "import asyncio, sys; from pathlib import Path; from tests.generate.asking import chat;"
        "from tests.generate.test_batch import ask_all;"
        "asyncio.run(ask_all(Path(sys.argv[1]), sys.argv[2], [chat(f'Q{i}') for i in range(30)]))"
    )
    with serve(prices=PRICES, faults=Faults(polls=4)) as server, client(server) as asks:
        process = subprocess.Popen([sys.executable, "-c", script, str(path), server.url], cwd=ROOT)
        deadline = time.monotonic() + 60
        while not asks.batches.list().data:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert waiting(path) == 30
        worst = spent_in(str(path))["small"]
        server.faults = Faults()
        asyncio.run(ask_all(path, server.url, [chat(f"Q{i}") for i in range(31)]))
        assert len(server.bill()) == 31
        assert len(asks.batches.list().data) == 2
        the_bill_is_the_ledger(server, path)
    assert waiting(path) == 0
    assert spent_in(str(path))["small"].money < worst.money


def recorded(path: Path, request: Request, file: str) -> None:
    """A ledger as a process leaves it that is killed after it has sent a file."""

    async def main() -> None:
        ledger = Ledger(str(path))
        await ledger.begin(Attempt("a1", request.key, "small", Amount(10**9, 500, 1)))
        await ledger.begin_batch(file, {"a1": request})
        ledger.close()

    asyncio.run(main())


def upload(server: Server, *requests: Request, ids: tuple[str, ...] = ("a1",)) -> str:
    lines = [
        {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": {"model": "small", **request.body}}
        for id, request in zip(ids, requests, strict=True)
    ]
    with client(server) as asks:
        return asks.files.create(file=("x.jsonl", b"\n".join(map(orjson.dumps, lines))), purpose="batch").id


def test_a_file_of_which_no_batch_was_made_costs_nothing(tmp_path: Path) -> None:
    with serve(prices=PRICES) as server:
        recorded(tmp_path / "x.sqlite", chat("Q"), upload(server, chat("Q")))
        asyncio.run(ask_all(tmp_path / "x.sqlite", server.url, [chat("Q")]))
        assert len(server.bill()) == 1
    assert states(tmp_path / "x.sqlite") == ["free", "settled"]


def test_a_batch_that_the_endpoint_found_wrong_costs_nothing(tmp_path: Path) -> None:
    with serve(prices=PRICES) as server, client(server) as asks:
        file = upload(server, chat("Q"), chat("Q"), ids=("a1", "a1"))
        assert asks.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h").errors
        recorded(tmp_path / "x.sqlite", chat("Q"), file)
        asyncio.run(ask_all(tmp_path / "x.sqlite", server.url, [chat("Q")]))
        assert len(server.bill()) == 1
    assert states(tmp_path / "x.sqlite") == ["free", "settled"]


def test_a_batch_that_was_cancelled_gives_what_it_did(tmp_path: Path) -> None:
    with serve(prices=PRICES, faults=Faults(polls=2)) as server, client(server) as asks:
        requests = [chat("Q0"), chat("Q1")]
        file = upload(server, *requests, ids=("a1", "a2"))
        batch = asks.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")
        asks.batches.retrieve(batch.id)
        asks.batches.cancel(batch.id)
        recorded(tmp_path / "x.sqlite", requests[0], file)
        asyncio.run(ask_all(tmp_path / "x.sqlite", server.url, requests))
        assert {each.attempt for each in server.bill()} >= {"a1"} and len(server.bill()) == 2


def test_a_batch_of_another_account_stops_the_run_and_stays_on_record(tmp_path: Path) -> None:
    recorded(tmp_path / "x.sqlite", chat("Q"), "file-of-another")
    with serve(prices=PRICES) as server:
        with pytest.raises(RunError, match=r"endpoint large knows no such .*x\.sqlite awaits answers .*batch: false"):
            asyncio.run(ask_all(tmp_path / "x.sqlite", server.url, [chat("Q")]))
        assert not server.bill() and waiting(tmp_path / "x.sqlite") == 1
        asyncio.run(one(tmp_path / "x.sqlite", server.url))
        assert len(server.bill()) == 1


async def one(path: Path, url: str) -> None:
    async with asking(path, endpoints(url)) as ask:
        await ask(chat("Q"))


def test_what_was_fetched_after_a_kill_gives_the_budget_its_rest_back(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with serve(prices=PRICES) as server, client(server) as asks:
        file = upload(server, chat("Q"))
        asks.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")
        recorded(path, chat("Q"), file)
        budget = BudgetServer(Caps(tokens=700), spent_in(str(path)))  # 500 of them are reserved
        with serve_budget(budget, "127.0.0.1") as address:

            async def main() -> None:
                async with asking(path, endpoints(server.url, batch=True), address=address) as ask:
                    await ask(chat("Another question"))

            asyncio.run(main())
        assert len(server.bill()) == 2
        assert budget.spent["small"] == spent_in(str(path))["small"]


def test_a_run_that_ends_early_leaves_its_batch_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with serve(prices=PRICES, faults=Faults(polls=3)) as server, client(server) as asks:

        async def interrupted() -> list[Completion | BaseException]:
            async with asking(path, endpoints(server.url, batch=True)) as ask:
                waits = [asyncio.ensure_future(ask(chat(f"Q{i}"))) for i in range(3)]
                while not asks.batches.list().data:
                    await asyncio.sleep(0.01)
                waits.append(asyncio.ensure_future(ask(chat("too late"))))
                await asyncio.sleep(0)
            return await asyncio.gather(*waits, return_exceptions=True)

        assert all(isinstance(each, RunError) for each in asyncio.run(interrupted()))
        assert waiting(path) == 3
        asyncio.run(ask_all(path, server.url, [chat(f"Q{i}") for i in range(3)]))
        assert len(server.bill()) == 3
        the_bill_is_the_ledger(server, path)


def test_a_run_that_ends_as_its_batch_goes_out_waits_for_nobody(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"

    async def interrupted(url: str) -> Completion | BaseException:
        async with asking(path, endpoints(url, batch=True, batch_rows=1)) as ask:
            task = asyncio.ensure_future(ask(chat("Q")))
            while not (path.exists() and states(path)):
                await asyncio.sleep(0)
        (found,) = await asyncio.gather(task, return_exceptions=True)
        return found

    with serve(prices=PRICES) as server:
        assert isinstance(asyncio.run(asyncio.wait_for(interrupted(server.url), 20)), RunError)
        asyncio.run(ask_all(path, server.url, [chat("Q")]))
        assert len(server.bill()) == 1


async def relay(url: str, lost: list[bytes]) -> asyncio.Server:
    """A way to the server on which the first answer to `POST /v1/batches` is lost, connection and all."""
    port = int(url.split(":")[2].split("/")[0])

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        losing = False

        async def back() -> None:
            while data := await far_reader.read(65536):
                if losing:
                    lost.append(data)
                    writer.transport.abort()
                    return
                writer.write(data)

        task = asyncio.create_task(back())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                losing = losing or (not lost and data.startswith(b"POST /v1/batches "))
                far_writer.write(data)
        task.cancel()
        far_writer.close()
        writer.close()

    return await asyncio.start_server(serve_one, "127.0.0.1", 0)


def test_a_batch_of_which_the_endpoint_said_nothing_is_not_made_twice(tmp_path: Path) -> None:
    lost: list[bytes] = []

    async def main(url: str) -> list[Completion]:
        async with await relay(url, lost) as way:
            near = f"http://127.0.0.1:{way.sockets[0].getsockname()[1]}/v1"
            return await ask_all(tmp_path / "x.sqlite", near, [chat("Q0"), chat("Q1")])

    with serve(prices=PRICES) as server, client(server) as asks:
        assert len(asyncio.run(main(server.url))) == 2
        assert lost and len(asks.batches.list().data) == 1 and len(server.bill()) == 2
        the_bill_is_the_ledger(server, tmp_path / "x.sqlite")


def test_an_endpoint_that_is_down_stops_the_run(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(RunError, match="endpoint large has not answered for"):
        asyncio.run(ask_all(tmp_path / "x.sqlite", url, [chat("Q")], patience=0.3))
    assert states(tmp_path / "x.sqlite") == ["free"]


def test_an_endpoint_without_batches_stops_the_run(tmp_path: Path) -> None:
    said = r"endpoint large knows no such model or address \(404"
    not_found = {"error": {"message": "Not Found"}}
    with saying(lambda headers, body: (404, {}, not_found)) as url, pytest.raises(RunError, match=said):
        asyncio.run(ask_all(tmp_path / "x.sqlite", url, [chat("Q")]))
    assert states(tmp_path / "x.sqlite") == ["free"]
