from __future__ import annotations

import gzip
import importlib
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers import ROOT

QUICKSTART = ROOT / "configs" / "quickstart"
DOCUMENTS = 500


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(QUICKSTART))
        yield importlib.import_module("generate")
    for name in ("generate", "flaws"):
        del sys.modules[name]


@pytest.fixture(scope="module")
def out(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    generator.generate(folder, documents=DOCUMENTS)
    return folder


def pool_lines(folder: Path) -> list[bytes]:
    lines: list[bytes] = []
    for path in sorted((folder / "pool").iterdir()):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines += data.splitlines(keepends=False)
    return lines


def pool_rows(folder: Path) -> list[dict[str, str | None]]:
    rows = []
    for line in pool_lines(folder):
        try:
            row = json.loads(line.decode("utf-8"))
        except ValueError:
            continue
        if row["text"] is not None:
            rows.append(row)
    return rows


def train_texts(folder: Path, side: str) -> list[str]:
    return [json.loads(line)["text"] for line in (folder / "train" / f"{side}.jsonl").read_bytes().splitlines()]


def base(side: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (QUICKSTART / "data" / f"{side}.jsonl").read_bytes().splitlines()]


def shingles(text: str, words: int) -> set[tuple[str, ...]]:
    found = text.casefold().split()
    return {tuple(found[at : at + words]) for at in range(len(found) - words + 1)}


def normal(text: str | None) -> str:
    return " ".join((text or "").casefold().split())


def test_the_command_gives_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        command = [
            sys.executable,
            str(QUICKSTART / "generate.py"),
            str(tmp_path / seed),
            "--documents",
            "300",
        ]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True)
    one, two = (
        {p.relative_to(r): p.read_bytes() for p in sorted(r.rglob("*")) if p.is_file()}
        for r in (tmp_path / "1", tmp_path / "2")
    )
    assert len(one) == 7
    assert one == two


def test_another_seed_gives_another_pool_and_another_split(generator: ModuleType, out: Path, tmp_path: Path) -> None:
    generator.generate(tmp_path, documents=DOCUMENTS, seed=8)
    assert set(train_texts(out, "good")) != set(train_texts(tmp_path, "good"))
    assert pool_lines(out) != pool_lines(tmp_path)


def test_truth_json_counts_what_is_in_the_files(out: Path) -> None:
    truth = json.loads((out / "truth.json").read_bytes())
    rows = pool_rows(out)
    assert truth["documents"] == len(rows) == DOCUMENTS
    assert truth["by_truth"] == Counter(row["truth"] for row in rows)
    assert truth["by_flaw"] == Counter(row["flaw"] for row in rows if row["flaw"])
    assert truth["lines"] == len(pool_lines(out)) == DOCUMENTS + sum(truth["broken"].values())
    assert truth["train"] == {side: len(train_texts(out, side)) for side in ("good", "poor")}


def test_every_flaw_occurs_and_a_row_is_dropped_exactly_when_it_has_one(generator: ModuleType, out: Path) -> None:
    rows = pool_rows(out)
    assert {row["flaw"] for row in rows} == {None, "one-character", *generator.FLAWS, *generator.COPIES}
    assert all((row["truth"] == "drop") == (row["flaw"] is not None) for row in rows)
    assert 0.4 < sum(row["truth"] == "keep" for row in rows) / len(rows) < 0.5
    assert sum(row["flaw"] == "near-copy" for row in rows) == round(0.02 * DOCUMENTS)


def test_the_broken_lines_are_broken_as_they_are_named(out: Path) -> None:
    found: Counter[str] = Counter()
    for line in pool_lines(out):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            found["invalid-utf8"] += 1
            continue
        try:
            found["null-text"] += json.loads(text)["text"] is None
        except json.JSONDecodeError:
            found["truncated-json"] += 1
    assert found == {"null-text": 3, "truncated-json": 2, "invalid-utf8": 2}
    assert found == json.loads((out / "truth.json").read_bytes())["broken"]


def test_the_training_sets_share_no_passage_with_the_pool(out: Path) -> None:
    pool = set().union(*(shingles(row["text"] or "", 8) for row in pool_rows(out)))
    for side in ("good", "poor"):
        assert not pool & set().union(*(shingles(text, 8) for text in train_texts(out, side)))


def test_every_kind_and_language_is_on_both_sides_of_the_split(generator: ModuleType) -> None:
    pool, train = generator.split_base(7)
    for left, right in ((pool.good, train.good), (pool.poor, train.poor)):
        assert {(b.kind, b.language) for b in left} == {(b.kind, b.language) for b in right}
        assert not {b.title for b in left} & {b.title for b in right}


def test_a_copy_stands_behind_its_original_and_nothing_else_is_a_copy(out: Path) -> None:
    exact: set[str | None] = set()
    normalised: set[str] = set()
    for row in pool_rows(out):
        assert (normal(row["text"]) in normalised) == (row["flaw"] in ("exact-copy", "normalised-copy"))
        if row["flaw"] == "exact-copy":
            assert row["text"] in exact
        if row["truth"] == "keep":
            exact.add(row["text"])
        normalised.add(normal(row["text"]))


