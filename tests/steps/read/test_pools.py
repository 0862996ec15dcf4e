"""Reading pools of conversations as a step: ids, digests, workers, and datasets of the Hub."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate.steps.read.step
from curate.core.chat.messages import MESSAGES
from curate.core.engine import Resources
from curate.steps.read.hub import stream_dataset
from curate.steps.read.step import ReadConfig
from tests.helpers import rows, run_step, tree
from tests.pipelines import run_yaml
from tests.steps.read.test_conversations import jsonl


def write_pool(folder: Path) -> Path:
    folder.mkdir()
    alpaca = [
        {"id": i, "instruction": f"Say {i}.", "input": "", "output": f"It is {i}." if i % 9 else "", "source": "own"}
        for i in range(300)
    ]
    chats = [
        {"conversations": [{"from": "human", "value": f"Hi {i}"}, {"from": "gpt", "value": "Ho"}]} for i in range(40)
    ]
    (folder / "a.jsonl").write_bytes(jsonl(alpaca[:150]))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(jsonl(alpaca[150:]), mtime=0))
    (folder / "c.jsonl").write_bytes(jsonl(chats))
    return folder


def read_step(root: Path, folder: Path, workers: int = 1) -> Any:
    config = ReadConfig(path=str(folder), conversations="auto", shard_bytes=2000)
    resources = Resources(workers=workers)
    return run_step(root, lambda job: curate.steps.read.step.run(job, config), {}, resources=resources, name="pool")


def test_files_of_several_forms_become_one_pool_with_ids_sources_and_own_columns(tmp_path: Path) -> None:
    pool = read_step(tmp_path / "run", write_pool(tmp_path / "in"))
    found = rows(pool)
    assert pool.schema().names == ["id", "messages", "source", "input_id", "input_source"]
    assert pool.schema().field("messages").type == MESSAGES
    assert found[1]["source"] == "a.jsonl#2" and found[1]["input_id"] == 2 and found[1]["input_source"] == "own"
    assert found[1]["id"] == curate.steps.read.step.row_id("a.jsonl#2")
    assert pool.manifest.rows == 340 - 34 and pool.manifest.quarantined == 34
    (reason,) = {row["error"] for table in pool.quarantine() for row in table.to_pylist()}
    assert reason == "empty-turn"


@pytest.mark.slow
def test_one_worker_and_two_give_the_same_bytes(tmp_path: Path) -> None:
    folder = write_pool(tmp_path / "in")
    read_step(tmp_path / "one", folder)
    read_step(tmp_path / "two", folder, workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_how_conversations_are_read_enters_the_digest_and_a_second_run_reads_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"prompt": "a", "answer": "b", "text": "c"}]))
    base = f"name: t\nsteps: {{pool: {{read: {{path: {tmp_path}/a.jsonl, "
    ends = ["conversations: auto}}}", "conversations: prompt}}}", "conversations: {prompt: prompt}}}}", "text: text}}}"]
    digests = [run_yaml(tmp_path / "run", base + end)["pool"].manifest.digest for end in ends]
    assert len(set(digests)) == 4
    before = tree(tmp_path / "run")
    assert [run_yaml(tmp_path / "run", base + end)["pool"].manifest.digest for end in ends] == digests
    assert {name: value for name, value in tree(tmp_path / "run").items() if name in before and "pool-" in name} == {
        name: value for name, value in before.items() if "pool-" in name
    }


def test_documents_have_the_identity_that_they_always_had() -> None:
    assert ReadConfig(path="data").identity() == {
        "dataset": None, "subset": None, "split": "train", "revision": None, "format": None, "text": "text",
        "columns": None, "shard_bytes": 128_000_000, "max_row_bytes": 100_000_000,
    }  # fmt: skip


def test_a_dataset_of_the_hub_is_read_by_its_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    folder = tmp_path / "set"
    folder.mkdir()
    given_rows = [{"instruction": f"Say {i}.", "output": "x" if i else " ", "n": i, "own": "y"} for i in range(3)]
    pq.write_table(pa.Table.from_pylist(given_rows), folder / "train.parquet")
    (chunk,) = stream_dataset(str(folder), conversations="auto", columns=["n"])
    assert chunk.table.column_names == ["messages", "n"] and chunk.rows.tolist() == [1, 2]
    assert [(bad.row, bad.error) for bad in chunk.bad] == [(0, "empty-turn")]


def test_real_pools_are_read_whole(shared: Path, tmp_path: Path) -> None:
    config = ReadConfig(path=str(shared / "data" / "instruct_dolly3k.dev.jsonl.zst"), conversations="auto")
    pool = run_step(tmp_path, lambda job: curate.steps.read.step.run(job, config), {}, name="pool")
    assert pool.rows > 2900 and pool.manifest.quarantined < 30
    roles = {tuple(turn["role"] for turn in row["messages"]) for row in rows(pool, ["id", "messages"])}  # type: ignore[attr-defined]
    assert roles == {("user", "assistant")}
