"""A pipeline with a small and a large model on the loopback server: sums, of which the small one gets some right."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from tests.llm.answers import Body, prompt_text

PRICES = {"s": ("0.15", "0.60"), "l": ("2.5", "10")}
COUNT = 60


def kind(number: int) -> str:
    """What the small model does with a row: right, wrong, hopeless (neither does it), or nothing (an empty answer)."""
    if number % 10 == 9:
        return "nothing"
    if number % 10 == 8:
        return "hopeless"
    return "wrong" if number % 3 == 2 else "right"


def numbers(count: int = COUNT) -> dict[str, list[int]]:
    """The rows by kind."""
    found: dict[str, list[int]] = {"right": [], "wrong": [], "hopeless": [], "nothing": []}
    for number in range(count):
        found[kind(number)].append(number)
    return found


def answer(body: Body) -> str:
    """The large model is right of all but the hopeless rows; checks see through the small one."""
    text = prompt_text(body)
    found = re.search(r"sum number (\d+): (\d+) plus (\d+)", text)
    assert found is not None, text
    number, a, b = (int(each) for each in found.groups())
    what, total = kind(number), a + b
    if "Is the proposed answer right" in text:
        # All say yes of what is right, about half of what is wrong (draws are 10^8 apart), none of what is hopeless.
        assert body["model"] == "s"
        return "Yes." if what == "right" or (what == "wrong" and body["seed"] // 10**8 % 2) else "No."
    if body["model"] == "l":
        return f"The answer is {total + 7 * (what == 'hopeless')}"
    return "" if what == "nothing" else f"The answer is {total + (what != 'right')}"


def write(
    folder: Path,
    url: str,
    cascade: str,
    *,
    count: int = COUNT,
    steps: str = "",
    prices: Mapping[str, tuple[str, str]] | None = PRICES,
) -> str:
    """The rows, prices and config: a step `answers` with that cascade."""
    lines = [
        json.dumps({"text": f"What is sum number {i}: {i} plus {i % 7}?", "right": str(i + i % 7)})
        for i in range(count)
    ]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    if prices is not None:
        prices_yaml = "".join(f"{name}: {{input: {a}, output: {b}}}\n" for name, (a, b) in prices.items())
        (folder / "prices.yaml").write_text(prices_yaml)
    return f"""
name: two
endpoints:
  small: {{url: "{url}", model: s, tries: 2}}
  large: {{url: "{url}", model: l, tries: 2}}
{f"prices: {folder}/prices.yaml" if prices is not None else ""}
steps:
  rows: {{read: {{path: {folder}/rows.jsonl, shard_bytes: {sum(map(len, lines)) // 2}}}}}
  answers: {{synthesize: {{from: rows, recipe: distill, model: large, cascade: {cascade}}}}}
{steps}
"""
