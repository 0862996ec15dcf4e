"""Make a pool of conversations whose worth is known, and held-out targets for each of its tasks.

Every row says in `task` what it asks for and in `flaw` what is wrong with it (null: nothing), so that a selection
can be marked. Most files are in the Alpaca form, one is in the ShareGPT form with several turns. No question of a
target is in the pool. The same arguments give the same bytes.

    python configs/quickstart/conversations.py runs/conversations --rows 600 --seed 7
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks import TASKS, Example

ALPACA = ("part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl")
CHATS = "chats.jsonl"
TARGET_ROWS = 20
CHAT_SHARE = 0.1  # of the rows have several turns
FLAWS = {
    "wrong-answer": 0.10,
    "empty-answer": 0.04,
    "swapped-answer": 0.04,
    "padded-answer": 0.05,
    "exact-copy": 0.03,
    "near-copy": 0.06,
}
COPIES = ("exact-copy", "near-copy")
EMPTY = ("N/A", "I don't know.", "...", "Sure!", "No output.", "As a program, I have no answer to that.", "See above.")
PADDING = (
    "I hope that this helps.",
    "This is a very good question, and many people ask it.",
    "There is a lot more that could be said about this.",
    "It is always worth thinking carefully about such things.",
    "Please let me know if there is anything else that you would like to know.",
    "In conclusion, it is important to remember what was said above.",
)
POLITE = ("Please help me with this: {}", "{} Thank you!", "Hello! {}", "Could you tell me: {}", "Question: {}")
SYSTEM = ("You are a patient helper.", "Answer briefly.", "You are a careful assistant.")


@dataclass(frozen=True)
class Row:
    """A conversation of the pool: questions with their answers, and what is wrong with it."""

    id: str
    task: str
    turns: tuple[tuple[str, str], ...]
    input: str = ""
    system: str = ""
    flaw: str | None = None
    copy_of: str | None = None


def examples(rng: random.Random, task: str, taken: set[str]) -> Iterator[Example]:
    """Examples of a task, none of which asks what an earlier one did; raises ValueError where there are no more."""
    while True:
        for _ in range(1000):
            example = TASKS[task].make(rng)
            if example.key not in taken:
                break
        else:
            raise ValueError(f"the task {task} has no more questions: ask for fewer rows")
        taken.add(example.key)
        yield example


def whole(example: Example) -> str:
    """The question with its input, as one text."""
    return f"{example.prompt}\n\n{example.input}" if example.input else example.prompt


def good_row(rng: random.Random, task: str, source: Iterator[Example]) -> Row:
    """A row without a flaw: one turn, or several of one task."""
    if rng.random() > CHAT_SHARE:
        example = next(source)
        return Row("", task, ((example.prompt, example.answer),), example.input)
    several = [next(source) for _ in range(rng.randint(2, 4))]
    system = rng.choice(SYSTEM) if rng.random() < 0.3 else ""
    return Row("", task, tuple((whole(each), each.answer) for each in several), system=system)


def swapped(rng: random.Random, task: str) -> str:
    """A right answer to a question of another task."""
    return TASKS[rng.choice([name for name in TASKS if name != task])].make(rng).answer


def flawed_row(rng: random.Random, task: str, source: Iterator[Example], flaw: str) -> Row:
    """A row of one turn with a flaw in its answer."""
    example = next(source)
    answers: dict[str, Callable[[], str]] = {
        "wrong-answer": lambda: example.wrong,
        "empty-answer": lambda: rng.choice(EMPTY),
        "swapped-answer": lambda: swapped(rng, task),
        "padded-answer": lambda: " ".join([example.answer, *rng.sample(PADDING, 5)]),
    }
    return Row("", task, ((example.prompt, answers[flaw]()),), example.input, flaw=flaw)


def copied_row(rng: random.Random, original: Row, flaw: str) -> Row:
    """A copy of a row; a near one asks in slightly other words."""
    copy = replace(original, flaw=flaw, copy_of=original.id)
    if flaw == "exact-copy":
        return copy
    (question, answer), *rest = original.turns
    return replace(copy, turns=((rng.choice(POLITE).format(question), answer), *rest))


def pool_rows(rng: random.Random, rows: int, taken: dict[str, set[str]]) -> list[Row]:
    """The rows of the pool in their order; a copy comes after what it is a copy of."""
    counts = {flaw: round(share * rows) for flaw, share in FLAWS.items()}
    sources = {task: examples(rng, task, taken[task]) for task in TASKS}
    flaws = [flaw for flaw, count in counts.items() for _ in range(count)]
    copies = [flaw for flaw in flaws if flaw in COPIES]
    made = [None] * (rows - len(flaws)) + [flaw for flaw in flaws if flaw not in COPIES]
    rng.shuffle(made)
    tasks = rng.choices(list(TASKS), weights=[task.share for task in TASKS.values()], k=len(made))
    plain: list[Row] = []
    for number, (task, flaw) in enumerate(zip(tasks, made, strict=True)):
        row = flawed_row(rng, task, sources[task], flaw) if flaw else good_row(rng, task, sources[task])
        plain.append(replace(row, id=f"{task}-{number:04d}"))
    good = [place for place, row in enumerate(plain) if row.flaw is None]
    placed = [(float(place), row) for place, row in enumerate(plain)]
    for number, (place, flaw) in enumerate(zip(rng.sample(good, len(copies)), copies, strict=True)):
        copy = replace(copied_row(rng, plain[place], flaw), id=f"{plain[place].task}-{len(made) + number:04d}")
        placed.append((rng.uniform(place, len(plain)), copy))
    return [row for _, row in sorted(placed, key=lambda item: (item[0], item[1].id))]


def alpaca(row: Row) -> dict[str, object]:
    """A row of one turn in the Alpaca form."""
    ((prompt, answer),) = row.turns
    return {
        "id": row.id,
        "instruction": prompt,
        "input": row.input,
        "output": answer,
        "task": row.task,
        "flaw": row.flaw,
    }


def sharegpt(row: Row) -> dict[str, object]:
    """A row of several turns in the ShareGPT form."""
    turns = [{"from": "system", "value": row.system}] if row.system else []
    for question, answer in row.turns:
        turns += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": row.id, "conversations": turns, "task": row.task, "flaw": row.flaw}


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """One line of JSON a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))