def test_a_normalised_copy_differs_in_its_bytes(out: Path) -> None:
    rows = pool_rows(out)
    originals = {row["text"] for row in rows if row["truth"] == "keep"}
    assert not originals & {row["text"] for row in rows if row["flaw"] == "normalised-copy"}


def test_near_copies_are_near_and_kept_pages_are_not(out: Path) -> None:
    rows = [row for row in pool_rows(out) if row["flaw"] in (None, "near-copy")]
    sets = [shingles(row["text"] or "", 5) for row in rows]
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    nearest = [0.0] * len(rows)
    for right, grams in enumerate(sets):
        for left, shared in Counter(place for gram in grams for place in places[gram]).items():
            nearest[right] = max(nearest[right], shared / len(sets[left] | grams))
        for gram in grams:
            places[gram].append(right)
    assert all(near < 0.75 for near, row in zip(nearest, rows, strict=True) if row["flaw"] is None)
    assert all(near > 0.4 for near, row in zip(nearest, rows, strict=True) if row["flaw"] == "near-copy")


def test_mojibake_can_be_undone_by_reading_it_as_it_was_written(out: Path) -> None:
    garbled = [row["text"] or "" for row in pool_rows(out) if row["flaw"] == "mojibake"]
    decoded = [text.encode("latin-1").decode("utf-8") for text in garbled]
    assert all("Â\u00a0" in text for text in garbled)
    assert not any("Â" in text for text in decoded)


def test_urls_are_unique_and_belong_to_nobody(out: Path) -> None:
    urls = [row["url"] or "" for row in pool_rows(out)]
    assert len(set(urls)) == len(urls)
    assert all(url.startswith("https://example.com/") for url in urls)


def test_good_paragraphs_are_in_the_training_set_once(out: Path) -> None:
    texts = train_texts(out, "good")
    assert len(set(texts)) == len(texts)
    assert len(train_texts(out, "poor")) == len(texts)


@pytest.mark.parametrize("documents", [-1, 0, 99])
def test_a_pool_too_small_for_every_flaw_is_refused(generator: ModuleType, tmp_path: Path, documents: int) -> None:
    with pytest.raises(ValueError, match="ask for 100 or more"):
        generator.generate(tmp_path, documents=documents)
    assert not list(tmp_path.iterdir())


def test_more_pages_than_the_texts_can_give_are_refused(generator: ModuleType) -> None:
    few = [row for row in generator.read_base("good") if row.kind == "explanation"][:4]
    with pytest.raises(ValueError, match="distinct good pages: ask for fewer"):
        generator.good_pages(generator.random.Random(1), few, 200)


@pytest.mark.parametrize("side", ["good", "poor"])
def test_the_base_has_no_duplicates_and_stays_small(side: str) -> None:
    rows = base(side)
    assert (QUICKSTART / "data" / f"{side}.jsonl").stat().st_size < 400_000
    assert all(row.keys() == {"text", "kind", "title", "language", "worth"} and row["worth"] == side for row in rows)
    assert len({row["title"] for row in rows}) == len(rows)
    parts = [normal(part) for row in rows for part in row["text"].split("\n\n")]
    assert len(set(parts)) == len(parts)
    assert all(row["text"] == row["text"].strip() for row in rows)


def test_the_base_documents_keep_to_their_lengths() -> None:
    good, poor = base("good"), base("poor")
    assert len(good) >= 90 and len(poor) >= 60
    assert all(80 <= len(row["text"].split()) <= 360 for row in good)
    assert all(80 <= len(row["text"]) <= 1500 for row in poor)
    assert {row["language"] for row in good} == {"en"}
    assert {"de", "fr", "es", "it", "pt", "nl", "pl", "sv", "ja"} <= {row["language"] for row in poor}


def test_addresses_and_numbers_in_the_base_belong_to_nobody() -> None:
    text = "\n".join(row["text"] for side in ("good", "poor") for row in base(side))
    mails = re.findall(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)", text)
    hosts = re.findall(r"(?:https?://|www\.)([\w.-]+)", text)
    phones = re.findall(r"\b\d{3}-\d{4}\b", text)
    addresses = re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", text)
    assert len(mails) > 10 and set(mails) | set(hosts) <= {"example.com", "example.org", "example.net"}
    assert phones and all(phone[:3] == "555" and phone[4:6] == "01" for phone in phones)
    assert addresses and all(a.startswith(("192.0.2.", "198.51.100.", "203.0.113.")) for a in addresses)


def test_some_good_documents_carry_an_address_for_the_redaction_to_find(out: Path) -> None:
    assert sum("@example." in row["text"] for row in base("good")) >= 5
    assert sum("@example." in (row["text"] or "") for row in pool_rows(out) if row["truth"] == "keep") >= 5
