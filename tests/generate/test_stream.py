"""A streamed answer is the whole answer, and one that runs away is cut."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.generate.client import Client
from curate.generate.endpoints import Endpoint, Server
from curate.generate.outcome import Outcome
from curate.generate.request import RUNAWAY, Completion, Request, read_completion
from curate.generate.stream import runs_away
from tests.generate.asking import chat, prompt
from tests.llm.faults import Faults
from tests.llm.server import serve


def send(url: str, request: Request, **options: Any) -> Outcome:
    async def main() -> Outcome:
        client = Client(Server(url=url), Endpoint(model="small", url=url, **options))
        try:
            return await client.send(request, "a1")
        finally:
            await client.close()

    return asyncio.run(main())


def read(url: str, request: Request, **options: Any) -> Completion:
    outcome = send(url, request, **options)
    assert outcome.what == "answer", outcome
    return read_completion(request.kind, outcome.body)


@pytest.mark.parametrize(
    "request_",
    [
        chat("Où est-ce ?"),
        chat("Twelve words", most=3),
        chat("With logprobs", logprobs=True, top_logprobs=2),
        prompt("Once upon"),
        prompt("With logprobs", logprobs=2),
    ],
)
@pytest.mark.parametrize("faults", [Faults(), Faults(slow=1.0), Faults(empty=1.0)])
def test_a_streamed_answer_is_the_one_that_comes_in_one_piece(request_: Request, faults: Faults) -> None:
    with serve(faults=faults) as server:
        assert read(server.url, request_, stream=True) == read(server.url, request_)


@pytest.mark.parametrize("request_", [chat(most=20_000), prompt("Once", most=20_000)])
def test_a_loop_of_white_space_is_cut_early(request_: Request) -> None:
    with serve(faults=Faults(whitespace=1.0)) as server:
        outcome = send(server.url, request_, stream=True)
    completion = read_completion(request_.kind, outcome.body)
    assert outcome.cut and completion.finish == RUNAWAY
    assert 1000 < len(completion.text) < 2500


def test_a_stream_that_ends_in_the_middle_is_no_answer() -> None:
    with serve(faults=Faults(cut_json=1.0)) as server:
        outcome = send(server.url, chat(), stream=True)
    assert (outcome.what, outcome.billed) == ("failed", True)


def test_a_long_answer_that_says_something_is_not_cut() -> None:
    text = " ".join(f"Sentence number {i} says something else." for i in range(500))
    with serve(answer=lambda body: text) as server:
        outcome = send(server.url, replace(chat(most=20_000)), stream=True)
    assert not outcome.cut and read_completion("chat", outcome.body).text == text


@given(st.text(min_size=1, max_size=300), st.integers(0, 299))
@example("x" * 100 + "y", 60)  # it ends in what repeats within the piece
def test_whatever_repeats_for_a_thousand_characters_runs_away(piece: str, start: int) -> None:
    whole = piece * (2000 // len(piece) + 1)
    assert runs_away(whole[start : start + 1500])


@settings(max_examples=20)
@given(st.lists(st.integers(0, 10**6), min_size=400, max_size=400, unique=True))
def test_what_does_not_repeat_does_not_run_away(numbers: list[int]) -> None:
    assert not runs_away(" ".join(map(str, numbers)))
