"""The pool, the targets and the labelled rows of `selection_methods.py`, written as JSON lines for a seed.

    write(Path("build/selection-methods/0"), data=Path("../shared/data"), rows=800, seed=0)

The pool is one mix of Dolly, FLAN-CoT and Alpaca. Which parts of it are related to a target was set down here
before any result was seen: by the form of the question and the kind of reasoning that the answer needs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import orjson
import zstandard

Row = dict[str, object]

# A target and the parts of the pool that are related to it.
RELATED = {
    "causal_judgement": ("flan/creak",),  # yes or no
    "logical_deduction_three_objects": ("flan/ecqa", "flan/qasc"),  # one of several options
    "movie_recommendation": ("flan/ecqa", "flan/qasc"),
    "object_counting": ("flan/gsm8k",),  # adding up
    "gsm8k": ("flan/gsm8k",),  # rows of the same task that are not in the pool
    "sensemaking": ("flan/sensemaking",),
}
# What the selectors see of a target, and what its loss is measured on.
EXAMPLES, HELD_OUT = 10, 30
# The part of the pool from each of its sources.
SHARES = {"dolly": 0.25, "flan": 0.5, "alpaca": 0.25}
LABELLED = 1500
_MOST_CHARACTERS = 1500


def write(folder: Path, *, data: Path, rows: int, seed: int) -> None:
    """Write `pool.jsonl`, `labelled.jsonl`, and `TARGET.jsonl` and `TARGET-held-out.jsonl` for each target."""
    chance = random.Random(seed)
    sources: dict[str, list[Row]] = {
        "dolly": _short(_alpaca(data / "instruct_dolly3k.dev.jsonl.zst", "dolly", "category")),
        "flan": _short(_flan(data / "instruct_flan_cot.dev.jsonl.zst")),
        "alpaca": _short(_alpaca(data / "instruct_alpaca_union_nc.dev.jsonl.zst", "alpaca", None)),
    }
    for some in sources.values():
        chance.shuffle(some)
    targets: dict[str, list[Row]] = {}
    bbh = list(_read(data / "target_bbh.dev.jsonl.zst"))
    for name in RELATED:
        if name in {str(row["task"]) for row in bbh}:
            every = [_chat(f"bbh/{name}", str(r["input"]), str(r["target"])) for r in bbh if r["task"] == name]
            chance.shuffle(every)
        else:
            every = [row for row in sources["flan"] if row["part"] == f"flan/{name}"]
        targets[name] = every[: EXAMPLES + HELD_OUT]
    used = {id(row) for some in targets.values() for row in some}
    left = {name: [row for row in some if id(row) not in used] for name, some in sources.items()}
    sizes = {name: round(rows * share) for name, share in SHARES.items()}
    pool = [row for name, size in sizes.items() for row in left[name][:size]]
    chance.shuffle(pool)
    folder.mkdir(parents=True, exist_ok=True)
    _dump(folder / "pool.jsonl", pool)
    _dump(folder / "labelled.jsonl", (_labelled(row) for row in left["alpaca"][sizes["alpaca"] :][:LABELLED]))
    for name, some in targets.items():
        _dump(folder / f"{name}.jsonl", some[:EXAMPLES])
        _dump(folder / f"{name}-held-out.jsonl", some[EXAMPLES:])


def _read(path: Path) -> Iterable[Row]:
    with zstandard.open(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            yield orjson.loads(line)


def _dump(path: Path, rows: Iterable[Row]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _chat(part: str, question: str, answer: str, **more: object) -> Row:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "part": part, "origin": part.split("/")[0], **more}


def _alpaca(path: Path, origin: str, by: str | None) -> Iterable[Row]:
    for row in _read(path):
        question = f"{row['instruction']}\n\n{row['input']}" if row["input"] else str(row["instruction"])
        part = f"{origin}/{row[by]}" if by else origin
        yield _chat(part, question, str(row["output"]), rated=bool(row.get("in_claude_ge4_5")))


def _flan(path: Path) -> Iterable[Row]:
    for row in _read(path):
        answer = f"{row['rationale']}\nThe answer is {row['answer']}."
        yield _chat(f"flan/{row['task']}", str(row["question"]), answer, rated=False)


def _short(rows: Iterable[Row]) -> list[Row]:
    """Rows that a context of 512 tokens holds, with something in every turn."""
    return [row for row in rows if min(_sizes(row)) > 0 and sum(_sizes(row)) <= _MOST_CHARACTERS]


def _sizes(row: Row) -> list[int]:
    return [len(turn["content"].strip()) for turn in row["messages"]]  # type: ignore[attr-defined]


def _labelled(row: Row) -> Row:
    """A row for the reward model: AlpaGasus rated the answer 4.5 or better, or did not."""
    return {"messages": row["messages"], "rating": int(bool(row["rated"]))}
