"""Asking: every answer comes in the end, whatever goes wrong, and the ledger knows what the endpoint bills."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from curate.core.errors import RunError
from curate.generate.ask import GivenUp, Skipped
from curate.generate.budget import BudgetServer, Caps, serve_budget
from curate.generate.endpoints import Endpoints
from curate.generate.endpoints import Server as Where
from curate.generate.ledger import Ledger, entries
from curate.generate.prices import DOLLAR, Price
from curate.generate.request import Completion, Request
from tests.generate.asking import PRICE, PRICES, asking, attempts, chat, endpoints, free_port, prompt, saying, states
from tests.llm.faults import BILLED, KINDS, UNBILLED, Faults
from tests.llm.server import Server, serve

KEY, NAME = "sk-live-0123456789abcdef", "CURATE_TEST_KEY"
TIMED = ("hang_before", "hang_after", "stalled")
Outcomes = list[Completion | BaseException]


def ask(path: Path, endpoints: Endpoints, *requests: Request, replay: bool = False) -> Outcomes:
    async def main() -> Outcomes:
        async with asking(path, endpoints, replay=replay) as ask:
            return await asyncio.gather(*map(ask, requests), return_exceptions=True)

    return asyncio.run(main())


def answers(path: Path, endpoints: Endpoints, *requests: Request, replay: bool = False) -> list[Completion]:
    found = ask(path, endpoints, *requests, replay=replay)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if isinstance(each, Completion)]


def questions(count: int) -> list[Request]:
    return [chat(f"Question {i}") if i % 4 else prompt(f"Once {i}") for i in range(count)]


def the_ledger_knows_the_bill(server: Server, path: Path) -> None:
    kept = attempts(path)
    for each in server.bill():
        state, money, tokens, _ = kept[each.attempt or ""]
        assert state in ("settled", "stands")
        if state == "settled":
            assert (money, tokens) == (each.price, each.prompt_tokens + each.completion_tokens)
        else:
            assert money >= each.price and tokens >= each.prompt_tokens + each.completion_tokens
    billed = {each.attempt for each in server.bill()}
    assert billed >= {id for id, row in kept.items() if row[0] == "settled"}


@pytest.mark.parametrize("fault", KINDS)
def test_every_answer_comes_in_spite_of_a_fault_and_the_ledger_knows_the_bill(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "x.sqlite"
    with serve(prices=PRICES, faults=Faults.of({fault: 1.0, "most": 1})) as server:
        timeout = 0.5 if fault in TIMED else 30
        requests = questions(5)
        found = answers(path, endpoints(server.url, timeout=timeout), *requests)
        assert server.stats()["faults"] == {fault: 5}
        the_ledger_knows_the_bill(server, path)
        # What was billed without an answer stands with its worst case.
        lost = fault in BILLED and fault not in ("whitespace", "empty", "slow")
        assert states(path).count("stands") == (5 if lost or fault in ("reset_before", "hang_before", "html") else 0)
        assert len(server.bill()) == (10 if lost else 5)
        assert found == answers(path, endpoints(server.url), *requests)
        assert len(server.bill()) == (10 if lost else 5)
    assert set(UNBILLED) | set(BILLED) == set(KINDS)


@pytest.mark.parametrize("stream", [False, True])
def test_all_faults_together_change_no_answer(tmp_path: Path, stream: bool) -> None:
    requests = questions(60)
    with serve(prices=PRICES) as server:
        calm = answers(tmp_path / "calm.sqlite", endpoints(server.url), *requests)
    # Those that are answers themselves are left out: no text, and white space.
    faults = Faults.of({**dict.fromkeys(KINDS, 0.03), "empty": 0, "whitespace": 0, "rate_limit_date": 0, "most": 2})
    with serve(prices=PRICES, faults=faults) as server:
        path = tmp_path / "x.sqlite"
        found = answers(path, endpoints(server.url, timeout=1, stream=stream), *requests)
        assert len(server.stats()["faults"]) > 5
        the_ledger_knows_the_bill(server, path)
    assert found == calm


def test_a_refused_request_fails_for_good(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with serve(faults=Faults(refused="forbidden")) as server:
        (first,) = ask(path, endpoints(server.url), chat("a forbidden word"))
        assert isinstance(first, GivenUp) and first.why.error == "http-400" and "refused" in first.why.message
        asked = server.stats()["requests"]
        (again,) = ask(path, endpoints(server.url), chat("a forbidden word"), replay=True)
        assert isinstance(again, GivenUp) and again.why == first.why
        assert server.stats()["requests"] == asked == 1
    assert states(path) == ["free"]


def test_a_request_that_always_fails_has_failed_after_its_tries(tmp_path: Path) -> None:
    with serve(faults=Faults(server_error=1.0, most=99)) as server:
        (found,) = ask(tmp_path / "x.sqlite", endpoints(server.url, tries=2), chat())
        assert server.stats()["requests"] == 2
    assert isinstance(found, GivenUp) and found.why.error == "http-500"


def test_a_wrong_key_stops_the_run_and_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, KEY)
    asked: list[object] = []

    def refuse(headers: Mapping[str, str], body: object) -> tuple[int, Mapping[str, str], object]:
        asked.append(body)
        return 401, {}, {"error": {"message": f"Incorrect API key provided: {KEY}"}}

    with saying(refuse) as url:
        found = ask(tmp_path / "x.sqlite", endpoints(url, key=NAME, in_flight=2), *questions(20))
    assert all(isinstance(each, RunError) and f"refuses the key in {NAME}" in str(each) for each in found)
    assert len(asked) <= 2  # the others were not sent
    assert not any(KEY in str(each) for each in found)


def test_a_spent_quota_stops_the_run(tmp_path: Path) -> None:
    with serve(faults=Faults(no_quota=1.0)) as server:
        (found,) = ask(tmp_path / "x.sqlite", endpoints(server.url), chat())
    assert isinstance(found, RunError) and "has no quota left" in str(found)
    assert states(tmp_path / "x.sqlite") == ["free"]


def test_an_endpoint_that_is_down_stops_the_run_and_what_was_answered_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with serve() as server:
        (kept,) = answers(path, endpoints(server.url), chat("before"))
    down = endpoints(f"http://127.0.0.1:{free_port()}/v1", patience=0.5, tries=1)
    found = ask(path, down, chat("before"), *questions(30))
    assert found[0] == kept
    assert all(isinstance(each, RunError) and "endpoint large has not answered for" in str(each) for each in found[1:])
    assert set(states(path)) == {"free", "settled"}
    assert answers(path, down, chat("before"), replay=True) == [kept]


def test_a_stalled_answer_is_ended_by_the_deadline(tmp_path: Path) -> None:
    for stream in (False, True):
        with serve(faults=Faults(stalled=1.0, most=99, seconds=60)) as server:
            path = tmp_path / f"{stream}.sqlite"
            (found,) = ask(path, endpoints(server.url, timeout=0.3, tries=1, stream=stream), chat())
        assert isinstance(found, GivenUp) and found.why.error == "timeout"
        assert states(path) == ["stands"]


def test_a_runaway_answer_is_cut_and_stands_with_its_worst_case(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    request = chat(most=20_000)
    with serve(prices=PRICES, faults=Faults(whitespace=1.0)) as server:
        (found,) = answers(path, endpoints(server.url, stream=True), request)
    assert found.finish == "runaway" and len(found.text) < 2500
    ((state, money, _, _),) = attempts(path).values()
    assert (state, money) == ("stands", PRICE.worst(request.prompt_tokens, request.most))
    assert answers(path, endpoints(server.url), request, replay=True) == [found]


def test_where_one_server_is_down_the_other_answers(tmp_path: Path) -> None:
    with serve() as server:
        both = [Where(url=f"http://127.0.0.1:{free_port()}/v1"), Where(url=server.url)]
        requests = questions(40)
        found = answers(tmp_path / "x.sqlite", endpoints("", servers=both, patience=30), *requests)
        assert len(found) == 40 == len(server.bill())


def test_a_server_that_comes_back_is_used_again(tmp_path: Path) -> None:
    async def main(server: Server) -> list[Completion]:
        async with asking(tmp_path / "x.sqlite", endpoints(server.url)) as ask:
            tasks = [asyncio.create_task(ask(each)) for each in questions(30)]
            while server.stats()["faults"].get("unavailable", 0) < 8:
                await asyncio.sleep(0.01)
            server.faults = Faults()
            return await asyncio.gather(*tasks)

    with serve(faults=Faults(unavailable=1.0, most=99)) as server:
        assert len(asyncio.run(main(server))) == 30 == len(server.bill())


def test_servers_are_asked_by_their_weight(tmp_path: Path) -> None:
    with serve(latency=0.02) as light, serve(latency=0.02) as heavy:
        servers = [Where(url=light.url), Where(url=heavy.url, weight=3)]
        answers(tmp_path / "x.sqlite", endpoints("", servers=servers, in_flight=8), *questions(120))
        few, many = len(light.bill()), len(heavy.bill())
    assert few + many == 120 and 0 < few < many


def test_more_requests_than_a_server_takes_are_answered_all_the_same(tmp_path: Path) -> None:
    with serve(latency=0.02, limit=4) as server:
        assert len(answers(tmp_path / "x.sqlite", endpoints(server.url), *questions(60))) == 60
        assert server.stats()["peak"] <= 4 and len(server.bill()) == 60


def test_the_same_request_asked_twice_at_once_is_sent_once(tmp_path: Path) -> None:
    with serve(latency=0.05) as server:
        first, second = answers(tmp_path / "x.sqlite", endpoints(server.url), chat(), chat())
        assert first == second and server.stats()["requests"] == 1


def test_another_sample_is_another_request(tmp_path: Path) -> None:
    with serve() as server:
        answers(tmp_path / "x.sqlite", endpoints(server.url), chat(sample=0), chat(sample=1))
        assert server.stats()["requests"] == 2


def test_replay_asks_nobody_and_says_which_answer_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with serve() as server:
        kept = answers(path, endpoints(server.url), chat("kept"))
        found = ask(path, endpoints(server.url), chat("kept"), chat("missing question"), replay=True)
        assert server.stats()["requests"] == 1
    assert [found[0]] == kept
    assert isinstance(found[1], RunError)
    assert chat("missing question").key[:16] in str(found[1]) and "(missing question)" in str(found[1])
    assert "without --replay" in str(found[1])


def test_what_was_sent_is_on_record_although_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    sent = asyncio.Event()

    async def main(url: str, loop_said: asyncio.Event) -> None:
        async with asking(path, endpoints(url)) as ask:
            task = asyncio.create_task(ask(chat()))
            await loop_said.wait()
            task.cancel()

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def answer(body: object) -> str:
            loop.call_soon_threadsafe(sent.set)
            return "Yes."

        with serve(answer=answer, latency=0.1) as server:
            await main(server.url, sent)

    asyncio.run(run())
    assert states(path) == ["settled"] and len(list(entries(str(path)))) == 1


def test_a_row_that_the_budget_does_not_cover_is_skipped_and_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    requests = questions(20)
    budget = BudgetServer(Caps(usd=0.02), {})
    with serve(prices={"small": ("1.5", "60")}) as server, serve_budget(budget, "127.0.0.1") as address:
        expensive = endpoints(server.url, price=Price(1_500_000, 1_500_000, 60_000_000))

        async def main() -> Outcomes:
            async with asking(path, expensive, address=address) as ask:
                return await asyncio.gather(*map(ask, requests), return_exceptions=True)

        found = asyncio.run(main())
        billed = sum(each.price for each in server.bill())
    answered = sum(isinstance(each, Completion) for each in found)
    assert 0 < answered < 20 and sum(isinstance(each, Skipped) for each in found) == 20 - answered
    assert billed <= 0.02 * DOLLAR and budget.spent["small"].money == billed


def test_a_key_is_in_no_file_even_where_the_server_repeats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, KEY)

    def repeat(headers: Mapping[str, str], body: dict[str, object]) -> tuple[int, Mapping[str, str], object]:
        authorization = headers["authorization"]
        if "refuse" in str(body):
            return 400, {}, {"error": {"message": f"{authorization} may not ask this"}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        return 200, {}, {"choices": [{"message": {"content": f"You are {authorization}."}}], "usage": usage}

    path = tmp_path / "x.sqlite"
    with saying(repeat) as url:
        said, refused = ask(path, endpoints(url, key=NAME), chat("Hello"), chat("refuse me"))
    assert isinstance(said, Completion) and said.text == "You are Bearer ***."
    assert isinstance(refused, GivenUp) and "Bearer *** may not" in str(refused)
    Ledger(str(path)).close()
    (entry,) = entries(str(path))
    everything = [entry.request, entry.response, *(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())]
    assert not any(KEY.encode() in each for each in everything)
    assert orjson.loads(entry.response)["usage"]["prompt_tokens"] == 1
