"""A release of conversations that were selected, as `datasets` reads it."""

from __future__ import annotations

from pathlib import Path

import datasets
import orjson
import pytest

from curate.core.errors import ConfigError
from curate.steps.release.verify import verify
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
    assert kept.column_names == ["id", "messages", "source", "task", "picks_rank", "picks_score"]
    assert sorted(kept["picks_rank"]) == [1, 2, 3, 4, 5]
    assert {row["id"]: row["messages"] for row in kept} == {key: said[key] for key in taken}
    others = datasets.load_dataset(folder, "rejected", split="train", cache_dir=str(tmp_path / "cache"))
    assert len(others) == 35
    assert {row["reason"] for row in others} == {"not selected"}


RANKED = """
name: demo
steps:
  pool: {{read: {{path: {folder}/chats.jsonl, conversations: messages, shard_bytes: 1000}}}}
  aims: {{read: {{path: {folder}/aims.jsonl, conversations: messages}}}}
  score: {{score: {{from: pool, score: {{scorer: turns}}}}}}
  few: {{filter: {{from: score, rules: [{{column: score_answer_chars, above: 3}}]}}}}
  {name}: {{select: {{from: [pool, few], budget: 6, bm25: {{targets: aims}}}}}}
  out: {{release: {{from: [pool, score, {name}], license: cc0-1.0, rejected: true}}}}
"""


def write_chats(folder: Path, **own: object) -> None:
    """Forty conversations with a column `rank` of their own, and two to be like."""
    words = ["river", "stone", "bread", "lamp"]
    turns = [
        [
            {"role": "user", "content": f"Tell me of {i} {words[i % 4]}s."},
            {
                "role": "assistant",
                "content": "No." if i % 9 == 4 else f"A {words[i % 4]} is what {words[i // 10]}s are.",
            },
        ]
        for i in range(40)
    ]
    lines = [orjson.dumps({"messages": each, "rank": f"r{i}", **own}) for i, each in enumerate(turns)]
    (folder / "chats.jsonl").write_bytes(b"\n".join(lines))
    (folder / "aims.jsonl").write_bytes(b"\n".join(orjson.dumps({"messages": each}) for each in (turns[2], turns[3])))


def test_a_released_conversation_says_which_rank_score_target_and_example_it_was_picked_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    write_chats(tmp_path)
    done = run_yaml(tmp_path, RANKED.format(folder=tmp_path, name="picks"))
    folder = Path(done["out"].folder) / "release"
    assert list(verify(str(folder))) == []
    assert len(done["picks"].shards) > 1
    kept = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    names = ["picks_rank", "picks_score", "picks_target", "picks_nearest"]
    assert kept.column_names[-4:] == names
    said = {
        row["id"]: [row[name.removeprefix("picks_")] for name in names] for row in rows(done["picks"]) if row["keep"]
    }
    assert len(said) == 6 and all(value is not None for values in said.values() for value in values)
    assert {row["id"]: [row[name] for name in names] for row in kept} == said
    # Columns of the same names, a scorer's and the documents' own, stay what they were.
    assert set(kept["score"]) == {2} and all(each.startswith("r") for each in kept["rank"])
    card = (folder / "README.md").read_text()
    assert "| picks_rank | int64 |" in card
    assert "- `picks_nearest`: the id of that task's example that is nearest to it" in card
    others = datasets.load_dataset(str(folder), "rejected", split="train", cache_dir=str(tmp_path / "cache"))
    assert others.column_names == ["id", "messages", "source", "reason"]


def test_a_column_of_the_name_that_a_pick_would_get_is_refused(tmp_path: Path) -> None:
    write_chats(tmp_path, picks_rank=3)
    with pytest.raises(ConfigError, match="the column 'picks_rank' of pool is in another input too"):
        run_yaml(tmp_path, RANKED.format(folder=tmp_path, name="picks"))
    done = run_yaml(tmp_path, RANKED.format(folder=tmp_path, name="chosen"))
    assert "chosen_rank" in rows(done["out"])[0]
