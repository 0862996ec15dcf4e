"""Every recipe that comes with Curate, run over real rows of which some get bad answers, and what came of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import zstandard

from curate.core import files
from curate.core.dataset import Dataset
from curate.core.shards import read_shard
from curate.steps.synthesize.synthetic import OUTCOMES
from tests import helpers
from tests.llm.server import serve
from tests.pipelines import run_yaml
from tests.steps.synthesize.recipe_answers import BAD, answer

Row = dict[str, Any]
# Cases that are wrong for one recipe alone.
SPECIAL = ("same", "marker", "once", "short", "other")
SOURCES: Mapping[str, Sequence[str]] = {
    "documents": (
        "classification", "dialogue", "document_queries", "grounded_qa", "label", "paraphrase", "persona", "rephrase",
        "revise", "textbook",
    ),
    "tasks": ("evol_instruct", "more_like_this", "persona_related", "persona_tasks", "query_rewrite"),
    "chats": ("decompose", "distill", "revise_answer"),
}  # fmt: skip
FURTHER = {
    "label": "set: {labels: [HUM, NUM]}, ",
    "more_like_this": "shots: {from: tasks, count: 3, same: label}, ",
}
EVERY = [name for recipes in SOURCES.values() for name in recipes]


def real(shared: Path, name: str) -> list[Row]:
    with zstandard.open(shared / f"data/{name}.dev.jsonl.zst", "rb") as stream:
        return [orjson.loads(line) for line in stream.read().splitlines()]


def write(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def with_cases(texts: Sequence[str], *further: str) -> list[str]:
    """Texts, of which one is made to get each kind of bad answer, and each further case."""
    kinds = [*BAD, *further]
    return [f"Case {kinds[i]}: {text}" if i < len(kinds) else text for i, text in enumerate(texts)]


def paragraphs(shared: Path, count: int) -> list[str]:
    found = (part for row in real(shared, "hq_text") for part in row["text"].split("\n") if 400 < len(part) < 900)
    return [part for _, part in zip(range(count), found, strict=False)]


def run_every(folder: Path, shared: Path) -> tuple[Path, dict[str, Dataset]]:
    """Every recipe, run once over real rows, as one pipeline: the folder of the run and its datasets."""
    documents = [
        {
            "text": text,
            "label": f"speech {'ab'[i % 2]}",
            "bucket": ("low", "high", "medium")[i % 3],
            "critique": "The beginning is too long." if i % 2 else None,
        }
        for i, text in enumerate(with_cases(paragraphs(shared, 18), *SPECIAL))
    ]
    # A label of its own for each bad case, as a prompt of `classification` shows nothing else.
    for row in documents:
        case = row["text"].partition(" ")
        row["description"] = row["text"][:200] if case[0] == "Case" else "held before a parliament"
    write(folder / "documents.jsonl", documents)
    seeds = [row["instruction"] for row in real(shared, "seed_tasks_selfinstruct") if len(row["instruction"]) > 60]
    texts = with_cases(seeds[:18], *SPECIAL)
    write(folder / "tasks.jsonl", [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(texts)])
    write(folder / "seeds.jsonl", [{"text": text} for text in [*with_cases(seeds[18:25]), *seeds[25:70]]])
    asked = [row for row in real(shared, "instruct_dolly3k") if len(row["instruction"].split()) > 15][:12]
    questions = with_cases([row["instruction"] for row in asked])
    turns = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]
        for question, row in zip(questions, asked, strict=True)
    ]
    turns[-1] = [*turns[-2], {"role": "user", "content": "And who came after that one?"}]
    write(folder / "chats.jsonl", [{"messages": each} for each in turns])
    steps = "".join(
        f"  {name}: {{synthesize: {{from: {source}, recipe: {name}, {FURTHER.get(name, '')}model: large}}}}\n"
        for source, recipes in SOURCES.items()
        for name in recipes
    )
    with serve(answer=answer) as server:
        done = run_yaml(
            folder / "run",
            f"""
name: recipes
endpoints: {{large: {{url: "{server.url}", model: teacher, structured: false}}}}
steps:
  documents: {{read: {{path: {folder}/documents.jsonl}}}}
  tasks: {{read: {{path: {folder}/tasks.jsonl}}}}
  seeds: {{read: {{path: {folder}/seeds.jsonl}}}}
  chats: {{read: {{path: {folder}/chats.jsonl, conversations: auto}}}}
{steps}
  self_instruct: {{synthesize: {{from: seeds, recipe: self_instruct, model: large, count: 120}}}}
  magpie: {{synthesize: {{count: 1, recipe: magpie, model: large, samples: 40}}}}
""",
        )
        return folder / "run", done


def rows(data: Dataset) -> list[Row]:
    return helpers.rows(data)


def outcomes(data: Dataset) -> list[Row]:
    folder = files.join(data.folder, OUTCOMES)
    return [row for shard in data.shards for b in read_shard(files.join(folder, shard.name)) for row in b.to_pylist()]


def case(text: str) -> str:
    return text.partition(":")[0].removeprefix("Case ") if text.startswith("Case ") else ""


def inputs(done: Mapping[str, Dataset], name: str) -> dict[str, Row]:
    source = next(source for source, recipes in SOURCES.items() if name in recipes)
    found = {}
    for row in rows(done[source]):
        row["said"] = row["text"] if "text" in row else row["messages"][0]["content"]
        found[str(row["id"])] = row
    return found


def of_case(done: Mapping[str, Dataset], name: str, which: str) -> tuple[Row, list[Row]]:
    """The outcome of the row of a case, and the rows generated from it."""
    (key,) = (key for key, row in inputs(done, name).items() if case(row["said"]) == which)
    (outcome,) = (each for each in outcomes(done[name]) if each["id"] == key)
    return outcome, [row for row in rows(done[name]) if row["parents"][0] == key]
