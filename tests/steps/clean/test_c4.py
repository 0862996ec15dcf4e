from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.clean import CLEANERS
from curate.steps.clean.c4 import c4
from curate.steps.score.c4 import c4 as score_c4
from curate.text.batch import TextBatch

PROSE = "This is a line that reads as prose."


def cleaned(text: str, **arguments: object) -> str:
    return c4(**arguments)(TextBatch.of([text]))[0][0].as_py()  # type: ignore[arg-type, no-any-return]  # shortened


def test_lines_that_stay_are_stripped_and_joined() -> None:
    text = f"Home | About\r\n  {PROSE}\t\n\nClick here!\n{PROSE}\u2028{PROSE}\n"
    assert cleaned(text) == "\n".join([PROSE] * 3)


@pytest.mark.parametrize(
    ("line", "edited"),
    [
        ("The house was built[1] in 1910.[2][13] It stands.", "The house was built in 1910. It stands."),
        ("The house was built here.[citation needed]", "The house was built here."),
        ("The house was built here. [edit]", "The house was built here."),
        ("The house was [] built here.", "The house was  built here."),
        ("The house was built[[1]2] here.", "The house was built here."),
        ("The house was built[a] and [Edit] here[1.", "The house was built[a] and [Edit] here[1."),
        ("The house was built here] in 1]2].", "The house was built here] in 1]2]."),
    ],
)
def test_citations_are_removed_from_lines_that_stay(line: str, edited: str) -> None:
    assert cleaned(line) == edited


def test_a_document_to_be_dropped_keeps_its_cleaned_text() -> None:
    text, columns = c4()(TextBatch.of([f"Menu\n{PROSE}\nThere is one {{ in this line."]))
    assert text.to_pylist() == [f"{PROSE}\nThere is one {{ in this line."]
    assert columns["reason"].to_pylist() == ["curly_bracket"]


def test_null_stays_null_and_a_text_without_prose_becomes_empty() -> None:
    text, columns = c4()(TextBatch.of([None, "Menu", PROSE, None]))
    assert text.type == pa.large_string()
    assert text.to_pylist() == [None, "", PROSE, None]
    assert columns["lines"].to_pylist() == [0, 1, 1, 0]


def test_a_slice_and_no_rows_at_all_are_cleaned() -> None:
    texts = pa.array(["Menu", PROSE + "[1]", None, PROSE], type=pa.string())
    assert c4()(TextBatch(texts.slice(1, 2)))[0].to_pylist() == [PROSE, None]
    assert c4()(TextBatch(texts.slice(0, 0)))[0].to_pylist() == []


def test_invalid_utf8_is_kept_as_it_is() -> None:
    texts = pa.array([PROSE[:-1].encode() + b"\xff\xe2.\n\xe2\x80"], type=pa.large_binary())
    text, _ = c4()(TextBatch(texts.view(pa.large_string())))
    assert text.view(pa.large_binary()).to_pylist() == [PROSE[:-1].encode() + b"\xff\xe2."]


def test_the_cleaner_is_in_the_table() -> None:
    assert CLEANERS["c4"] is c4


pieces = st.sampled_from(
    [
        "This is a line that reads as prose.",
        "privacy policy",
        "javascript",
        "lorem ipsum",
        "{",
        "[",
        "]",
        "1",
        "[2]",
        "[edit]",
        "[citation needed]",
        "edit",
        " ",
        "\u00a0",
        "\n",
        "\r",
        "\u2028",
        ".",
        "...",
        "?",
        "word ",
        "ü",
        "x" * 600,
    ]
)


@given(st.lists(st.lists(pieces, max_size=12).map("".join), max_size=4), st.booleans())
def test_cleaning_twice_is_cleaning_once(texts: list[str], terminal: bool) -> None:
    clean = c4(variant="paper", terminal_punctuation=terminal)
    once, first = clean(TextBatch.of(texts))
    twice, second = clean(TextBatch(once))
    assert twice.equals(once)
    assert second["reason"].equals(first["reason"])
    assert second["lines_kept"].equals(first["lines_kept"])
    assert second["lines"].equals(first["lines_kept"])


def test_on_web_pages_the_cleaner_counts_what_the_scorer_counts_under_any_batching(shared: Path) -> None:
    with (shared / "data" / "web_wet_trafilatura.dev.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        texts = [json.loads(line)["text"] for line in lines]
    text, columns = c4()(TextBatch.of(texts))
    scored = score_c4()(TextBatch.of(texts))
    assert columns.keys() == scored.keys()
    assert all(columns[name].equals(scored[name]) for name in columns)
    parts = [c4()(TextBatch.of(list(part)))[0] for part in np.array_split(np.array(texts, dtype=object), 7)]
    assert pa.concat_arrays(parts).equals(text)
    assert c4()(TextBatch(text))[0].equals(text)
    kept = [len(edited.splitlines()) for edited in text.to_pylist()]
    assert kept == columns["lines_kept"].to_pylist()
