"""Make a pool of web-like documents whose worth is known, and a training set that shares nothing with it.

The base documents in `data/` were written for this project (CC0). A seeded hash cuts them into two halves.
One half becomes `train/good.jsonl` and `train/poor.jsonl`. The other becomes `pool/part-*.jsonl[.gz]`: pages
put together from good paragraphs, and pages spoilt in ways that have a name (`flaws.py`). Every row says in
`truth` and `flaw` what it is, so that a filter can be marked. The same arguments give the same bytes.

    python configs/quickstart/generate.py runs/quickstart-data --documents 3000 --seed 7
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from flaws import COPIES, FLAWS, SENTENCE, TAUGHT, Base, Half, Page

DATA = Path(__file__).resolve().parent / "data"
PARTS = ("part-00000.jsonl", "part-00001.jsonl.gz", "part-00002.jsonl", "part-00003.jsonl.gz")
GROUPS = ({"explanation", "howto", "reference"}, {"story", "letter", "dialogue"})
SITES = ("archive", "blog", "library", "notes", "pages")
MOST_SHARED = 0.5  # of the paragraphs of two pages together: above it they would be near copies of each other
FEWEST_WORDS, MOST_WORDS = 75, 420
CLUTTERED = 0.15  # of the good pages have a few lines left over from the site around them


def read_base(name: str) -> list[Base]:
    """The documents of `data/<name>.jsonl`."""
    with (DATA / f"{name}.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Base(row["text"], row["kind"], row["title"], row["language"]) for row in rows]


def split_base(seed: int) -> tuple[Half, Half]:
    """The base documents of the pool and those of the training sets: each kind and language is halved."""

    def halve(documents: Sequence[Base]) -> tuple[list[Base], list[Base]]:
        groups: dict[tuple[str, str], list[Base]] = defaultdict(list)
        for base in documents:
            groups[base.kind, base.language].append(base)
        halves: tuple[list[Base], list[Base]] = ([], [])
        for group in groups.values():
            group.sort(key=lambda base: hashlib.sha256(f"{seed}:{base.title}".encode()).digest())
            for place, base in enumerate(group):
                halves[place % 2].append(base)
        return halves

    pool_good, train_good = halve(read_base("good"))
    pool_poor, train_poor = halve(read_base("poor"))
    return Half(pool_good, pool_poor), Half(train_good, train_poor)


def good_pages(rng: random.Random, documents: Sequence[Base], count: int) -> list[Page]:
    """Pages of one to three passages each; no two pages share more than half of their paragraphs."""
    shelves = [[base for base in documents if base.kind in group] for group in GROUPS]
    pages: list[Page] = []
    parts: list[frozenset[str]] = []  # the paragraphs of each page
    seen_in: dict[str, list[int]] = defaultdict(list)  # the pages of each paragraph
    for _ in range(200 * count):
        if len(pages) == count:
            return pages
        shelf = rng.choices(shelves, weights=[len(shelf) for shelf in shelves])[0]
        chosen = rng.sample(shelf, rng.choice((1, 2, 2, 3)))
        passages: list[str] = []
        for base in chosen:
            whole = base.text.split("\n\n")
            start = rng.randrange(len(whole))
            passages += whole[start : start + rng.randint(1, 3)]
        part = frozenset(passages)
        shared = Counter(page for passage in part for page in seen_in[passage])
        if any(n / len(part | parts[page]) > MOST_SHARED for page, n in shared.items()):
            continue
        text = "\n\n".join(without_one_sentence(rng, passage) for passage in passages)
        if not FEWEST_WORDS <= len(text.split()) <= MOST_WORDS:
            continue
        if rng.random() < 0.25:
            text = f"{chosen[0].title}\n\n{text}"
        for passage in part:
            seen_in[passage].append(len(pages))
        parts.append(part)
        pages.append(Page(text, chosen[0].kind))
    raise ValueError(f"these texts give only {len(pages)} distinct good pages: ask for fewer documents")


def without_one_sentence(rng: random.Random, paragraph: str) -> str:
    """The paragraph, or in one case of three the paragraph less one sentence that is not the first."""
    sentences = SENTENCE.split(paragraph)
    if "\n" in paragraph or len(sentences) < 4 or rng.random() > 1 / 3:
        return paragraph
    del sentences[rng.randrange(1, len(sentences))]
    return " ".join(sentences)


def with_clutter(rng: random.Random, page: Page, half: Half) -> Page:
    """The page, now and then with one to four lines at its end that a page of the web would have."""
    if rng.random() > CLUTTERED:
        return page
    lines = rng.sample(half.lines("boilerplate", "navigation", "error"), rng.randint(1, 4))
    return Page("\n".join([page.text, *lines]), page.kind)


def pool_rows(rng: random.Random, half: Half, documents: int) -> list[dict[str, str | None]]:
    """The labelled rows of the pool, in their order."""
    flaws = {name: round(flaw.share * documents) for name, flaw in FLAWS.items()}
    copies = {name: round(copy.share * documents) for name, copy in COPIES.items()}
    keep = documents - 1 - sum(flaws.values()) - sum(copies.values())  # one row is a repeated character
    pages = good_pages(rng, half.good, keep + max(flaws.values()))
    kept, spare = [with_clutter(rng, page, half) for page in pages[:keep]], pages[keep:]
    placed: list[tuple[float, Page, str | None]] = [(rng.random(), page, None) for page in kept]
    for name, count in copies.items():
        for original, page, _ in rng.sample(placed[:keep], count):
            copy = Page(COPIES[name].make(rng, page.text), page.kind)
            placed.append((rng.uniform(original, 1), copy, name))
    seen = {" ".join(page.text.casefold().split()) for page in kept}
    for name, count in flaws.items():
        for number in range(count):
            spoilt = FLAWS[name].make(rng, spare[number], half)
            while " ".join(spoilt.text.casefold().split()) in seen:  # a copy would have two flaws
                spoilt = FLAWS[name].make(rng, rng.choice(spare), half)
            seen.add(" ".join(spoilt.text.casefold().split()))
            placed.append((rng.random(), spoilt, name))
    placed.append((rng.random(), Page("a" * 20_000, "symbols"), "one-character"))
    placed.sort(key=lambda item: item[0])
    return [
        {
            "text": page.text,
            "url": f"https://example.com/{rng.choice(SITES)}/{number:05d}",
            "truth": "drop" if flaw else "keep",
            "flaw": flaw,
            "kind": page.kind,
        }
        for number, (_, page, flaw) in enumerate(placed)
    ]


def broken_lines(row: dict[str, str | None]) -> list[tuple[str, bytes]]:
    """Seven lines that a reader must set aside, each with the name of what is wrong with it."""
    null = {**row, "text": None, "truth": "drop", "flaw": "null-text"}
    accent = {**row, "text": f"Café. {row['text']}", "truth": "drop", "flaw": "invalid-utf8"}
    whole = json.dumps(row)
    lines = [("null-text", json.dumps(null).encode())] * 3
    lines += [("truncated-json", whole[: len(whole) // 2].encode())] * 2
    lines += [("invalid-utf8", json.dumps(accent, ensure_ascii=False).encode().replace(b"\xc3\xa9", b"\xe9"))] * 2
    return [(name, line + b"\n") for name, line in lines]


def training_rows(rng: random.Random, half: Half) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Good paragraphs, each once, so that counts of n-grams are honest; and as many poor pages."""
    good = [{"text": part, "kind": base.kind} for base in half.good for part in base.text.split("\n\n")]
    poor = [{"text": base.text, "kind": base.kind} for base in half.poor]
    pages = good_pages(rng, half.good, len(good))
    for number in range(len(good) - len(poor)):
        name = TAUGHT[number % len(TAUGHT)]
        page = FLAWS[name].make(rng, pages[number], half)
        poor.append({"text": page.text, "kind": page.kind})
    return good, poor


