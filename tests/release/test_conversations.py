"""A release of conversations that were selected, as `datasets` reads it."""

from __future__ import annotations

from pathlib import Path

import datasets
import orjson
import pytest

from curate.release.verify import verify
from tests.helpers import rows
from tests.pipelines import run_yaml


def test_the_selected_conversations_are_published_and_the_others_with_their_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    turns = [
        [{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": "A number."}] for i in range(40)
    ]
    lines = [orjson.dumps({"messages": each, "task": f"t{i % 3}"}) for i, each in enumerate(turns)]
    (tmp_path / "chats.jsonl").write_bytes(b"\n".join(lines))
    done = run_yaml(
        tmp_path,
        f"""
name: demo
steps:
  pool: {{read: {{path: {tmp_path}/chats.jsonl, conversations: messages, shard_bytes: 1000}}}}
  picks: {{select: {{from: pool, budget: 5, random: {{}}}}}}
  out: {{release: {{from: [pool, picks], license: cc0-1.0, rejected: true}}}}
""",
    )
    folder = f"{done['out'].folder}/release"
    assert list(verify(folder)) == []
    taken = {row["id"] for row in rows(done["picks"]) if row["keep"]}
    said = {row["id"]: row["messages"] for row in rows(done["pool"])}
    kept = datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache"))
    assert kept.column_names == ["id", "messages", "source", "task"]
    assert {row["id"]: row["messages"] for row in kept} == {key: said[key] for key in taken}
    others = datasets.load_dataset(folder, "rejected", split="train", cache_dir=str(tmp_path / "cache"))
    assert len(others) == 35
    assert {row["reason"] for row in others} == {"not selected"}
