"""Gopher's numbers by four definitions, in plain Python, for the kernels to be compared with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import regex

STOP = {"the", "be", "to", "of", "and", "that", "have", "with"}
SPACE = "".join(chr(code) for code in range(0x3001) if regex.match(r"\p{White_Space}", chr(code)))
NEMO_BULLETS = tuple("•‣⁃⁌⁍∙○●◘◦⦾⦿")
NEMO_ENDS = ("...", "[...]", "…", "(...)", "[…]", "-»", "read more..", "read more")
BULLETS = {"datatrove": ("•", "-"), "dclm": ("●", "•", "*", "-"), "dolma": ("*", "-"), "nemo": NEMO_BULLETS}
ENDS = {"datatrove": ("...", "…"), "dclm": ("...", ". . .", "…"), "dolma": ("…",), "nemo": NEMO_ENDS}


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def ascii_lower(text: str) -> str:
    return "".join(char.lower() if char.isascii() else char for char in text)


def quality(text: str, words: Sequence[str], variant: str, symbols: set[str]) -> dict[str, float]:
    """`symbols` are the characters of which a datatrove word must not wholly consist."""
    counted = [w for w in words if variant != "datatrove" or not set(w) <= symbols]
    if variant == "dolma":
        hashes = sum("#" in word for word in words)
        ellipses = sum("…" in word for word in words)
    elif variant == "nemo":
        hashes = sum(len(re.findall("#+", word)) / len(word) > 0.5 for word in words)
        ellipses = sum(word in NEMO_ENDS for word in words)
    else:
        hashes = text.count("#")
        ellipses = sum(text.count(mark) for mark in ENDS[variant])
    lines = text.splitlines() if variant == "datatrove" else text.split("\n") if text else []
    if variant != "dolma":
        lines = [line.strip(SPACE) for line in lines]
    if variant in ("dclm", "nemo"):
        lines = [line for line in lines if line]
    ends = [ascii_lower(line).endswith(ENDS[variant]) for line in lines]
    stops = [word for word in (map(ascii_lower, words) if variant == "dclm" else words) if word in STOP]
    return {
        "words": len(counted),
        "mean_word_length": ratio(sum(map(len, counted)), len(counted)),
        "hash_ratio": ratio(hashes, len(words)),
        "ellipsis_ratio": ratio(ellipses, len(words)),
        "bullet_lines": ratio(sum(line.startswith(BULLETS[variant]) for line in lines), len(lines)),
        "ellipsis_lines": ratio(sum(ends), len(lines)),
        "alpha_words": ratio(sum(bool(regex.search(r"\p{L}", word)) for word in words), len(words)),
        "stop_words": len(set(stops)) if variant == "datatrove" else len(stops),
    }


def units(text: str, kind: str, variant: str) -> list[str]:
    if not text:
        return []
    if kind == "lines":
        if variant == "datatrove":
            return re.split("\n+", text)
        lines = text.split("\n")
        if variant == "dclm":
            return [line.strip(SPACE) for line in lines if line.strip(SPACE)]
        return [line for line in lines if line.strip(SPACE) or variant == "dolma"]
    if variant == "nemo":
        return text.split("\n\n")
    if variant == "datatrove":
        return re.split("\n{2,}", text.strip(SPACE))
    return [part.strip(SPACE) for part in text.split("\n\n") if part.strip(SPACE)]


def seen_before(parts: Sequence[str]) -> list[str]:
    return [part for place, part in enumerate(parts) if part in parts[:place]]


def repetition(text: str, words: Sequence[str], variant: str) -> dict[str, float]:
    found: dict[str, float] = {}
    word_chars = sum(map(len, words))
    for kind in ("lines", "paragraphs"):
        parts = units(text, kind, variant)
        again = seen_before(parts)
        if variant in ("dclm", "dolma"):
            again = [part for part in parts if parts.count(part) > 1]
        total = {"datatrove": len(text), "dolma": word_chars}.get(variant, sum(map(len, parts)))
        found[f"dup_{kind}"] = ratio(len(again), len(parts))
        found[f"dup_{kind[:-1]}_chars"] = ratio(sum(map(len, again)), total)
    for n in range(2, 11):
        grams = list(zip(*(words[k:] for k in range(n)), strict=False))
        sizes = [sum(map(len, gram)) for gram in grams]
        counts = Counter(grams)
        total = len(text) if variant in ("datatrove", "nemo") else word_chars
        if n < 5:
            top, times = counts.most_common(1)[0] if grams else ((), 0)
            if variant == "nemo":
                part = len(text) - len(text.replace(" ".join(top), "")) if grams else 0
            elif variant == "dclm" and times == 1:
                part = 0
            else:
                part = times * (sum(map(len, top)) + (n - 1 if variant == "datatrove" else 0))
            found[f"top_{n}_gram"] = ratio(part, total)
            continue
        if variant == "datatrove":
            part = scanned(words, n)
        elif variant == "dclm":
            covered = {k + i for k, gram in enumerate(grams) if counts[gram] > 1 for i in range(n)}
            part = sum(len(words[k]) for k in covered)
        elif variant == "dolma":
            part = sum(size for size, gram in zip(sizes, grams, strict=True) if counts[gram] > 1)
            total = sum(sizes)
        else:
            part = unseen(words, grams, n)
        found[f"dup_{n}_gram"] = ratio(part, total)
    return found


def scanned(words: Sequence[str], n: int) -> int:
    """The scan of datatrove: it jumps over an n-gram whose joined words it has met."""
    met: set[str] = set()
    part = at = 0
    while at + n <= len(words):
        gram = "".join(words[at : at + n])
        if gram in met:
            part += len(gram)
            at += n
        else:
            met.add(gram)
            at += 1
    return part


def unseen(words: Sequence[str], grams: Sequence[tuple[str, ...]], n: int) -> int:
    """NeMo Curator: words of repeated n-grams once, and the spaces that go with them."""
    starts = [k for k, gram in enumerate(grams) if gram in grams[:k]]
    part = 0
    for before, start in pairwise([-n, *starts]):
        fresh = max(start, before + n)
        part += sum(map(len, words[fresh : start + n])) + min(start + n - fresh, n - 1)
    return part