def write_lines(path: Path, lines: Sequence[bytes]) -> None:
    """Write lines, compressed where the name says so; no time and no name go into the bytes."""
    with path.open("wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                packed.writelines(lines)
        else:
            file.writelines(lines)


def as_lines(rows: Sequence[dict[str, str | None]] | Sequence[dict[str, str]]) -> list[bytes]:
    """One line of JSON a row."""
    return [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]


def generate(out_dir: str | Path, documents: int = 3000, seed: int = 7) -> dict[str, object]:
    """Write `pool/`, `train/` and `truth.json` under `out_dir`, and return what `truth.json` says.

    `documents` counts the labelled rows of the pool; the broken lines come on top. Raises ValueError where it
    is under 100, or more than the base documents can give.
    """
    if documents < 100:
        raise ValueError(f"--documents is {documents}: ask for 100 or more, so that every flaw occurs")
    out = Path(out_dir)
    for folder in ("pool", "train"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    pool, train = split_base(seed)
    rng = random.Random(f"pool {seed}")
    rows = pool_rows(rng, pool, documents)
    lines = as_lines(rows)
    broken = broken_lines(rows[0])
    for _, line in broken:
        lines.insert(rng.randrange(1, len(lines)), line)
    cuts = [len(lines) * number // len(PARTS) for number in range(len(PARTS) + 1)]
    for name, start, stop in zip(PARTS, cuts, cuts[1:], strict=False):
        write_lines(out / "pool" / name, lines[start:stop])
    good, poor = training_rows(random.Random(f"train {seed}"), train)
    write_lines(out / "train" / "good.jsonl", as_lines(good))
    write_lines(out / "train" / "poor.jsonl", as_lines(poor))
    truth: dict[str, object] = {
        "seed": seed,
        "documents": len(rows),
        "lines": len(lines),
        "by_truth": dict(sorted(Counter(row["truth"] or "" for row in rows).items())),
        "by_flaw": dict(sorted(Counter(row["flaw"] for row in rows if row["flaw"]).items())),
        "broken": dict(sorted(Counter(name for name, _ in broken).items())),
        "train": {"good": len(good), "poor": len(poor)},
    }
    (out / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    return truth


def main() -> None:
    """Read the command line and generate."""
    parser = argparse.ArgumentParser(description="Make a pool of documents whose worth is known.")
    parser.add_argument("out", help="folder to write into")
    parser.add_argument("--documents", type=int, default=3000, help="labelled rows in the pool (3000)")
    parser.add_argument("--seed", type=int, default=7, help="another seed gives another pool (7)")
    arguments = parser.parse_args()
    try:
        truth = generate(arguments.out, arguments.documents, arguments.seed)
    except ValueError as error:
        parser.error(str(error))
    worth, lines = truth["by_truth"], truth["lines"]
    assert isinstance(worth, dict)
    print(f"{arguments.out}: {lines:,} lines, {worth['keep']:,} good, {worth['drop']:,} spoilt, the rest broken")


if __name__ == "__main__":
    main()
