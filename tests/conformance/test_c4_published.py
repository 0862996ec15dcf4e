"""data-prep-kit's C4 annotator, its published output for twelve pages of Common Crawl.

It runs datatrove's filter (3 words a line, 5 sentences a page: the paper's numbers), then mC4's paragraph rule on
the text as it came, which is the column `three_long_lines` here. It stops counting at the line that drops a page; here every line is counted, so
the comparison is made on the text up to that line. It also takes an apostrophe as the end of a sentence,
which C4's code and the paper do not: that is one line of one page.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import zstandard

from curate.steps.clean.c4 import c4 as clean_c4
from curate.steps.score.c4 import c4 as score_c4
from curate.text.batch import TextBatch

COLUMNS = {
    "line-total": "lines",
    "line-kept": "lines_kept",
    "line-filter-too_long_word": "removed_long_word",
    "line-filter-no_terminal_punc": "removed_no_terminal_punctuation",
    "line-filter-too_few_words": "removed_too_few_words",
    "line-filter-javascript": "removed_javascript",
    "line-filter-policy": "removed_policy",
}
ENDS_IN_APOSTROPHE = "cb15a3097a06f8924e023339b825df41546b2c6f394d6677421f78d5393cfed3"
DROPS_AT_A_LINE = ("drop_lorem_ipsum", "drop_curly_bracket")
PARAGRAPH_RULE = ("drop_too_few_paragraphs", "drop_too_short_paragraphs")


@pytest.fixture(scope="module")
def pages(shared: Path) -> list[dict[str, str]]:
    with (shared / "data" / "cc_c4_annot_dpk.dev.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        return [json.loads(line) for line in lines]


def test_line_counts_equal_the_published_ones(pages: list[dict[str, str]]) -> None:
    different = []
    for page in pages:
        published = json.loads(page["doc_stats"])
        text = page["text"]
        if page["drop_reason"] in DROPS_AT_A_LINE:
            text = "\n".join(text.splitlines()[: published["line-total"]])
        columns = score_c4(variant="paper")(TextBatch.of([text]))
        counts = {name: columns[ours][0].as_py() for name, ours in COLUMNS.items()}
        if page["drop_reason"] in DROPS_AT_A_LINE:
            counts["line-kept"] -= 1  # the line that drops the page stays here
        if {name: count for name, count in counts.items() if count} != published:
            different.append(page["document_id"])
    assert different == [ENDS_IN_APOSTROPHE]


def test_the_page_that_differs_does_so_by_one_line_that_ends_in_an_apostrophe(
    pages: list[dict[str, str]],
) -> None:
    page = next(page for page in pages if page["document_id"] == ENDS_IN_APOSTROPHE)
    columns = score_c4(variant="paper")(TextBatch.of([page["text"]]))
    published = json.loads(page["doc_stats"])
    assert columns["lines_kept"][0].as_py() == published["line-kept"] - 1
    assert columns["removed_no_terminal_punctuation"][0].as_py() == published["line-filter-no_terminal_punc"] + 1
    assert sum(line.strip().endswith("'") for line in page["text"].splitlines()) == 1


def test_drop_reasons_equal_the_published_ones(pages: list[dict[str, str]]) -> None:
    columns = score_c4(variant="paper")(TextBatch.of([page["text"] for page in pages]))
    reasons = columns["reason"].to_pylist()
    for page, reason, long_lines in zip(pages, reasons, columns["three_long_lines"].to_pylist(), strict=True):
        published = page["drop_reason"]
        if published in PARAGRAPH_RULE:
            assert reason is None, page["url"]
            assert not long_lines, page["url"]
        else:
            assert reason == (published.removeprefix("drop_") or None), page["url"]
            assert long_lines or reason is not None, page["url"]
    assert sum(page["drop_reason"] in PARAGRAPH_RULE for page in pages) == 2


def test_cleaned_text_equals_the_published_one(pages: list[dict[str, str]]) -> None:
    kept = [page for page in pages if page["drop_reason"] == ""]
    cleaned, _ = clean_c4(variant="paper")(TextBatch.of([page["text"] for page in kept]))
    assert len(kept) == 5
    assert cleaned.to_pylist() == [page["clean_contents"] for page in kept]
