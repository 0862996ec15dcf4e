"""Conversations go through every step that documents go through."""

from __future__ import annotations

import functools
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from curate.core.chat.messages import ChatBatch, Conversation, Turn, part
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.errors import ConfigError
from curate.core.map_shard import MapShard, shard_tasks
from curate.explain.row import explain_row
from curate.steps.clean import step as clean
from curate.steps.dedup import step as dedup
from curate.steps.release.verify import verify
from curate.steps.train.method import texts
from tests.helpers import rows, run_step, tree
from tests.pipelines import run_yaml
from tests.steps.select.pools import pool

CHATS: list[Conversation] = [
    (Turn("user", "Hi"), Turn("assistant", "Write to jo@example.org or ann@example.org.")),
    (Turn("user", " HI "), Turn("assistant", "Write  to jo@example.org or ann@example.org.")),
    (Turn("user", "Hi"), Turn("user", "Write to jo@example.org or ann@example.org.")),
    (Turn("system", "I am bo@example.org."), Turn("user", "Who?"), Turn("assistant", "Bo."), Turn("user", "Thanks")),
    (Turn("user", "Hi\n\nWrite to jo@example.org or ann@example.org."),),
]

PIPELINE = """
name: t
steps:
  raw: {read: {path: IN, conversations: auto}}
  pool: {clean: {from: raw, pii: {}}}
  dups: {dedup: {from: pool, exact: {}}}
  kept: {filter: {from: [pool, dups], rules: [{column: n, at_most: 50}]}}
  picks: {select: {from: [pool, kept], budget: 10, random: {}}}
  out: {release: {from: [pool, picks], license: cc0-1.0, rejected: true}}
"""


