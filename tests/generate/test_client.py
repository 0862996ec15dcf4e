"""What one sending comes to, in one word, over a real connection; and where a key may be seen."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Mapping
from typing import Any

import pytest

from curate.core.errors import RunError
from curate.generate.client import Client
from curate.generate.endpoints import Endpoint, Server
from curate.generate.outcome import Outcome
from tests.generate.asking import chat, free_port, saying
from tests.llm.faults import Faults
from tests.llm.server import serve

KEY = "sk-live-0123456789abcdef"
NAME = "CURATE_TEST_KEY"


def send(url: str, key: str | None = None, **options: Any) -> Outcome:
    async def main() -> Outcome:
        client = Client(Server(url=url, key=key), Endpoint(model="small", url=url, **options))
        try:
            return await client.send(chat(), "a1")
        finally:
            await client.close()

    return asyncio.run(main())


def said(status: int, body: object, headers: Mapping[str, str] | None = None, key: str | None = None) -> Outcome:
    with saying(lambda heads, asked: (status, headers or {}, body)) as url:
        return send(url, key)


def error(message: str, code: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": "some", "code": code}}


@pytest.mark.parametrize(
    ("status", "what"),
    [
        (400, "refused"), (413, "refused"), (422, "refused"), (401, "stop"), (402, "stop"), (403, "stop"), (404, "stop"),
        (429, "limited"), (408, "failed"), (409, "failed"), (500, "failed"), (503, "failed"), (529, "failed"),
    ],
)  # fmt: skip
def test_a_status_says_whether_to_try_again_and_costs_nothing(status: int, what: str) -> None:
    outcome = said(status, error("it says why"))
    assert (outcome.what, outcome.error, outcome.billed) == (what, f"http-{status}", False)
    assert f"{status}: it says why" in outcome.message


def test_a_spent_quota_stops_everything() -> None:
    outcome = said(429, error("you exceeded your current quota", "insufficient_quota"))
    assert (outcome.what, outcome.error, outcome.billed) == ("stop", "quota", False)


@pytest.mark.parametrize("body", [{}, [], "oh", {"error": "plain"}, {"message": "bare"}, {"error": None}])
def test_an_error_of_any_shape_is_reported(body: object) -> None:
    outcome = said(500, body)
    assert outcome.what == "failed" and outcome.message.startswith("500")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After-Ms": "1500", "Retry-After": "7"}, 1.5),
        ({"Retry-After": "soon"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({}, 0.0),
    ],
)
def test_retry_after_is_read_in_seconds_and_milliseconds(headers: dict[str, str], seconds: float) -> None:
    assert said(429, error("slow down"), headers).retry_after == seconds


def test_retry_after_is_read_as_a_date() -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 90 < said(429, error("slow down"), {"Retry-After": date}).retry_after <= 100


def test_where_nobody_listens_nothing_is_billed() -> None:
    outcome = send(f"http://127.0.0.1:{free_port()}/v1")
    assert (outcome.what, outcome.error, outcome.billed) == ("failed", "connection", False)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("reset_before", "connection"), ("reset_after", "connection"), ("truncated", "connection"),
        ("hang_before", "timeout"), ("hang_after", "timeout"), ("stalled", "timeout"),
    ],
)  # fmt: skip
def test_what_was_lost_on_the_way_may_have_been_billed(fault: str, error: str, stream: bool) -> None:
    with serve(faults=Faults.of({fault: 1.0})) as server:
        outcome = send(server.url, timeout=0.4 if error == "timeout" else 10, stream=stream)
    assert (outcome.what, outcome.error, outcome.billed) == ("failed", error, True)


def test_the_attempt_goes_with_the_request() -> None:
    with serve() as server:
        assert send(server.url).what == "answer"
        assert [each.attempt for each in server.bill()] == ["a1"]


def test_the_key_is_sent_and_nothing_else_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, f" {KEY}\n")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody-else")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-somebody-else")
    seen: list[str] = []

    def answer(headers: Mapping[str, str], body: object) -> tuple[int, Mapping[str, str], object]:
        seen.append(str(headers))
        return 500, {}, {}

    with saying(answer) as url:
        send(url, NAME)
        send(url, None)
    assert f"Bearer {KEY}" in seen[0] and KEY not in seen[1]
    assert "somebody-else" not in "".join(seen)


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_key_that_the_server_repeats_is_in_no_message(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setenv(NAME, KEY)
    # The second one stands where a long message is cut.
    outcome = said(status, error(f"bad key {KEY} {'x' * 256} {KEY}"), key=NAME)
    assert "***" in outcome.message and KEY[:8] not in outcome.message and len(outcome.message) < 400


def test_a_key_that_the_server_repeats_is_in_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, KEY)
    outcome = said(200, {"choices": [{"message": {"content": f"Your key is {KEY}."}}]}, key=NAME)
    assert outcome.what == "answer" and KEY.encode() not in outcome.body and b"***" in outcome.body


def test_a_refused_key_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, KEY)
    assert f"refuses the key in {NAME}" in said(401, error("no"), key=NAME).message


def test_a_worker_without_the_key_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "  ")
    with pytest.raises(RunError, match=NAME):
        send("http://127.0.0.1:1/v1", NAME)
