"""The loopback server, as the `openai` client sees it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import urllib.request
from typing import Any

import openai
import orjson
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import ROOT
from tests.llm.answers import Body, digest, pieces, prompt_tokens
from tests.llm.asking import ASKED, PRICES, TWELVE, ask, serving


def test_the_same_request_always_gets_the_same_answer() -> None:
    answers = []
    for _ in range(2):
        with serving() as (_, asks):
            answers += [ask(asks, "Who?", seed=1), ask(asks, "Who?", seed=1)]
            assert ask(asks, "Who?", seed=2) != answers[0]
    assert len(set(answers)) == 1
    assert answers[0].startswith("The ") and answers[0].endswith(".")


def test_a_stream_says_the_same_as_one_body_and_counts_the_same() -> None:
    with serving() as (_, asks):
        whole = asks.chat.completions.create(model="small", messages=ASKED)
        chunks = list(
            asks.chat.completions.create(
                model="small", messages=ASKED, stream=True, stream_options={"include_usage": True}
            )
        )
    said = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in said) == whole.choices[0].message.content
    assert [choice.finish_reason for choice in said if choice.finish_reason] == ["stop"]
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert {chunk.id for chunk in chunks} == {whole.id}


def test_a_stream_without_the_option_tells_no_usage() -> None:
    with serving() as (_, asks):
        assert all(
            chunk.usage is None for chunk in asks.chat.completions.create(model="small", messages=ASKED, stream=True)
        )


def test_completions_are_answered_whole_and_as_a_stream() -> None:
    with serving(answer=lambda body: body["prompt"].upper()) as (_, asks):
        whole = asks.completions.create(model="small", prompt="a river", max_tokens=9)
        chunks = list(asks.completions.create(model="small", prompt="a river", max_tokens=9, stream=True))
    assert whole.choices[0].text == "A RIVER" == "".join(chunk.choices[0].text for chunk in chunks)
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.total_tokens) == (2, 2, 4)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_longer_answer_is_cut_at_the_limit_and_says_so(name: str) -> None:
    with serving(answer=lambda body: TWELVE) as (server, asks):
        cut = asks.chat.completions.create(model="small", messages=ASKED, extra_body={name: 5})
        whole = asks.chat.completions.create(model="small", messages=ASKED, extra_body={name: 12})
        assert [entry.completion_tokens for entry in server.bill()] == [5, 12]
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("one two three four five", "length")
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (TWELVE, "stop")


@pytest.mark.parametrize("stop", ["five", ["nine", "five"]])
def test_an_answer_ends_before_the_first_stop(stop: Any) -> None:
    with serving(answer=lambda body: TWELVE) as (_, asks):
        assert ask(asks, stop=stop) == "one two three four "


def test_chat_logprobs_are_given_when_asked_for() -> None:
    with serving(answer=lambda body: "Yes, sir.") as (_, asks):
        chat = asks.chat.completions.create(model="small", messages=ASKED, logprobs=True, top_logprobs=3)
        bare = asks.chat.completions.create(model="small", messages=ASKED, logprobs=True)
        none = asks.chat.completions.create(model="small", messages=ASKED)
        with pytest.raises(openai.BadRequestError, match="top_logprobs"):
            asks.chat.completions.create(model="small", messages=ASKED, top_logprobs=3)
    assert chat.choices[0].logprobs is not None and chat.choices[0].logprobs.content is not None
    assert [each.token for each in chat.choices[0].logprobs.content] == ["Yes", ",", " sir", "."]
    for each in chat.choices[0].logprobs.content:
        assert bytes(each.bytes or []).decode() == each.token
        assert each.top_logprobs[0].token == each.token
        tops = [top.logprob for top in each.top_logprobs]
        assert len({top.token for top in each.top_logprobs}) == 3 and sorted(tops, reverse=True) == tops
        assert tops[0] == each.logprob <= 0
    assert bare.choices[0].logprobs is not None and bare.choices[0].logprobs.content is not None
    assert all(each.top_logprobs == [] for each in bare.choices[0].logprobs.content)
    assert none.choices[0].logprobs is None


def test_completions_logprobs_are_given_in_their_own_shape() -> None:
    with serving(answer=lambda body: "Yes, sir.") as (_, asks):
        logprobs = asks.completions.create(model="small", prompt="Who?", logprobs=2).choices[0].logprobs
    assert logprobs is not None and logprobs.top_logprobs is not None
    assert logprobs.tokens == ["Yes", ",", " sir", "."]
    assert logprobs.text_offset == [0, 3, 4, 8]
    assert [len(each) for each in logprobs.top_logprobs] == [2, 2, 2, 2]
    assert logprobs.token_logprobs == [max(each.values()) for each in logprobs.top_logprobs]


def test_streamed_logprobs_are_those_of_the_whole_answer() -> None:
    with serving() as (_, asks):
        whole = asks.chat.completions.create(model="small", messages=ASKED, logprobs=True, top_logprobs=2)
        chunks = asks.chat.completions.create(model="small", messages=ASKED, logprobs=True, top_logprobs=2, stream=True)
        streamed = [
            each
            for chunk in chunks
            if (logprobs := chunk.choices[0].logprobs) is not None
            for each in logprobs.content or []
        ]
    assert whole.choices[0].logprobs is not None
    assert streamed == whole.choices[0].logprobs.content


class Place(pydantic.BaseModel):
    kind: str = pydantic.Field(json_schema_extra={"enum": ["town", "island"]})
    harbours: int = pydantic.Field(ge=2, le=4)


class Report(pydantic.BaseModel):
    title: str
    places: list[Place] = pydantic.Field(min_length=2, max_length=3)
    score: float
    open: bool
    note: str | None


@pytest.mark.parametrize("seed", range(8))
def test_an_answer_fits_the_schema_that_was_asked_for(seed: int) -> None:
    with serving() as (_, asks):
        shape = {"type": "json_schema", "json_schema": {"name": "report", "schema": Report.model_json_schema()}}
        report = Report.model_validate_json(ask(asks, response_format=shape, seed=seed), strict=True)
    assert {place.kind for place in report.places} <= {"town", "island"}


def test_the_models_are_those_with_a_price() -> None:
    with serving(prices=PRICES) as (_, asks):
        assert [model.id for model in asks.models.list()] == ["small", "large"]
        with pytest.raises(openai.NotFoundError, match="huge"):
            asks.chat.completions.create(model="huge", messages=ASKED)


def test_the_bill_has_the_attempt_the_digest_and_the_exact_price() -> None:
    with serving(answer=lambda body: TWELVE, prices=PRICES) as (server, asks):
        asks.chat.completions.create(model="large", messages=ASKED, extra_headers={"X-Curate-Attempt": "a1"})
        chat = asks.chat.completions.create(model="small", messages=ASKED, stream=True)
        list(chat)
        first, second = server.bill()
    # 3 for the request, 3 + 1 + 5 for its message: Who, watches, the, harbour, ?
    assert (first.attempt, first.prompt_tokens, first.completion_tokens) == ("a1", 12, 12)
    assert first.price == 12 * 2_500_000 + 12 * 10_000_000
    assert first.digest == digest({"model": "large", "messages": ASKED})
    assert (second.attempt, second.model, second.price) == (None, "small", 12 * 150_000 + 12 * 600_000)
    assert second.digest == digest({"model": "small", "messages": ASKED})


messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": st.text()}), min_size=1
)


@given(messages, st.text())
def test_no_request_has_more_tokens_than_bytes(messages: list[Body], prompt: str) -> None:
    for body in ({"model": "m", "messages": messages}, {"model": "m", "prompt": prompt}):
        assert prompt_tokens(body) <= len(orjson.dumps(body))


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


def test_what_the_answer_raises_is_raised_where_the_block_ends() -> None:
    seen = []
    with pytest.raises(KeyError, match="nothing"), serving(answer=lambda body: body["nothing"]) as (_, asks):
        try:
            ask(asks)
        except openai.InternalServerError as error:
            seen.append(error.status_code)
    assert seen == [500]


def fetch(url: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as response:
        return bytes(response.read())


def test_a_process_prints_its_url_shows_its_bill_and_ends_with_its_input() -> None:
    command = [sys.executable, "-m", "tests.llm.server", "--price", "small=0.15,0.60", "--seconds", "60"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        url = process.stdout.readline().strip()
        base = url.removesuffix("/v1")
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as asks:
            text = ask(asks)
            fetch(f"{base}/__faults", b'{"server_error": 1.0}')
            with pytest.raises(openai.InternalServerError):
                ask(asks, "Another")
        bill = [orjson.loads(line) for line in fetch(f"{base}/__bill").splitlines()]
        stats = orjson.loads(fetch(f"{base}/__stats"))
        fetch(f"{base}/__reset", b"")
        assert fetch(f"{base}/__bill") == b""
        process.stdin.close()
        assert process.wait(timeout=10) == 0
    assert [(each["model"], each["completion_tokens"]) for each in bill] == [("small", len(pieces(text)))]
    assert stats == {"requests": 2, "peak": 1, "billed": 1, "faults": {"server_error": 1}}


def test_the_digest_is_of_the_sorted_body_without_how_it_is_streamed() -> None:
    body = {"stream": True, "prompt": "x", "model": "m", "stream_options": {"include_usage": True}}
    assert digest(body) == hashlib.sha256(b'{"model":"m","prompt":"x"}').hexdigest()
