"""What the loopback server says to the prompts of the recipes that come with Curate, well or badly.

with serve(answer=answer) as server: ...

A row whose text holds "Case empty:" gets an empty answer, and so on for each of `BAD`; any other row gets an answer in
the form that was asked for, messy as real ones are. What is said follows from the prompt alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator

from tests.llm.answers import ADJECTIVES, NOUNS, VERBS, Body, prompt_text

SPACES = " " * 40_000
REFUSAL = "I'm sorry, but I can't help with that."


def sentences(seed: str, count: int) -> list[str]:
    """So many sentences that follow from the seed."""
    digits = _digits(seed)
    found = []
    for _ in range(count):
        first, second = ADJECTIVES[next(digits) % 16], ADJECTIVES[next(digits) % 16]
        noun, other, third = (NOUNS[next(digits) % 32] for _ in range(3))
        verb = VERBS[next(digits) % 16]
        found.append(f"{first.capitalize()} {noun} {verb} another {second} {other} near our {third}.")
    return found


def _digits(seed: str) -> Iterator[int]:
    block = 0
    while True:
        yield from hashlib.sha256(f"{seed}:{block}".encode()).digest()
        block += 1


def numbered(lines: list[str], start: int = 1) -> str:
    return "\n".join(f"{i}. {line}" for i, line in enumerate(lines, start))


def given(prompt: str, place: int = 0) -> str:
    """What stands between the lines of a prompt."""
    return re.split(r"^---\n", prompt + "\n", flags=re.M)[1 + 2 * place].strip()


def _attributes(prompt: str) -> str:
    named = {"length": ["one line", "a paragraph"], "style": ["sober", "angry", "ironic"], "writer": ["pupil", "nurse"]}
    value = {"attributes": [{"name": name, "values": values} for name, values in named.items()]}
    return f"Here you are:\n```json\n{json.dumps(value)}\n```\nTell me if you want others."


def _more(prompt: str) -> str:
    shots = re.split(r"^---\n", prompt, flags=re.M)[1:-1]
    made = [*sentences(prompt, 3), shots[1].strip(), f"\u201c{sentences(prompt + '!', 1)[0]}\u201d"]
    return "Sure! Here are five:\n\n" + "\n".join(
        f"**{i}.** {' '.join(each.split())}" for i, each in enumerate(made, 1)
    )


def _queries(prompt: str) -> str:
    ways = ["keywords", "question", "specific", "longest"]  # the last is none of those that were asked for
    made = zip(ways, sentences(prompt, 4), strict=True)
    return json.dumps({"queries": [{"way": way, "query": query} for way, query in made]})


def _asks(prompt: str) -> str:
    return numbered([*sentences(prompt, 3), "What does the passage say about it?"])


def _talk(prompt: str) -> str:
    said = sentences(prompt, 12)
    exchanges = [
        f"<user>{said[3 * i]}</user>\n<assistant>\n{' '.join(said[3 * i + 1 : 3 * i + 3])}</assistant>"
        for i in range(4)
    ]
    return "\n".join(exchanges[:1] if "Case short:" in prompt else exchanges)


def _tasks(prompt: str) -> str:
    start = int(re.search(r"begins with (\d+)", prompt)[1])  # type: ignore[index]
    made = sentences(prompt, 5)
    return numbered([*made, made[0], "Too short", f"Describe the image. {made[1]}"], start)


def _evolve(prompt: str) -> str:
    text = given(prompt)
    marker = "#Rewritten Prompt#: " if "Case marker:" in text else ""
    return f"<instruction>\n{marker}{text} Also mind this. {sentences(prompt, 1)[0]}\n</instruction>"


def _compare(prompt: str) -> str:
    first = given(prompt)
    same = "Case same:" in first or ("Case once:" in first and "Also mind this." in first)
    return "Equal." if same else "**Not equal**, as the second demands more of it."


def _people(prompt: str) -> str:
    return numbered(sentences(prompt, 3))


def _passage(prompt: str) -> str:
    return f"Of course!\n<passage>\n{' '.join(sentences(prompt, 10))}\n</passage>"


def _short_passage(prompt: str) -> str:
    return f"<passage>{' '.join(sentences(prompt, 1 if 'Case short:' in prompt else 4))}</passage>"


def _pairs(prompt: str) -> str:
    made = sentences(prompt, 22)
    return "\n\n".join(f"**Question {i + 1}:** {made[2 * i]}\n**Answer:** {made[2 * i + 1]}" for i in range(11))


def _facts(prompt: str) -> str:
    return "\n".join(f"- {each}" for each in sentences(prompt, 5))


def _grounded(prompt: str) -> str:
    words = given(prompt).split()
    quotes = [" ".join(words[8:18]), "words that nobody wrote in this document at all"]
    made = sentences(prompt, 4)
    return "\n".join(
        f"<question>{made[i]}</question>\n<answer>{made[i + 2]}</answer>\n<quote>{quote}</quote>"
        for i, quote in enumerate(quotes)
    )


def _revised(prompt: str) -> str:
    *_, text = re.split(r"^---\n", prompt.split("What was said")[0], flags=re.M)[:-1]
    return f"<corrected>{text.strip()} {sentences(prompt, 1)[0]}</corrected>"


def _label(prompt: str) -> str:
    label = "STRANGE" if "Case other:" in prompt else "HUM" if "Who" in given(prompt) else "NUM"
    return json.dumps({"label": label, "confidence": 0.75})


def _solved(prompt: str) -> str:
    return f"<reasoning>{' '.join(sentences(prompt, 3))}</reasoning>\n<answer>42</answer>"


def _said(prompt: str) -> str:
    return " ".join(sentences(prompt, 2))


# By words of the prompt, the system's part of it included.
GOOD: dict[str, Callable[[str], str]] = {
    "You plan data sets": _attributes,
    "realistic examples": lambda prompt: numbered(sentences(prompt, 5)),
    "You reword texts": lambda prompt: numbered(sentences(prompt, 3)),
    "after the pattern of real ones": _more,
    "You rewrite search queries": _queries,
    "You know how people search": _asks,
    "You write conversations": _talk,
    "You invent tasks": _tasks,
    "better training data": _evolve,
    "Compare two instructions": _compare,
    "You imagine the people": _people,
    "You imagine people": _people,
    "what people ask an assistant": _people,
    "editor of an encyclopedia": _passage,
    "You write questions for readers": _pairs,
    "You shorten texts": _short_passage,
    "You write for a textbook": _passage,
    "You take notes": _facts,
    "answers that can be checked": _grounded,
    "whose readers learn": _passage,
    "do not solve them yet": lambda prompt: numbered(sentences(prompt, 3)),
    "You solve problems": _solved,
    "You correct": _revised,
    "You label texts": _label,
    "": _said,
}

BAD: dict[str, Callable[[str], str]] = {
    "empty": lambda prompt: "",
    "cut": lambda prompt: " ".join(f"{i} und" for i in range(3000)),
    "refusal": lambda prompt: REFUSAL,
    "spaces": lambda prompt: SPACES,
    "form": lambda prompt: f"Well, I would rather tell of the weather at home. {' '.join(sentences(prompt, 4))}",
    "schema": lambda prompt: '{"answer": ["in", "another", "form"]}',
    "echo": lambda prompt: prompt,
}


def answer(body: Body) -> str:
    """The answer to a request."""
    prompt = prompt_text(body)
    if "messages" not in body:
        # A bare prompt is the same for all: what is said follows from the seed of the draw.
        kinds = ["empty", "cut", "refusal", "spaces", *[""] * 8]
        kind = kinds[int(hashlib.sha256(str(body["seed"]).encode()).hexdigest(), 16) % len(kinds)]
        return BAD[kind](prompt) if kind else f"{sentences(str(body['seed']), 1)[0]}<|im_end|>\nmore"
    asked = body["messages"][-1]["content"]
    # Of a prompt that shows several texts, the first is the row's.
    bad = re.search(r"Case (\w+):", given(asked) if "---\n" in asked else asked)
    if bad and bad[1] in BAD:
        return BAD[bad[1]](asked)
    return next(say for words, say in GOOD.items() if words in prompt)(asked)