def write_input(folder: Path) -> str:
    folder.mkdir(parents=True)
    lines = [
        {"instruction": f"Say {i % 55} <b>now</b>", "output": f"It is {i % 55}, says u{i % 55}@example.org.", "n": i}
        for i in range(60)
    ]
    lines[7]["output"] = "  "
    (folder / "in.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return PIPELINE.replace("IN", str(folder / "in.jsonl"))


def messages(data: Dataset) -> list[Conversation]:
    return [
        chat
        for shard in data.shards
        for batch in data.read(shard, ["messages"])
        for chat in ChatBatch(batch.column("messages")).conversations
    ]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    folder = tmp_path_factory.mktemp("conversations")
    return run_yaml(folder / "run", write_input(folder / "in"))


@pytest.mark.parametrize(("normalised", "kept"), [(True, [True, False, True, True, True]), (False, [True] * 5)])
def test_copies_have_the_same_roles_and_contents(tmp_path: Path, normalised: bool, kept: list[bool]) -> None:
    config = dedup.parse({"from": "docs", "exact": {"normalised": normalised}}, ())
    data = pool(tmp_path / "pool", CHATS, shards=2)
    found = rows(run_step(tmp_path, functools.partial(dedup.run, config=config), {"from": data}))
    assert [row["keep"] for row in found] == kept
    assert found[1]["duplicate_of"] == (None if kept[1] else "00000")


def test_every_turn_is_cleaned_and_the_counts_are_of_all_turns(tmp_path: Path) -> None:
    config = clean.parse({"from": "docs", "pii": {}}, ())
    out = run_step(
        tmp_path, functools.partial(clean.run, config=config), {"from": pool(tmp_path / "pool", CHATS, shards=2)}
    )
    said = messages(out)
    assert said[0] == (Turn("user", "Hi"), Turn("assistant", "Write to <email> or <email>."))
    assert said[3][0] == Turn("system", "I am <email>.") and said[3][1:] == CHATS[3][1:]
    assert [row["pii_emails"] for row in rows(out)] == [2, 2, 2, 1, 2]
    again = run_step(tmp_path / "again", functools.partial(clean.run, config=config), {"from": out})
    assert messages(again) == said


def test_a_cleaner_of_pages_is_refused_for_conversations(tmp_path: Path) -> None:
    config = clean.parse({"from": "docs", "c4": {}}, ())
    with pytest.raises(ConfigError, match=r"steps.step.test.c4: cleans documents, not conversations; .*pii"):
        run_step(tmp_path, functools.partial(clean.run, config=config), {"from": pool(tmp_path / "pool", CHATS)})


def test_methods_of_training_learn_the_text_of_all_turns(tmp_path: Path) -> None:
    assert list(texts(pool(tmp_path / "pool", CHATS, shards=2))) == [part(chat, "text") for chat in CHATS]


def test_a_quarantined_row_shows_its_turns(tmp_path: Path) -> None:
    def fail(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.column("messages")[0].as_py()[0]["role"] == "system":
            raise ValueError("no systems here")
        return batch.select(["id"])

    data = pool(tmp_path / "pool", [CHATS[3], *CHATS[:3]])
    out = run_step(
        tmp_path,
        lambda job: clean.Result(
            job.map("", lambda: MapShard(fail, "step", job.folder, None), shard_tasks(job.inputs["from"]))
        ),
        {"from": data},
    )
    (table,) = out.quarantine()
    (row,) = table.to_pylist()
    assert row["id"] == "00000" and b"I am bo@example.org." in row["sample"]


def test_a_release_of_conversations_is_whole_and_loads(
    done: dict[str, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    folder = f"{done['out'].folder}/release"
    assert verify(folder) == []
    kept = datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path))
    assert len(kept) == 10 and [turn["role"] for turn in kept[0]["messages"]] == ["user", "assistant"]
    assert "<email>" in kept[0]["messages"][1]["content"]
    rejected = datasets.load_dataset(folder, "rejected", split="train", cache_dir=str(tmp_path))
    assert rejected.column_names == ["id", "messages", "source", "reason"]
    # Row 7 is quarantined; rows 51 to 59 are over 50 in `n`, but for the copies, which dedup drops first.
    assert sorted(set(rejected["reason"])) == ["exact-duplicate", "n-high", "not selected"]
    assert len(rejected) == 60 - 1 - 10
    card = Path(folder, "README.md").read_text()
    assert "10 conversations, chosen from 60 records" in card and "a kept conversation is" in card
    assert "list<item: struct&#60;role" in card or "list&#60;" in card


def test_a_conversation_is_explained_with_its_turns(done: dict[str, Dataset]) -> None:
    pick = next(row for row in rows(done["picks"]) if row["keep"])
    explained = list(explain_row(list(done.values()), str(pick["id"])[:12]))
    assert any(line.startswith("    user                                 Say ") for line in explained)
    assert any(
        line.startswith("    assistant                            It is ") and "<email>" in line for line in explained
    )
    assert any(f"pick {pick['rank']} of 10 by" in line for line in explained)
    (table,) = done["raw"].quarantine()
    (line,) = [
        each for each in explain_row(list(done.values()), table.column("id")[0].as_py()) if "quarantined" in each
    ]
    assert "empty-turn: turn 1 (assistant) is empty" in line


def test_the_report_shows_turns_and_escapes_them(done: dict[str, Dataset]) -> None:
    from curate.report.build import build_report

    page = build_report("t", done)
    assert "Of 60 records, 10" in page and "assistant: It is " in page
    assert "<b>now</b>" not in page and "&lt;b&gt;now&lt;/b&gt;" in page


@pytest.mark.slow
def test_one_worker_and_two_give_the_same_bytes(done: dict[str, Dataset], tmp_path: Path) -> None:
    text = write_input(tmp_path / "in")
    run_yaml(tmp_path / "one", text)
    run_yaml(tmp_path / "two", text, resources=Resources(workers=2))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_documents_are_refused_where_conversations_are_needed(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    text = f"""
name: t
steps:
  docs: {{read: {{path: {tmp_path}/in.jsonl}}}}
  picks: {{select: {{from: docs, budget: 1, random: {{}}}}}}
"""
    with pytest.raises(ConfigError, match="holds documents, not conversations; read it with `conversations: auto`"):
        run_yaml(tmp_path / "run", text)
