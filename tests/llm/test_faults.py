"""What goes wrong at the loopback server, as the `openai` client sees it, and what of it is billed."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import openai
import pytest

from tests.llm.asking import ASKED, PRICES, TWELVE, ask, client, serving
from tests.llm.faults import BILLED, KINDS, UNBILLED, Faults
from tests.llm.server import Server, serve

WORKED = ("reset_after", "hang_after", "truncated", "cut_json", "stalled")
REFUSED = {
    "rate_limit": openai.RateLimitError,
    "rate_limit_date": openai.RateLimitError,
    "no_quota": openai.RateLimitError,
    "server_error": openai.InternalServerError,
    "unavailable": openai.InternalServerError,
    "bad_gateway": openai.InternalServerError,
    "request_timeout": openai.APIStatusError,
    "conflict": openai.ConflictError,
    "reset_before": openai.APIConnectionError,
    "reset_after": openai.APIConnectionError,
    "truncated": openai.APIConnectionError,
    "hang_before": openai.APITimeoutError,
    "hang_after": openai.APITimeoutError,
    "stalled": openai.APITimeoutError,
    "cut_json": json.JSONDecodeError,
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_fault_reaches_the_client_and_is_billed_only_for_work(fault: str) -> None:
    timeout = 0.3 if REFUSED[fault] is openai.APITimeoutError else 10.0
    with serve(faults=Faults.of({fault: 1.0})) as server, client(server, timeout) as asks:
        with pytest.raises(REFUSED[fault]) as raised:
            ask(asks)
        assert type(raised.value) is REFUSED[fault]
        assert len(server.bill()) == (fault in WORKED)
        assert server.stats()["faults"] == {fault: 1}


def test_every_fault_is_either_billed_or_not() -> None:
    assert sorted(KINDS) == sorted({*UNBILLED, *BILLED})


def test_the_bill_counts_a_reset_after_the_work() -> None:
    with serving(faults=Faults(reset_after=1.0, most=1), prices=PRICES) as (server, asks):
        with pytest.raises(openai.APIConnectionError):
            ask(asks)
        ask(asks)
        first, second = server.bill()
    assert first == second and first.price > 0


def test_the_bill_does_not_count_a_reset_before_the_work() -> None:
    with serving(faults=Faults(reset_before=1.0, most=1), prices=PRICES) as (server, asks):
        with pytest.raises(openai.APIConnectionError):
            ask(asks)
        ask(asks)
        assert len(server.bill()) == 1


def test_a_429_says_when_to_come_back() -> None:
    with serving(faults=Faults(rate_limit=1.0)) as (_, asks), pytest.raises(openai.RateLimitError) as raised:
        ask(asks)
    assert raised.value.response.headers["Retry-After"] == "0.05"
    assert raised.value.code == "rate_limit_exceeded"


def test_a_429_can_say_it_as_a_date() -> None:
    with serving(faults=Faults(rate_limit_date=1.0)) as (_, asks), pytest.raises(openai.RateLimitError) as raised:
        ask(asks)
    assert raised.value.response.headers["Retry-After"].endswith(" GMT")


def test_a_spent_quota_stays_spent() -> None:
    with serving(faults=Faults(no_quota=1.0, most=1)) as (_, asks):
        for _ in range(3):
            with pytest.raises(openai.RateLimitError) as raised:
                ask(asks)
            assert raised.value.code == "insufficient_quota"


def test_a_marked_body_is_refused_each_time() -> None:
    with serving(faults=Faults(refused="forbidden")) as (server, asks):
        for _ in range(5):
            with pytest.raises(openai.BadRequestError, match="refused"):
                ask(asks, "a forbidden word")
        ask(asks, "a word")
        assert len(server.bill()) == 1


def test_a_page_of_html_comes_with_status_200() -> None:
    with serving(faults=Faults(html=1.0)) as (server, asks):
        response = asks.chat.completions.with_raw_response.create(model="small", messages=ASKED)
        assert response.status_code == 200 and response.text.startswith("<html>")
        assert not server.bill()


def test_a_whitespace_loop_runs_to_the_limit_and_is_billed() -> None:
    with serving(faults=Faults(whitespace=1.0)) as (server, asks):
        assert ask(asks) == " " * 40_000
        cut = asks.chat.completions.create(model="small", messages=ASKED, max_tokens=500)
        assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == (" " * 500, "length")
        assert [entry.completion_tokens for entry in server.bill()] == [40_000, 500]


def test_an_empty_answer_costs_its_prompt() -> None:
    with serving(faults=Faults(empty=1.0), prices=PRICES) as (server, asks):
        assert ask(asks) == ""
        assert server.bill()[0].completion_tokens == 0 and server.bill()[0].price > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_answer_is_whole(stream: bool) -> None:
    with serving(answer=lambda body: TWELVE, faults=Faults(slow=1.0, pause=0.01)) as (_, asks):
        if stream:
            chunks = asks.chat.completions.create(model="small", messages=ASKED, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TWELVE
        else:
            assert ask(asks) == TWELVE


@pytest.mark.parametrize("fault", ["truncated", "cut_json", "stalled"])
def test_a_stream_can_end_before_its_end(fault: str) -> None:
    """It breaks, it ends as if it were whole, or nothing comes any more; in no case with a reason to finish."""
    finished = []
    with serve(answer=lambda body: TWELVE, faults=Faults.of({fault: 1.0})) as server:
        with client(server, timeout=0.3 if fault == "stalled" else 10.0) as asks:
            chunks = asks.chat.completions.create(model="small", messages=ASKED, stream=True)
            with suppress(openai.APIConnectionError):
                finished = [chunk.choices[0].finish_reason for chunk in chunks]
        assert not any(finished)
        assert len(server.bill()) == 1


def test_every_request_succeeds_in_the_end_and_a_run_can_be_repeated() -> None:
    def tries(text: str, asks: openai.OpenAI) -> list[str]:
        failures: list[str] = []
        while True:
            try:
                chat = asks.chat.completions.create(model="small", messages=[{"role": "user", "content": text}])
                if not isinstance(chat, str) and (chat.choices[0].message.content or "").strip():
                    return failures
                failures.append("nothing")
            except Exception as error:
                failures.append(type(error).__name__)

    faults = Faults.all(1 / 18, pause=0.0, seconds=0.02)
    runs = []
    for order in (range(12), range(11, -1, -1)):
        with serving(faults=faults) as (server, asks):
            failures = {i: tries(f"Question {i}", asks) for i in order}
            runs.append((sorted(failures.items()), server.stats()["faults"]))
            assert sorted(map(len, failures.values()))[-1] <= faults.most
    assert runs[0] == runs[1]
    assert len(runs[0][1]) > 8


def test_a_fault_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault is called 'hangs'"):
        Faults.of({"hangs": 1.0})
    with pytest.raises(ValueError, match="probabilities"):
        Faults(html=0.6, slow=0.6)


def test_more_requests_in_flight_than_the_limit_get_429_until_one_leaves() -> None:
    async def check(server: Server) -> None:
        async with openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as asks:
            hanging = [asyncio.create_task(asks.completions.create(model="small", prompt=f"{i}")) for i in range(4)]
            while server.stats()["peak"] < 4:
                await asyncio.sleep(0.01)
            with pytest.raises(openai.RateLimitError):
                await asks.completions.create(model="small", prompt="one more")
            server.faults = Faults()
            hanging[0].cancel()
            while True:  # until the server knows
                with suppress(openai.RateLimitError):
                    await asks.completions.create(model="small", prompt="one more")
                    break
            for each in hanging[1:]:
                each.cancel()

    with serve(faults=Faults(hang_before=1.0), limit=4) as server:
        asyncio.run(asyncio.wait_for(check(server), 20))
        assert server.stats()["peak"] == 4 and server.stats()["billed"] == 1


@pytest.mark.parametrize("fault", ["reset_before", "reset_after", "truncated"])
def test_a_broken_connection_reaches_the_aiohttp_client(fault: str) -> None:
    """As a timeout where it was reset: its transport makes a ConnectTimeout of every lost connection."""

    async def check(url: str) -> None:
        http = openai.DefaultAioHttpClient()
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=http) as asks:
            with pytest.raises(openai.APIConnectionError):
                await asks.completions.create(model="small", prompt="Who?")

    with serve(faults=Faults.of({fault: 1.0})) as server:
        asyncio.run(check(server.url))
        assert len(server.bill()) == (fault in WORKED)
