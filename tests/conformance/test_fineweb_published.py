"""FineWeb's numbers against values that others have published for the same texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.steps.score.fineweb import fineweb
from curate.text.batch import TextBatch
from tests.conformance.published import LINES_LOST, TEXT_LOST, annotator, page_text

COLUMNS = {
    "line_punct": "frac_line_punct",
    "short_lines": "short_line_frac",
    "dup_line_chars": "dup_line_char_frac",
    "newlines_per_word": "new_line_ratio",
}


def test_fractions_are_those_of_the_fineweb_filter_in_data_prep_kit(shared: Path) -> None:
    published = annotator(shared, "fineweb_quality_annotator")
    found = fineweb()(TextBatch.of([page_text(row["contents"]) for row in published]))
    kept = [place for place in range(len(published)) if place not in LINES_LOST | TEXT_LOST]
    assert len(kept) == 4
    for place in kept:
        values = {name: found[name][place].as_py() for name in COLUMNS}
        expected = {name: published[place][theirs] for name, theirs in COLUMNS.items()}
        assert values == pytest.approx(expected, abs=1e-9)


def test_where_the_lines_are_lost_words_and_published_ratios_give_whole_line_feeds(shared: Path) -> None:
    published = annotator(shared, "fineweb_quality_annotator")
    batch = TextBatch.of([page_text(row["contents"]) for row in published])
    offsets = batch.words("treebank").offsets
    for place in sorted(LINES_LOST):
        feeds = published[place]["new_line_ratio"] * (offsets[place + 1] - offsets[place])
        assert feeds == pytest.approx(round(feeds), abs=1e-9)
        assert feeds > 10
