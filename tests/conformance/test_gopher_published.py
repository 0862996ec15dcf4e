"""Gopher's numbers against values that others have published for the same texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.steps.score.gopher import gopher_quality, gopher_repetition
from curate.text.batch import TextBatch
from curate.text.sentences import count_sentences
from tests.conformance.published import LINES_LOST, TEXT_LOST, annotator, page_text, rows

LINE_COLUMNS = {"dup_lines": "dup_line_frac", "dup_line_chars": "dup_line_char_frac"}
COLUMNS = {
    "dup_paragraphs": "dup_para_frac",
    "dup_paragraph_chars": "dup_para_char_frac",
    **{f"top_{n}_gram": f"top_{n}_grams" for n in range(2, 5)},
    **{f"dup_{n}_gram": f"dup_{n}_grams" for n in range(5, 11)},
}


def test_repetition_is_that_of_the_datatrove_filter_in_data_prep_kit(shared: Path) -> None:
    published = annotator(shared, "gopher_repetition_annotator")
    found = gopher_repetition(variant="datatrove")(TextBatch.of([page_text(row["contents"]) for row in published]))
    compared = 0
    for place, row in enumerate(published):
        if place in TEXT_LOST:
            continue
        names = COLUMNS if place in LINES_LOST else COLUMNS | LINE_COLUMNS
        values = {name: found[name][place].as_py() for name in names}
        assert values == pytest.approx({name: row[theirs] for name, theirs in names.items()}, abs=1e-9)
        compared += len(values)
    assert compared == 9 * len(COLUMNS) + 4 * len(LINE_COLUMNS)


# How many of the 39 documents have the same value, and why the others have not.
DOCUMENT_QUALITY = {
    "words": ("docq_total_words", 39, ""),
    "mean_word_length": ("docq_mean_word_len", 39, ""),
    "bullet_lines": ("docq_bullet_point_ratio", 39, ""),
    "alpha_words": ("docq_alphabet_word_ratio", 39, ""),
    "ellipsis_lines": ("docq_ellipsis_line_ratio", 34, "theirs is `...`, Dolma's the sign U+2026"),
    "hash_ratio": ("docq_symbol_to_word_ratio", 33, "theirs also counts words with `...`"),
}


@pytest.mark.parametrize("name", DOCUMENT_QUALITY)
def test_quality_is_that_of_data_prep_kit_where_the_definitions_agree(shared: Path, name: str) -> None:
    theirs, agreeing, _ = DOCUMENT_QUALITY[name]
    published = rows(shared, "cc_docq_kenlm_dpk.dev.jsonl.zst")
    batch = TextBatch.of([row["contents"] for row in published])
    found = np.array(gopher_quality(variant="dolma")(batch)[name])
    same = np.abs(found - [row[theirs] for row in published]) < 1e-9
    assert same.sum() == agreeing


def test_where_a_symbol_is_an_ellipsis_the_words_with_it_make_up_the_difference(shared: Path) -> None:
    published = rows(shared, "cc_docq_kenlm_dpk.dev.jsonl.zst")
    for row in published:
        words = row["contents"].split()
        with_either = sum("#" in word or "..." in word for word in words)
        assert with_either / len(words) == pytest.approx(row["docq_symbol_to_word_ratio"], abs=1e-9)
    batch = TextBatch.of([row["contents"].replace("...", "…") for row in published])
    found = gopher_quality(variant="dolma")(batch)
    for place, row in enumerate(published):
        hashes, ellipses = found["hash_ratio"][place].as_py(), found["ellipsis_ratio"][place].as_py()
        theirs = row["docq_symbol_to_word_ratio"]
        if "…" not in row["contents"]:
            assert max(hashes, ellipses) - 1e-9 <= theirs <= hashes + ellipses + 1e-9
            assert found["ellipsis_lines"][place].as_py() == pytest.approx(row["docq_ellipsis_line_ratio"])


def test_texts_of_one_sentence_a_line_have_as_many_sentences_as_published(shared: Path) -> None:
    # Their splitter also ends a sentence at a line feed, which Punkt and ours do not.
    published = rows(shared, "cc_docq_kenlm_dpk.dev.jsonl.zst")
    batch = TextBatch.of([row["contents"] for row in published])
    found = [
        count_sentences(batch.data, batch.bits(), start, end)
        for start, end in zip(batch.offsets, batch.offsets[1:], strict=False)
    ]
    assert all(ours <= row["docq_sentence_count"] for ours, row in zip(found, published, strict=True))
    assert sum(ours == row["docq_sentence_count"] for ours, row in zip(found, published, strict=True)) >= 17


def test_statistics_of_gneissweb_agree_where_their_words_do_not_enter(shared: Path) -> None:
    # Their words are those of spaCy, lower-cased and without punctuation for n-grams. Line feeds were written
    # as a backslash and an n before the statistics were made, so that each text is one line.
    published = rows(shared, "web_gopher_stats_dpk.dev.jsonl.zst")
    batch = TextBatch.of([row["text"] for row in published])
    found = gopher_repetition(variant="datatrove")(batch)
    quality = gopher_quality(variant="datatrove")(batch)
    lines, words = batch.lines(), np.diff(batch.words("treebank").offsets)
    for place, row in enumerate(published):
        assert lines.offsets[place + 1] - lines.offsets[place] == 1 + row["e_num_newlines"]
        assert lines.chars[place] == row["e_num_chars"] == row["e_total_non_newline_chars"]
        assert found["dup_paragraphs"][place].as_py() == row["e_dup_paragraphs_ratio"]
        assert found["dup_paragraph_chars"][place].as_py() == row["e_dup_paragraphs_char_ratio"]
        hashes = quality["hash_ratio"][place].as_py() * words[place]
        assert hashes == pytest.approx(row["e_hashes_word_ratio"] * row["e_num_words"], abs=1e-9)
    theirs = np.array([row["e_num_words"] for row in published])
    assert np.median(np.abs(words - theirs) / theirs) < 0.02
