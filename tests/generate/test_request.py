"""The key of a request, the tokens it may have, and what a response says."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.generate.request import (
    CHAT,
    COMPLETIONS,
    Request,
    TokenLogprob,
    Unreadable,
    Usage,
    as_request,
    read_completion,
)
from tests.generate.asking import chat
from tests.llm.answers import prompt_tokens
from tests.llm.asking import serving

# Few values, so that two requests are often the same.
words = st.sampled_from(["", "a", "b"])
messages = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": words}), max_size=2)
bodies = st.fixed_dictionaries(
    {"messages": messages},
    optional={
        "temperature": st.sampled_from([0, 0.0, 0.5, 1]),
        "seed": st.sampled_from([0, 1]),
        "tools": st.just([{"type": "function"}]),
        "response_format": st.sampled_from([{"type": "json_object"}, {"type": "text"}]),
    },
)
requests = st.builds(
    Request,
    endpoint=words,
    model=words,
    revision=words,
    kind=st.sampled_from([CHAT, COMPLETIONS]),
    body=bodies,
    sample=st.integers(0, 1),
    most=st.integers(0, 2),
)


@given(requests, requests)
def test_two_requests_have_one_key_if_and_only_if_all_that_changes_the_answer_is_the_same(
    a: Request, b: Request
) -> None:
    def fields(each: Request) -> list[object]:
        body = orjson.dumps(dict(each.body), option=orjson.OPT_SORT_KEYS)
        return [each.endpoint, each.model, each.revision, each.kind, body, each.sample]

    assert (a.key == b.key) == (fields(a) == fields(b))


@given(requests, st.randoms())
def test_neither_the_order_of_keys_nor_how_long_the_answer_may_be_is_in_the_key(
    request: Request, random: object
) -> None:
    items = list(request.body.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert replace(request, body=dict(items), most=99).key == request.key


@pytest.mark.parametrize("change", [
    {"endpoint": "other"}, {"model": "other"}, {"revision": "v2"}, {"kind": COMPLETIONS}, {"sample": 1},
    {"body": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}], "max_tokens": 64}},
    {"body": {"messages": [{"role": "user", "content": "Who?"}], "max_tokens": 65}},
    {"body": {"messages": [{"role": "user", "content": "Who?"}], "max_tokens": 64, "tools": []}},
])  # fmt: skip
def test_each_part_of_a_request_changes_its_key(change: dict[str, object]) -> None:
    assert replace(chat(), **change).key != chat().key  # type: ignore[arg-type]


def test_the_key_is_the_hash_of_what_the_ledger_keeps_and_is_read_from_it() -> None:
    request = replace(chat("Où?", sample=3), revision="r1")
    assert request.key == hashlib.sha256(request.canonical).hexdigest()
    assert as_request(orjson.loads(request.canonical)) == replace(request, most=0)


@pytest.mark.parametrize("change", [{"kind": "image"}, {"body": "text"}, {"sample": "one"}])
def test_what_is_no_request_is_not_read_as_one(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no request"):
        as_request({**orjson.loads(chat().canonical), **change})


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_no_prompt_has_more_tokens_than_are_reserved(texts: list[str]) -> None:
    body = {"messages": [{"role": "user", "content": text} for text in texts]}
    request = Request("large", "small", "", CHAT, body, 0, 10)  # type: ignore[arg-type]
    assert prompt_tokens({"model": "small", **body}) <= request.prompt_tokens


def response(**changes: object) -> bytes:
    whole = {
        "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}},
    }
    return orjson.dumps({**whole, **changes})


def test_an_answer_is_read_with_its_usage() -> None:
    completion = read_completion(CHAT, response())
    assert (completion.text, completion.finish, completion.usage) == ("Yes.", "stop", Usage(5, 3, 2))


def test_reasoning_and_refusal_are_read_where_the_endpoint_tells_them() -> None:
    message = {"content": None, "refusal": "No.", "reasoning_content": "Let me think."}
    completion = read_completion(CHAT, response(choices=[{"message": message, "finish_reason": "content_filter"}]))
    assert (completion.text, completion.refusal, completion.reasoning) == ("", "No.", "Let me think.")
    assert completion.finish == "content_filter"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><p>502", "an HTML page"),
        (response()[:-5], "no whole JSON"),
        (b"", "no whole JSON"),
        (b"[1]", "no object"),
        (orjson.dumps({"error": {"message": "the engine burns"}}), "without choices: the engine burns"),
        (response(choices=[]), "without choices"),
        (response(choices=[{"text": "x"}]), "without a message"),
        (response(usage=None), "without `usage`"),
        (response(usage={"prompt_tokens": "many"}), "holds no numbers"),
        (response(usage={"prompt_tokens": -1}), "below zero"),
    ],
)
def test_a_response_that_is_no_completion_says_what_it_is(body: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        read_completion(CHAT, body)


@pytest.mark.parametrize("kind", [CHAT, COMPLETIONS])
def test_logprobs_are_read_in_the_shape_of_either_kind(kind: str) -> None:
    with serving(answer=lambda body: "Yes, sir.") as (_, asks):
        if kind == CHAT:
            ask = asks.chat.completions.with_raw_response
            raw = ask.create(model="m", messages=[{"role": "user", "content": "?"}], logprobs=True, top_logprobs=2)
        else:
            raw = asks.completions.with_raw_response.create(model="m", prompt="?", logprobs=2)
    completion = read_completion(CHAT if kind == CHAT else COMPLETIONS, raw.content)
    assert [each.token for each in completion.logprobs] == ["Yes", ",", " sir", "."]
    for each in completion.logprobs:
        assert isinstance(each, TokenLogprob) and len(each.top) == 2
        assert each.top[0] == (each.token, each.logprob) and each.logprob <= 0