def generate(out_dir: str | Path, rows: int = 600, seed: int = 7) -> dict[str, object]:
    """Write `pool/`, `targets/` and `truth.jsonl` under `out_dir`, and return what there is of what.

    Raises ValueError where `rows` is under 100, or more than the tasks have questions for.
    """
    if rows < 100:
        raise ValueError(f"--rows is {rows}: ask for 100 or more, so that every flaw occurs")
    out = Path(out_dir)
    rng = random.Random(f"conversations {seed}")
    taken: dict[str, set[str]] = {task: set() for task in TASKS}
    for task in TASKS:
        source = examples(rng, task, taken[task])
        held = [
            Row(f"target-{task}-{number:02d}", task, ((each.prompt, each.answer),), each.input)
            for number, each in zip(range(TARGET_ROWS), source, strict=False)
        ]
        write_rows(out / "targets" / f"{task}.jsonl", [alpaca(row) for row in held])
    made = pool_rows(rng, rows, taken)
    single, several = [row for row in made if len(row.turns) == 1], [row for row in made if len(row.turns) > 1]
    for part, name in enumerate(ALPACA):
        write_rows(out / "pool" / name, [alpaca(row) for row in single[part :: len(ALPACA)]])
    write_rows(out / "pool" / CHATS, [sharegpt(row) for row in several])
    truth: list[dict[str, object]] = [
        {"id": row.id, "task": row.task, "flaw": row.flaw, "copy_of": row.copy_of} for row in made
    ]
    write_rows(out / "truth.jsonl", truth)
    return {
        "rows": len(made),
        "chats": len(several),
        "tasks": dict(sorted(Counter(row.task for row in made).items())),
        "flaws": dict(sorted(Counter(row.flaw for row in made if row.flaw).items())),
    }


def main() -> None:
    """Read the command line and generate."""
    parser = argparse.ArgumentParser(description="Make a pool of conversations whose worth is known.")
    parser.add_argument("out", help="folder to write into")
    parser.add_argument("--rows", type=int, default=600, help="conversations in the pool (600)")
    parser.add_argument("--seed", type=int, default=7, help="another seed gives another pool (7)")
    arguments = parser.parse_args()
    try:
        found = generate(arguments.out, arguments.rows, arguments.seed)
    except ValueError as error:
        parser.error(str(error))
    flaws = found["flaws"]
    assert isinstance(flaws, dict)
    print(
        f"{arguments.out}: {found['rows']:,} conversations, {found['chats']:,} of several turns, "
        f"{sum(flaws.values()):,} flawed; {len(TASKS)} targets of {TARGET_ROWS}"
    )


if __name__ == "__main__":
    main()
