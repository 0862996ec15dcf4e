"""What a recipe gets to see of its rows: columns of several datasets, examples, passages, the question of a document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from tests.helpers import rows
from tests.llm.server import serve
from tests.pipelines import run_yaml

TOWNS = ("The mill by the river grinds corn.", "The bridge was built of iron.", "The harbour freezes in winter.")


def lines(path: Path, some: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in some))
    return path


def recipe(path: Path, prompt: str, **more: object) -> Path:
    """A recipe of one prompt, whose rows are the prompt itself: what the model was shown can be read off them."""
    stage = {"name": "said", "prompt": prompt}
    made = {"text": "{{ of.said.text }}"}
    plain = {"name": "mine", "about": "a test", "stages": [stage], "rows": made, "keep": {"prompt": True}, **more}
    path.write_text(json.dumps(plain))  # JSON is YAML
    return path


def run(tmp_path: Path, steps: str) -> dict[str, Dataset]:
    with serve(answer=lambda body: "Shown: " + body["messages"][-1]["content"]) as server:
        text = f'name: t\nendpoints: {{large: {{url: "{server.url}", model: m}}}}\nsteps:\n{steps}'
        return run_yaml(tmp_path / "runs", text)


def test_passages_are_found_for_each_row_and_are_its_parents(tmp_path: Path) -> None:
    asked = lines(tmp_path / "asked.jsonl", [{"text": "Who grinds corn?"}, {"text": "What freezes in winter?"}])
    towns = lines(tmp_path / "towns.jsonl", [{"text": text} for text in TOWNS])
    mine = recipe(
        tmp_path / "mine.yaml", "{{ text }} {% for each in found %}[{{ each.text }}]{% endfor %}", needs=["text"]
    )
    out = run(
        tmp_path,
        f"""
  asked: {{read: {{path: {asked}}}}}
  towns: {{read: {{path: {towns}}}}}
  made: {{synthesize: {{from: asked, recipe: {mine}, model: large, retrieve: {{from: towns, top: 1}}}}}}
""",
    )
    ids = {row["text"]: row["id"] for row in rows(out["towns"])}
    own = [row["id"] for row in rows(out["asked"])]
    made = rows(out["made"])
    assert [row["text"] for row in made] == [
        f"Shown: Who grinds corn? [{TOWNS[0]}]",
        f"Shown: What freezes in winter? [{TOWNS[2]}]",
    ]
    assert [row["parents"] for row in made] == [[own[0], ids[TOWNS[0]]], [own[1], ids[TOWNS[2]]]]


def test_examples_have_the_label_of_the_row_and_are_never_the_row_itself(tmp_path: Path) -> None:
    seeds = lines(
        tmp_path / "seeds.jsonl", [{"text": f"{label} {i}", "label": label} for i in range(4) for label in "ab"]
    )
    mine = recipe(
        tmp_path / "mine.yaml",
        "{{ text }}: {% for each in shots %}{{ each.text }}, {% endfor %}",
        needs=["text", "label"],
    )
    out = run(
        tmp_path,
        f"""
  seeds: {{read: {{path: {seeds}}}}}
  made: {{synthesize: {{from: seeds, recipe: {mine}, model: large, shots: {{from: seeds, count: 3, same: label}}}}}}
""",
    )
    text = {row["id"]: row["text"] for row in rows(out["seeds"])}
    for row in rows(out["made"]):
        own, *shown = [text[each] for each in row["parents"]]  # type: ignore[attr-defined]
        assert sorted([own, *shown]) == sorted(each for each in text.values() if each[0] == own[0])


def test_columns_beside_the_rows_are_read_and_their_verdict_is_obeyed(tmp_path: Path) -> None:
    docs = lines(tmp_path / "docs.jsonl", [{"text": "word " * n} for n in (3, 9, 30)])
    mine = recipe(tmp_path / "mine.yaml", "{{ lengths_words }} words", needs=["text", "lengths_words"])
    out = run(
        tmp_path,
        f"""
  docs: {{read: {{path: {docs}}}}}
  checks: {{verify: {{from: docs, lengths: {{verifier: length}}}}}}
  long: {{filter: {{from: checks, rules: [{{column: lengths_words, at_least: 5}}]}}}}
  made: {{synthesize: {{from: [docs, checks, long], recipe: {mine}, model: large}}}}
""",
    )
    assert [row["text"] for row in rows(out["made"])] == ["Shown: 9 words", "Shown: 30 words"]
    assert (out["made"].manifest.rows_in, out["made"].manifest.absent) == (3, 1)


def test_a_document_is_the_question_of_a_recipe_for_conversations(tmp_path: Path) -> None:
    asked = lines(tmp_path / "asked.jsonl", [{"text": "Who grinds corn?"}])
    out = run(
        tmp_path,
        f"""
  asked: {{read: {{path: {asked}}}}}
  made: {{synthesize: {{from: asked, recipe: distill, model: large, sampling: {{logprobs: 2}}}}}}
""",
    )
    (row,) = rows(out["made"])
    assert row["messages"] == [
        {"role": "user", "content": "Who grinds corn?"},
        {"role": "assistant", "content": "Shown: Who grinds corn?"},
    ]
    tokens = row["logprobs"]
    assert isinstance(tokens, list) and "".join(each["token"] for each in tokens) == "Shown: Who grinds corn?"
    assert all(len(each["top"]) == 2 and each["logprob"] <= 0 for each in tokens)


def test_rows_out_of_nothing_are_each_answered_for_themselves(tmp_path: Path) -> None:
    mine = recipe(tmp_path / "mine.yaml", "Say something.")
    with serve() as server:
        text = f"""
name: t
endpoints: {{large: {{url: "{server.url}", model: m}}}}
steps:
  made: {{synthesize: {{count: 12, recipe: {mine}, model: large}}}}
"""
        made = rows(run_yaml(tmp_path / "runs", text)["made"])
        assert server.stats()["requests"] == 12
    assert len({row["text"] for row in made}) == 12
    assert [row["source"] for row in made] == [f"mine#{i}" for i in range(12)]
    assert all(row["parents"] == [] for row in made)


def test_a_column_that_the_recipe_reads_and_nobody_has_is_said_with_the_nearest(tmp_path: Path) -> None:
    docs = lines(tmp_path / "docs.jsonl", [{"text": "a", "labels": "x"}])
    mine = recipe(tmp_path / "mine.yaml", "{{ label }}", needs=["label"])
    with pytest.raises(
        (BadValue, ConfigError), match="reads a column 'label', which is not there; did you mean 'labels'"
    ):
        run(
            tmp_path,
            f"  docs: {{read: {{path: {docs}}}}}\n  made: {{synthesize: {{from: docs, recipe: {mine}, model: large}}}}\n",
        )
