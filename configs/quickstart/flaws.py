"""Ways to spoil a page, each with a name and its share of the pool.

A flaw takes a seeded source, a good page and the base documents of its own half, and gives a page to drop:

    page = FLAWS["mojibake"].make(random.Random(7), page, half)
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable
from typing import NamedTuple

SENTENCE = re.compile(r"(?<=[.!?…。])\s+|(?<=[.!?]\")\s+|(?<=。)")


class Base(NamedTuple):
    """One document as it stands in `data/`."""

    text: str
    kind: str
    title: str
    language: str


class Page(NamedTuple):
    """One document of the pool or of a training set."""

    text: str
    kind: str


class Half(NamedTuple):
    """The good and the poor base documents of one side of the split."""

    good: list[Base]
    poor: list[Base]

    def lines(self, *kinds: str) -> list[str]:
        """All lines of the poor documents of some kinds."""
        return [line for base in self.poor if base.kind in kinds for line in base.text.split("\n")]

    def sentences(self, *kinds: str) -> list[str]:
        """All sentences of the poor documents of some kinds."""
        return [sentence for line in self.lines(*kinds) for sentence in SENTENCE.split(line)]


def repeated_lines(rng: random.Random, page: Page, half: Half) -> Page:
    """Some paragraphs come again and again."""
    lines = page.text.split("\n\n")
    again = rng.sample(lines, min(len(lines), rng.randint(1, 2)))
    return Page("\n".join(lines + again * rng.randint(3, 6)), page.kind)


def shuffled_words(rng: random.Random, page: Page, half: Half) -> Page:
    """The words of each paragraph in any order."""
    paragraphs = [paragraph.split() for paragraph in page.text.split("\n\n")]
    for words in paragraphs:
        rng.shuffle(words)
    return Page("\n\n".join(" ".join(words) for words in paragraphs), page.kind)


def mojibake(rng: random.Random, page: Page, half: Half) -> Page:
    """Typographic quotes, dashes and hard spaces in UTF-8, read as Latin-1."""
    text = re.sub(r'"(?=\w)', "“", page.text).replace('"', "”").replace("'", "’").replace(", ", " – ")
    text = re.sub(" ", lambda _: "\u00a0" if rng.random() < 0.15 else " ", text)
    return Page(text.encode("utf-8").decode("latin-1"), page.kind)


def menu_around_stub(rng: random.Random, page: Page, half: Half) -> Page:
    """A sentence of content between two menus."""
    menu = half.lines("navigation")
    stub = rng.choice(SENTENCE.split(page.text))
    above, below = (rng.sample(menu, rng.randint(10, len(menu) * 3 // 4)) for _ in range(2))
    return Page("\n".join([*above, stub, *below, *rng.sample(half.lines("boilerplate"), 2)]), "navigation")


def keyword_stuffing(rng: random.Random, page: Page, half: Half) -> Page:
    """A search phrase between any two sentences, or nothing but search phrases."""
    words = rng.choice(half.lines("keywords")).split()
    phrase = " ".join(words[:2]).lower().rstrip(".")
    if rng.random() < 0.5:
        pieces = [" ".join(words[at : at + 3]) for at in range(0, len(words), 3)]
        return Page(" ".join(rng.choices(pieces, k=rng.randint(25, 60))), "keywords")
    extras = [f"best {phrase}", f"cheap {phrase}", f"{phrase} near me", f"{phrase} {phrase} online"]
    sentences = SENTENCE.split(page.text)
    return Page(" ".join(f"{sentence} {rng.choice(extras)} {phrase}." for sentence in sentences), "keywords")


def stub(rng: random.Random, page: Page, half: Half) -> Page:
    """The first words of a page, cut off, or a thin page."""
    if rng.random() < 0.5:
        return Page(" ".join(page.text.split()[: rng.randint(8, 40)]), page.kind)
    lines = half.lines("thin", "error", "forum")
    return Page("\n".join(rng.sample(lines, rng.randint(2, 7))), "thin")


def symbols(rng: random.Random, page: Page, half: Half) -> Page:
    """Mostly signs, with a word here and there."""
    words = page.text.split()
    marks = ["#", "***", "~~~", "|||", "=====", "$$", "%%", "-->", "<<>>", "@@", "_-_", "88", "0x0"]
    count = rng.randint(12, 30)
    lines = [rng.choices(marks, k=rng.randint(4, 12)) + rng.sample(words, 2) for _ in range(count)]
    for line in lines:
        rng.shuffle(line)
    return Page("\n".join(" ".join(line) for line in lines), "symbols")


def bullet_list(rng: random.Random, page: Page, half: Half) -> Page:
    """Beginnings of sentences, as bullets."""
    mark = rng.choice(("•", "-", "*", "●"))
    starts = [" ".join(sentence.split()[: rng.randint(4, 9)]) for sentence in SENTENCE.split(page.text)]
    rng.shuffle(starts)
    return Page("\n".join(f"{mark} {start}" for start in starts), page.kind)


def ellipsis_list(rng: random.Random, page: Page, half: Half) -> Page:
    """Beginnings of sentences that end in an ellipsis, as lists of teasers do."""
    starts = [sentence.split()[: rng.randint(5, 12)] for sentence in SENTENCE.split(page.text)]
    teasers = [" ".join(start) + "..." for start in starts]
    rng.shuffle(teasers)
    return Page("\n".join(teasers), page.kind)


def boilerplate(rng: random.Random, page: Page, half: Half) -> Page:
    """Notices about cookies, privacy and subscriptions; sometimes a paragraph of content is left in front."""
    lines = half.lines("boilerplate", "error")
    front = page.text.split("\n\n")[:1] if rng.random() < 0.3 else []
    return Page("\n".join(front + rng.sample(lines, rng.randint(8, 14))), "boilerplate")


def link_list(rng: random.Random, page: Page, half: Half) -> Page:
    """Addresses, directories, prices and telephone numbers."""
    lines = rng.sample(half.lines("links", "contact", "listing"), rng.randint(6, 14))
    words = page.text.split()
    for _ in range(rng.randint(3, 10)):
        slug = "-".join(re.sub(r"\W", "", word).lower() for word in rng.sample(words, 3))
        lines.insert(rng.randrange(len(lines)), f"https://example.{rng.choice(('com', 'net', 'org'))}/{slug}")
    return Page("\n".join(lines), "links")


def script_page(rng: random.Random, page: Page, half: Half) -> Page:
    """Scripts, style sheets and templates around a paragraph."""
    lines = half.lines("code", "lorem")
    name = "".join(rng.choices(string.ascii_lowercase, k=6))
    script = [f"function {name}() {{ return document.title; }}", *rng.choices(lines, k=rng.randint(5, 12))]
    return Page("\n".join([*script, rng.choice(page.text.split("\n\n")), *rng.choices(lines, k=3)]), "code")


def other_language(rng: random.Random, page: Page, half: Half) -> Page:
    """Sound prose that is not English."""
    base = rng.choice([base for base in half.poor if base.kind == "other-language"])
    sentences = [sentence for sentence in SENTENCE.split(base.text) if sentence]
    chosen = rng.sample(sentences, rng.randint(max(2, len(sentences) - 2), len(sentences)))
    return Page(("" if base.language == "ja" else " ").join(chosen), base.kind)


def spam(rng: random.Random, page: Page, half: Half) -> Page:
    """Offers that end tonight."""
    sentences = half.sentences("spam")
    code = "".join(rng.choices(string.ascii_uppercase, k=4))
    chosen = [*rng.sample(sentences, rng.randint(8, 16)), f"Use code {code} now!!!"]
    return Page("\n".join(" ".join(chosen[at : at + 3]) for at in range(0, len(chosen), 3)), "spam")


class Flaw(NamedTuple):
    """Which share of all documents it makes up, and the function that makes one of them."""

    share: float
    make: Callable[[random.Random, Page, Half], Page]


FLAWS = {
    "repeated-lines": Flaw(0.04, repeated_lines),
    "shuffled-words": Flaw(0.03, shuffled_words),
    "mojibake": Flaw(0.03, mojibake),
    "menu-around-stub": Flaw(0.04, menu_around_stub),
    "keyword-stuffing": Flaw(0.04, keyword_stuffing),
    "stub": Flaw(0.03, stub),
    "symbols": Flaw(0.03, symbols),
    "bullet-list": Flaw(0.02, bullet_list),
    "ellipsis-list": Flaw(0.02, ellipsis_list),
    "boilerplate": Flaw(0.04, boilerplate),
    "link-list": Flaw(0.03, link_list),
    "script-page": Flaw(0.03, script_page),
    "other-language": Flaw(0.04, other_language),
    "spam": Flaw(0.04, spam),
}

# A bag of words can learn these. The other flaws are made of good words and would be noise among the poor.
TAUGHT = (
    "mojibake",
    "menu-around-stub",
    "keyword-stuffing",
    "boilerplate",
    "link-list",
    "script-page",
    "other-language",
    "spam",
)


# Copies: the first of its kind is kept, so a copy always stands behind what it was copied from


def exact_copy(rng: random.Random, text: str) -> str:
    """The same characters again."""
    return text


def normalised_copy(rng: random.Random, text: str) -> str:
    """The same words, with other capitals and other white space."""
    text = rng.choice((text, text.upper(), text.lower()))
    return rng.choice(("  ", "\n", " \t")).join(text.split()) + "\n"


def near_copy(rng: random.Random, text: str) -> str:
    """The same text with two to four words left out."""
    for _ in range(rng.randint(2, 4)):
        gaps = [found.start() for found in re.finditer(r" \w+(?= )", text)]
        at = rng.choice(gaps)
        text = text[:at] + text[text.index(" ", at + 1) :]
    return text


class CopyOf(NamedTuple):
    """Which share of all documents it makes up, and the function that copies a text."""

    share: float
    make: Callable[[random.Random, str], str]


COPIES = {
    "exact-copy": CopyOf(0.05, exact_copy),
    "normalised-copy": CopyOf(0.04, normalised_copy),
    "near-copy": CopyOf(0.02, near_copy),
}
