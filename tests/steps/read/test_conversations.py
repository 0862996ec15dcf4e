"""Conversations of every form are read into turns; what is none is set aside with its reason."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.chat.messages import MESSAGES, ChatBatch, Conversation, Turn
from curate.core.config import ConfigError, validate
from curate.steps.read import read_chunks
from curate.steps.read.forms import ConversationColumns, Conversations
from curate.steps.read.step import ReadConfig

Row = Mapping[str, Any]
ADDED = (Turn("user", "Add.\n\n1 + 1"), Turn("assistant", "2"))


def jsonl(given_rows: Sequence[object]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in given_rows)


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def comma_separated(given_rows: Sequence[Mapping[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(given_rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(given_rows)
    return text.getvalue().encode()


class Found:
    """What a file gave."""

    def __init__(self, data: bytes, path: str = "a.jsonl", form: Conversations = "auto", **options: Any) -> None:
        chunks = list(read_chunks(io.BytesIO(data), path, conversations=form, **options))
        self.tables = [chunk.table for chunk in chunks]
        self.conversations: list[Conversation] = []
        for table in self.tables:
            assert table.column_names[0] == "messages" and table.schema.field(0).type == MESSAGES
            self.conversations += ChatBatch(table.column("messages").combine_chunks()).conversations
        self.bad = [bad for chunk in chunks for bad in chunk.bad]
        places = sorted([*(bad.row for bad in self.bad), *(int(row) for chunk in chunks for row in chunk.rows)])
        assert places == list(range(len(places)))

    def column(self, name: str) -> list[object]:
        return [value for table in self.tables for value in table.column(name).to_pylist()]


# --- the forms


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Add.", "input": "1 + 1", "output": "2"},
        {"instruction": "Add.", "context": "1 + 1", "response": "2"},
        {"instruction": " ", "input": "Add.\n\n1 + 1", "output": "2", "system": ""},
        {"prompt": "Add.\n\n1 + 1", "completion": "2"},
        {"prompt": "Add.\n\n1 + 1", "answer": "2"},
        {
            "prompt": [{"role": "user", "content": "Add.\n\n1 + 1"}],
            "completion": [{"role": "assistant", "content": "2"}],
        },
        {"conversations": [{"from": "human", "value": "Add.\n\n1 + 1"}, {"from": "gpt", "value": "2"}]},
        {"conversation": [{"role": "User", "content": "Add.\n\n1 + 1"}, {"role": "bing", "content": "2"}]},
        {"messages": [{"role": "user", "content": "Add.\n\n1 + 1"}, {"role": "assistant", "content": "2"}]},
        {"messages": orjson.dumps([{"role": "user", "content": "Add.\n\n1 + 1"}, {"role": "model", "content": "2"}])},
        {
            "prompt": "not this",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Add.\n"}, {"text": "1 + 1"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "2"}], "tool_calls": None},
            ],
        },
    ],
    ids=lambda row: "-".join(row),
)
def test_the_form_is_known_by_the_columns(row: dict[str, Any]) -> None:
    if isinstance(row.get("messages"), bytes):
        row = {"messages": row["messages"].decode()}
    for data, path in ((jsonl([row]), "a.jsonl"), (parquet(pa.Table.from_pylist([row])), "a.parquet")):
        assert Found(data, path).conversations == [ADDED]
    if all(isinstance(value, str) for value in row.values()):
        assert Found(comma_separated([row]), "a.csv").conversations == [ADDED]


def test_turns_of_both_spellings_may_stand_in_one_table() -> None:
    both = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]},
        {"messages": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
    ]
    expected = [(Turn("user", "Hi"), Turn("assistant", "Ho"))] * 2
    assert Found(jsonl(both)).conversations == expected
    turn = pa.struct([(name, pa.string()) for name in ("role", "content", "from", "value")])
    table = pa.table({"messages": pa.array([row["messages"] for row in both], pa.list_(turn))})
    assert Found(parquet(table), "a.parquet").conversations == expected


def test_a_file_is_packed_as_any_other() -> None:
    assert Found(gzip.compress(jsonl([{"prompt": "Hi", "answer": "Ho"}])), "a.jsonl.gz").conversations


def test_a_system_prompt_stands_before_all_turns_and_once() -> None:
    chat = [{"from": "human", "value": "Hi"}]
    found = Found(
        jsonl(
            [
                {"conversations": chat, "system": "Be kind."},
                {"conversations": [{"from": "system", "value": "Be kind."}, *chat], "system": "Be kind."},
                {"conversations": chat, "system": None},
            ]
        )
    )
    kind = Turn("system", "Be kind.")
    assert found.conversations == [(kind, Turn("user", "Hi")), (kind, Turn("user", "Hi")), (Turn("user", "Hi"),)]


def test_earlier_turns_of_alpaca_come_first() -> None:
    row = {"history": [["a", "b"], ["c", "d"]], "instruction": "e", "input": "", "output": "f", "system": "s"}
    (found,) = Found(jsonl([row])).conversations
    assert [turn.content for turn in found] == list("sabcdef")
    assert [turn.role for turn in found] == ["system", *["user", "assistant"] * 3]


def test_columns_may_be_named_one_by_one() -> None:
    form = ConversationColumns(prompt="question", answer="rationale", system="rules")
    found = Found(jsonl([{"question": "q", "rationale": "r", "rules": "s", "answer": "own"}]), form=form)
    assert found.conversations == [(Turn("system", "s"), Turn("user", "q"), Turn("assistant", "r"))]
    assert found.tables[0].column_names == ["messages", "answer"]


def test_own_columns_are_kept_and_give_way_to_the_turns() -> None:
    data = jsonl([{"prompt": "a", "answer": "b", "text": "own", "messages": 7, "n": 1}])
    found = Found(data, form=ConversationColumns(prompt="prompt", answer="answer"))
    assert found.tables[0].column_names == ["messages", "input_text", "input_messages", "n"]
    assert Found(data, form="prompt", columns=["n"]).tables[0].column_names == ["messages", "n"]
    table = pa.Table.from_pylist([{"prompt": "a", "answer": "b", "text": "own", "n": 1}])
    assert Found(parquet(table), "a.parquet").tables[0].column_names == ["messages", "input_text", "n"]


def test_the_form_of_every_file_is_found_by_itself_and_a_rare_column_is_found_later() -> None:
    many: list[Row] = [{"instruction": "a", "output": "b"}] * 150
    found = Found(jsonl([*many, {"instruction": "a", "input": "c", "output": "b"}]))
    assert found.conversations[-1][0] == Turn("user", "a\n\nc")


def test_a_prompt_alone_200_turns_two_users_in_a_row_and_an_opening_assistant_are_conversations() -> None:
    chats = [
        ["user"],
        ["user", "assistant"] * 100,
        ["user", "user", "assistant"],
        ["assistant", "user", "assistant"],
    ]
    found = Found(jsonl([{"messages": [{"role": role, "content": "x"} for role in chat]} for chat in chats]))
    assert [[turn.role for turn in each] for each in found.conversations] == chats
    assert found.bad == []
    assert Found(jsonl([{"instruction": "Say it.", "input": ""}])).conversations == [(Turn("user", "Say it."),)]


# --- what is set aside


def said(*turns: object) -> Row:
    return {"messages": list(turns)}


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        (said({"role": "narrator", "content": "x"}), "unknown-role", "turn 0 has the role 'narrator'; known: user, h"),
        (said({"content": "x"}), "unknown-role", "turn 0 has the role None"),
        (
            said({"role": "user", "content": "x"}, {"role": "assistant", "content": " \n\t"}),
            "empty-turn",
            "turn 1 (assistant) is empty",
        ),
        (said({"role": "user", "content": None}), "empty-turn", "turn 0 (user) is empty"),
        (said(), "no-turns", "the conversation has no turns"),
        ({"messages": None}, "no-turns", "the conversation has no turns"),
        ({"other": 1}, "no-turns", "the conversation has no turns"),
        (said({"role": "assistant", "content": "x"}), "no-prompt", "no turn of the user"),
        (said("user"), "wrong-type", "turn 0 is text, not a role and its content"),
        ({"messages": 5}, "wrong-type", "column 'messages' is a number, not a list of turns"),
        ({"messages": "hello"}, "wrong-type", "column 'messages' is text, not a list of turns"),
        ({"messages": "{}"}, "wrong-type", "column 'messages' is an object, not a list of turns"),
        (said({"role": "user", "content": 5}), "wrong-type", "the content of turn 0 (user) is a number, not text"),
        (
            said({"role": "user", "content": [{"type": "image_url"}]}),
            "not-text",
            "turn 0 (user) has a part that is not text: 'image_url'",
        ),
        (
            said({"role": "assistant", "content": "x", "tool_calls": [{"id": 1}]}),
            "tool-call",
            "turn 0 (assistant) calls a tool",
        ),
    ],
)
def test_a_row_that_is_no_conversation_is_bad_and_the_rest_is_read(row: Row, reason: str, message: str) -> None:
    good = said({"role": "user", "content": "Hi"})
    found = Found(jsonl([good, row, good]))
    assert [bad.row for bad in found.bad] == [1] and len(found.conversations) == 2
    assert found.bad[0].error == reason and found.bad[0].message.startswith(message)
    assert found.bad[0].offset > 0 and found.bad[0].sample == orjson.dumps(row)[:200]


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        ({"instruction": "a", "output": " "}, "empty-turn", "turn 1 (assistant) is empty"),
        ({"instruction": "a", "output": 13}, "wrong-type", "column 'output' is a number, not text or a list of turns"),
        ({"instruction": "a", "input": [], "output": "b"}, "wrong-type", "column 'input' is a list, not text"),
        ({"instruction": None, "output": "b"}, "no-prompt", "no turn of the user"),
        ({"instruction": "", "output": "b"}, "empty-turn", "turn 0 (user) is empty"),
        (
            {"instruction": "a", "output": "b", "history": [["a"]]},
            "wrong-type",
            "column 'history' is not a list of pairs of prompt and answer",
        ),
    ],
)
def test_a_bad_row_of_alpaca_says_what_is_wrong_with_it(row: Row, reason: str, message: str) -> None:
    found = Found(jsonl([{"instruction": "a", "output": "b"}, row]))
    assert [(bad.row, bad.error, bad.message) for bad in found.bad] == [(1, reason, message)]


def test_bytes_that_are_no_text_are_bad_in_lines_and_in_parquet() -> None:
    line = b'{"prompt": "caf\xe9", "answer": "b"}\n'
    found = Found(jsonl([{"prompt": "a", "answer": "b"}]) + line + b'{"prompt": "tw\n')
    assert [(bad.row, bad.error) for bad in found.bad] == [(1, "invalid-utf8"), (2, "json")]
    prompts = pa.array([b"a", b"caf\xe9", b"c"]).view(pa.string())
    owns = pa.array([b"x", b"x", b"caf\xe9"]).view(pa.string())
    table = pa.table({"prompt": prompts, "answer": ["b", "b", "b"], "own": owns})
    found = Found(parquet(table), "a.parquet")
    assert [(bad.row, bad.error) for bad in found.bad] == [(1, "invalid-utf8"), (2, "invalid-utf8")]
    assert found.conversations == [(Turn("user", "a"), Turn("assistant", "b"))] and found.column("own") == ["x"]


def test_a_conversation_over_the_limit_is_bad() -> None:
    given_rows = [{"prompt": "a", "answer": "b"}, {"prompt": "a" * 200, "answer": "b" * 200}]
    for data, path in ((jsonl(given_rows), "a.jsonl"), (parquet(pa.Table.from_pylist(given_rows)), "a.parquet")):
        found = Found(data, path, max_bytes=300)
        assert [(bad.row, bad.error) for bad in found.bad] == [(1, "too-large")]
        assert "raise max_bytes" in found.bad[0].message


# --- what is refused


@pytest.mark.parametrize(
    ("columns", "form", "message"),
    [
        (["q", "a"], "auto", r"a.jsonl: its columns \(q, a\) do not tell the form .* set conversations to one of alp"),
        (["q", "a"], "alpaca", "no column 'instruction', as conversations of the form alpaca have; .*known: a, q"),
        (["prompt", "response", "answer"], "auto", "the columns response and answer could both hold the answer"),
        (["qestion"], ConversationColumns(prompt="question"), "no column 'question' .*; did you mean 'qestion'"),
    ],
)
def test_columns_that_do_not_tell_stop_the_run(columns: list[str], form: Conversations, message: str) -> None:
    row = dict.fromkeys(columns, "x")
    with pytest.raises(ConfigError, match=message):
        Found(jsonl([row]), form=form)
    with pytest.raises(ConfigError, match=message.replace("a.jsonl", "a.parquet")):
        Found(parquet(pa.Table.from_pylist([row])), "a.parquet", form=form)


def test_a_format_without_columns_holds_no_conversations() -> None:
    with pytest.raises(ConfigError, match=r"text has no columns to hold conversations; give one of csv, jsonl"):
        Found(b"hello", "a.txt")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("aplaca", r"read.conversations: input should be 'auto', 'alpaca', .*found 'aplaca'"),
        ({"prompt": "q", "answr": "a"}, "conversations.answr: no such key; did you mean 'answer'"),
        ({"answer": "a"}, "name either the column of `messages` or that of the `prompt`"),
        ({"messages": "m", "answer": "a"}, "`messages` holds all turns"),
    ],
)
def test_a_wrong_mapping_is_refused_before_anything_runs(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(ReadConfig, {"path": "a", "conversations": value}, ("steps", "pool", "read"))  # type: ignore[dict-item]


def test_a_text_column_beside_conversations_is_refused() -> None:
    with pytest.raises(ConfigError, match="conversations have no `text`"):
        validate(ReadConfig, {"path": "a", "conversations": "auto", "text": "body"}, ("read",))


# --- any conversation, in every form


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
turns = st.builds(Turn, st.sampled_from(["system", "user", "assistant", "tool"]), words)
conversations = st.lists(
    st.lists(turns, min_size=1, max_size=6).filter(lambda chat: any(turn.role == "user" for turn in chat)).map(tuple),
    min_size=1,
    max_size=4,
)
FROM = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


@settings(max_examples=40)
@given(conversations)
def test_any_conversation_that_is_written_as_turns_reads_back_the_same(chats: list[Conversation]) -> None:
    messages: list[Row] = [{"messages": [turn._asdict() for turn in chat]} for chat in chats]
    sharegpt: list[Row] = [{"conversations": [{"from": FROM[r], "value": c} for r, c in chat]} for chat in chats]
    parts: list[Row] = [
        {"messages": [{"role": r, "content": [{"type": "text", "text": c}]} for r, c in chat]} for chat in chats
    ]
    typed: list[Row] = [{"prompt": [turn._asdict() for turn in chat]} for chat in chats]
    for form in (messages, sharegpt, parts, typed):
        assert Found(jsonl(form)).conversations == chats
        assert Found(parquet(pa.Table.from_pylist(form)), "a.parquet").conversations == chats
    as_text = [{name: orjson.dumps(value).decode() for name, value in row.items()} for row in messages]
    assert Found(comma_separated(as_text), "a.csv").conversations == chats


pairs = st.lists(st.tuples(words, words), min_size=1, max_size=4)


@settings(max_examples=40)
@given(st.one_of(st.none(), words), pairs)
def test_any_dialogue_that_is_written_as_alpaca_reads_back_the_same(
    system: str | None, dialogue: list[tuple[str, str]]
) -> None:
    *earlier, (prompt, answer) = dialogue
    row = {"instruction": prompt, "output": answer, "history": [list(pair) for pair in earlier], "system": system}
    expected = [Turn("system", system)] if system else []
    for question, reply in dialogue:
        expected += [Turn("user", question), Turn("assistant", reply)]
    assert Found(jsonl([row])).conversations == [tuple(expected)]
    assert Found(parquet(pa.Table.from_pylist([row])), "a.parquet").conversations == [tuple(expected)]
