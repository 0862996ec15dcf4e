from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from curate.core.dataset import Dataset
from curate.report.build import build_report
from tests.helpers import dataset
from tests.steps.release.small import HOSTILE, RULES, Small, small_run, texts, write_inputs


class Page(HTMLParser):
    """The tags of a page and the text between them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def section(source: str, name: str) -> str:
    return re.split(r"<section id=\"|</section>", source)[
        next(i for i, part in enumerate(re.split(r"<section id=\"|</section>", source)) if part.startswith(f'{name}"'))
    ]


def funnel(source: str) -> dict[str, int]:
    part = section(source, "funnel")
    names = [html.unescape(n) for n in re.findall(r'<span class="name[^"]*">([^<]*)</span>', part)]
    counts = [int(n.replace(",", "")) for n in re.findall(r'<span class="number[^"]*">([\d,]+)</span>', part)]
    return dict(zip(names, counts, strict=True))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("report")
    run = small_run(folder / "demo", write_inputs(folder / "in", texts()))
    run.release()
    return run


@pytest.fixture(scope="module")
def source(small: Small) -> str:
    return build_report("demo", small.done)


def test_the_funnel_adds_up_to_what_was_read(source: str) -> None:
    counts = funnel(source)
    assert counts == {
        "read": 61,
        "quarantined in docs: json": 1,
        "quarantined in scores: ValueError": 1,
        "exact-duplicate": 6,
        "too-short": 11,
        "share-high": 6,
        "kept": 36,
    }
    assert counts.pop("read") == sum(counts.values())


def test_the_first_sentence_says_what_was_kept(source: str) -> None:
    assert (
        "Of 61 records, 36 (59.0 %) were kept; 6 were duplicates, 17 were dropped by 2 rules and 2 could not be processed."
    ) in Page(source).text


def test_hostile_text_is_shown_as_text(source: str, small: Small) -> None:
    page = Page(source)
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "iframe", "object", "link")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    dropped = small_run(
        small.root.parent / "hostile", write_inputs(small.root.parent / "hostile-in", [HOSTILE, "short"], 1)
    )
    shown = build_report("<b>demo</b>", dropped.done)
    assert "<script" not in shown
    assert "<b>" not in shown
    assert '<script>alert("x")</script> & <img src=x onerror=alert(1)>' in Page(shown).text


def test_controls_and_marks_of_direction_are_made_visible(tmp_path: Path) -> None:
    documents = ["evil \u202e txet desrever\x00 \x1b[31m"] * 3 + ["fine words " * 20] * 3
    run = small_run(tmp_path / "demo", write_inputs(tmp_path / "in", documents, 1), rules=RULES[:1])
    shown = build_report("demo", run.done)
    assert "evil \ufffd txet desrever\ufffd \ufffd[31m" in shown
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e]", shown)


def test_the_page_needs_no_network_and_no_script(source: str) -> None:
    page = Page(source)
    links = [value for _, a in page.tags for name, value in a.items() if name in ("src", "href") and value]
    assert all(link.startswith("#") for link in links)
    assert "url(" not in source
    assert "@import" not in source
    ids = {a["id"] for _, a in page.tags if "id" in a}
    assert {link[1:] for link in links} <= ids


def test_a_histogram_has_the_kept_and_the_dropped_and_its_threshold(source: str, small: Small) -> None:
    figures = section(source, "scores").split("<figure")[1:]
    length = next(figure for figure in figures if ">length</h3>" in figure)
    assert 'class="kept"' in length
    assert 'class="dropped"' in length
    assert "≥ 100</text>" in length
    assert "≥ 100: 11 dropped" in length
    values = [
        row
        for shard in small.done["scores"].shards
        for b in small.done["scores"].read(shard)
        for row in b.column("length").to_pylist()
    ]
    assert f"min {min(values)} " in length
    assert f"max {max(values)}" in length


def test_the_documents_nearest_to_a_threshold_are_on_their_sides_of_it(source: str, small: Small) -> None:
    lengths = sorted({len(text) for text in texts()})
    below = [n for n in lengths if n < 100][-1]
    above = next(n for n in lengths if n >= 100)
    edge = next(part for part in section(source, "thresholds").split("<details")[1:] if "too-short" in part)
    failed, passed = edge.split("just let through")
    assert f">{below} · <code>" in failed
    assert f">{above} · kept · <code>" in passed
    assert passed.count('<div class="doc">') == failed.count('<div class="doc">') == 3


def test_every_rule_that_dropped_something_has_samples(source: str) -> None:
    parts = section(source, "samples").split("<details")[1:]
    assert [re.search(r'strong">([^<]*)<', part)[1] for part in parts] == [
        "exact-duplicate",
        "too-short",
        "share-high",
    ]
    assert all(part.count('<div class="doc">') == 2 for part in parts)


def test_rules_are_listed_with_first_and_all_failures(source: str) -> None:
    rows = re.findall(
        r"<tr[^>]*><td[^>]*>([^<]*)</td><td[^>]*>([^<]*)</td><td[^>]*>(\d+)</td><td[^>]*>(\d+)</td></tr>",
        section(source, "rules"),
    )
    assert [(name, html.unescape(says), int(first), int(every)) for name, says, first, every in rows][:2] == [
        ("exact-duplicate", "kept by an earlier step", 6, 6),
        ("too-short", "length ≥ 100", 11, 12),
    ]


def test_quarantined_rows_are_reported_with_error_message_and_source(source: str) -> None:
    text = Page(section(source, "quarantine")).text
    assert "scores ValueError cannot measure this one in-0.jsonl" in text
    assert "docs json " in text


def test_errors_that_differ_in_numbers_alone_are_one_line(tmp_path: Path) -> None:
    folder = write_inputs(tmp_path / "in", texts(12), 1)
    with (folder / "in-0.jsonl").open("a") as out:
        out.write('{"text": broken too\n')
    run = Small(tmp_path / "demo")
    run.read(folder)
    table = section(build_report("demo", run.done), "quarantine")
    assert table.count("<td>json</td>") == 1
    assert '<td class="number">2</td>' in table


def test_a_run_without_a_release_tells_the_same_funnel(small: Small, source: str) -> None:
    unreleased = {name: each for name, each in small.done.items() if name != "out"}
    assert funnel(build_report("demo", unreleased)) == funnel(source)


def test_a_run_that_only_read_keeps_everything_it_read(small: Small) -> None:
    counts = funnel(build_report("demo", {"docs": small.done["docs"]}))
    assert counts == {"read": 61, "quarantined in docs: json": 1, "kept": 60}


def test_duplicates_alone_are_counted(small: Small) -> None:
    counts = funnel(build_report("demo", {name: small.done[name] for name in ("docs", "dups")}))
    assert counts == {"read": 61, "quarantined in docs: json": 1, "exact-duplicate": 6, "kept": 54}


def test_the_same_run_gives_the_same_page(small: Small, source: str) -> None:
    again = {name: Dataset.open(each.folder) for name, each in small.done.items()}
    assert build_report("demo", again) == source


def test_the_report_of_nothing_but_a_model_is_a_page(tmp_path: Path) -> None:
    model = dataset(tmp_path / "model", {"text": ["a"]}, kind="train")
    assert "Nothing but models was made." in build_report("demo", {"model": model})
