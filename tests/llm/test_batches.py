"""The Files and Batch endpoints of the loopback server, as the `openai` client sees them."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest

from tests.llm.answers import Body
from tests.llm.asking import PRICES, ask, serving
from tests.llm.faults import Faults


def lines(count: int, **options: Any) -> bytes:
    bodies = [
        {"model": "small", "messages": [{"role": "user", "content": f"Line {i}"}], **options} for i in range(count)
    ]
    return b"".join(
        orjson.dumps({"custom_id": f"r{i}", "method": "POST", "url": "/v1/chat/completions", "body": body}) + b"\n"
        for i, body in enumerate(bodies)
    )


def start(asks: openai.OpenAI, data: bytes) -> str:
    file = asks.files.create(file=("in.jsonl", data), purpose="batch")
    assert asks.files.retrieve(file.id).bytes == len(data)
    assert asks.files.content(file.id).read() == data
    return asks.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"run": "x"}
    ).id


def results(asks: openai.OpenAI, file: str | None) -> dict[str, Body]:
    """The lines of an output file by custom_id, in their order."""
    if file is None:
        return {}
    return {line["custom_id"]: line for line in map(orjson.loads, asks.files.content(file).read().splitlines())}


def test_a_batch_answers_what_requests_would_get_in_another_order() -> None:
    with serving(prices=PRICES) as (server, asks):
        done = asks.batches.retrieve(start(asks, lines(10)))
        got = results(asks, done.output_file_id)
        alone = ask(asks, "Line 3")
        batched, single = server.bill()[:10], server.bill()[10]
    assert (done.status, done.error_file_id, done.metadata) == ("completed", None, {"run": "x"})
    assert sorted(got) == sorted(f"r{i}" for i in range(10)) and list(got) != [f"r{i}" for i in range(10)]
    assert got["r3"]["response"]["status_code"] == 200
    assert got["r3"]["response"]["body"]["choices"][0]["message"]["content"] == alone
    assert [entry.attempt for entry in batched] == [f"r{i}" for i in range(10)]
    assert {entry.batch for entry in batched} == {done.id}
    assert (batched[3].digest, batched[3].price) == (single.digest, single.price)


def test_a_batch_may_need_several_questions() -> None:
    with serving(faults=Faults(polls=3)) as (_, asks):
        batch = start(asks, lines(6))
        seen = [asks.batches.retrieve(batch) for _ in range(4)]
    assert [each.status for each in seen] == ["in_progress", "in_progress", "completed", "completed"]
    assert [each.request_counts and each.request_counts.completed for each in seen] == [2, 4, 6, 6]
    assert [each.output_file_id is None for each in seen] == [True, True, False, False]


def test_lines_that_fail_are_in_the_error_file_and_not_on_the_bill() -> None:
    with serving(faults=Faults(line_failed=0.5, refused="Line 0")) as (server, asks):
        done = asks.batches.retrieve(start(asks, lines(12)))
        good, bad = results(asks, done.output_file_id), results(asks, done.error_file_id)
        assert sorted([*good, *bad]) == sorted(f"r{i}" for i in range(12)) and good and len(bad) > 1
        assert sorted(good) == sorted(entry.attempt or "" for entry in server.bill())
    assert done.status == "completed"
    assert bad["r0"]["response"]["status_code"] == 400
    assert {line["response"]["status_code"] for name, line in bad.items() if name != "r0"} == {500}


def test_an_expired_batch_returns_what_was_done() -> None:
    with serving(faults=Faults(line_expired=0.5)) as (server, asks):
        done = asks.batches.retrieve(start(asks, lines(12)))
        good, late = results(asks, done.output_file_id), results(asks, done.error_file_id)
        assert len(server.bill()) == len(good)
    assert done.status == "expired"
    assert good and late and sorted([*good, *late]) == sorted(f"r{i}" for i in range(12))
    assert {line["error"]["code"] for line in late.values()} == {"batch_expired"}
    assert all(line["response"] is None for line in late.values())


def test_what_expired_is_done_when_it_is_sent_often_enough() -> None:
    with serving(faults=Faults(line_expired=1.0, most=2)) as (_, asks):
        states = [asks.batches.retrieve(start(asks, lines(3))) for _ in range(3)]
    assert [each.status for each in states] == ["expired", "expired", "completed"]
    assert states[0].output_file_id is None


def test_a_cancelled_batch_keeps_what_was_done() -> None:
    with serving(faults=Faults(polls=3)) as (server, asks):
        batch = start(asks, lines(6))
        asks.batches.retrieve(batch)
        assert asks.batches.cancel(batch).status == "cancelling"
        done = asks.batches.retrieve(batch)
        assert sorted(results(asks, done.output_file_id)) == ["r0", "r1"]
        assert (done.status, len(server.bill())) == ("cancelled", 2)
        with pytest.raises(openai.ConflictError):
            asks.batches.cancel(batch)


@pytest.mark.parametrize(
    ("data", "code"), [(b"{\n", "invalid_json_line"), (lines(1) * 2, "duplicate_custom_id"), (b"", "empty_file")]
)
def test_a_batch_of_bad_lines_fails_as_a_whole(data: bytes, code: str) -> None:
    with serving() as (server, asks):
        batch = asks.batches.retrieve(start(asks, data))
        assert batch.errors is not None and batch.errors.data is not None
        assert (batch.status, batch.errors.data[0].code, server.bill()) == ("failed", code, [])


def test_batches_are_listed_the_newest_first() -> None:
    with serving() as (_, asks):
        made = [start(asks, lines(1)) for _ in range(5)]
        assert [batch.id for batch in asks.batches.list(limit=2)] == made[::-1]
        with pytest.raises(openai.NotFoundError):
            asks.batches.retrieve("batch_000009")
