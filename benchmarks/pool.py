"""The mixed pool of `benchmarks/better_half.py`: good prose, web pages, chat and ads, corrupted prose, in pieces."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import orjson
import zstandard

PIECE = 1000  # characters
MOST = 20  # pieces of one document, so that no play or sermon decides what a part of the prose is like
HELD_OUT, REFERENCE, GOOD = 400_000, 800_000, 900_000  # characters of hq_text
WEB, CHAT, CORRUPTED = 800_000, 300_000, 300_000


def texts(data: Path, name: str) -> list[str]:
    """The texts of one of the test files."""
    with zstandard.open(data / f"{name}.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        return [str(orjson.loads(line)["text"]) for line in stream]


def pieces(document: str, size: int) -> Iterator[str]:
    """Runs of whole words of about `size` characters; what is left at the end is dropped."""
    rest = document.strip()
    while len(rest) >= size:
        end = rest.rfind(" ", size // 2, size)
        end = size if end < 0 else end
        yield rest[:end]
        rest = rest[end:].lstrip()


def take(documents: Sequence[str], characters: int, start: int = 0) -> tuple[list[str], int]:
    """Pieces of the documents from `start` on, up to so many characters; the first document that is left."""
    taken: list[str] = []
    total = 0
    for at in range(start, len(documents)):
        if total >= characters:
            return taken, at
        for piece in islice(pieces(documents[at], PIECE), MOST):
            if total < characters:
                taken.append(piece)
                total += len(piece)
    return taken, len(documents)


def corrupt(text: str, chance: random.Random) -> str:
    """The words in another order, or a quarter of the sentences over and over."""
    if chance.random() < 0.5:
        words = text.split()
        return " ".join(chance.sample(words, len(words)))
    parts = text.replace("\n", " ").split(". ")
    kept = chance.sample(parts, max(1, len(parts) // 4))
    again = math.ceil(len(text) / sum(len(part) + 2 for part in kept))
    return ". ".join(kept * again)[: len(text)]


def make(data: Path, folder: Path, seed: int) -> None:
    """Write `held`, `reference`, `pool` and `labelled` as JSON lines below `folder`.

    `labelled` is the reference, labelled 5, and as many pieces of the pool, labelled 0: what an embedding classifier
    learns from when nobody has judged anything.
    """
    chance = random.Random(seed)
    prose = texts(data, "hq_text")
    chance.shuffle(prose)
    held, at = take(prose, HELD_OUT)
    reference, at = take(prose, REFERENCE, at)
    good, _ = take(prose, GOOD, at)
    rows = [{"text": text, "kind": "good"} for text in good]
    for kind, name, characters in (
        ("web", "web_wet_trafilatura", WEB),
        ("chat", "lowq_webtext_nltk", CHAT),
        ("corrupted", "hq_text_nc", CORRUPTED),
    ):
        documents = texts(data, name)
        chance.shuffle(documents)
        found = take(documents, characters)[0]
        rows += [{"text": corrupt(text, chance) if kind == "corrupted" else text, "kind": kind} for text in found]
    chance.shuffle(rows)
    sample = chance.sample(rows, len(reference))
    labelled = [{"text": text, "label": 5} for text in reference]
    labelled += [{"text": row["text"], "label": 0} for row in sample]
    folder.mkdir(parents=True, exist_ok=True)
    for name, each in (
        ("held", [{"text": text} for text in held]),
        ("reference", [{"text": text} for text in reference]),
        ("pool", rows),
        ("labelled", labelled),
    ):
        (folder / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in each))
