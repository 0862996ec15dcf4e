from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.score.fineweb import fineweb
from curate.text.batch import TextBatch
from curate.text.props import PROPS, TERMINAL
from tests.steps.score.gopher_reference import SPACE, ratio, seen_before
from tests.text.reference import TEXTS, batch_of_bytes, words_of

NAMES = ("line_punct", "short_lines", "dup_line_chars", "newlines_per_word")


def reference(text: str, words: int) -> list[float]:
    lines = [line for line in text.split("\n") if line.strip(SPACE)]
    punctuated = sum(bool(PROPS[ord(line[-1])] & TERMINAL) for line in lines)
    return [
        ratio(punctuated, len(lines)),
        ratio(sum(len(line) <= 30 for line in lines), len(lines)),
        ratio(sum(map(len, seen_before(lines))), len(text.replace("\n", ""))),
        text.count("\n") / max(words, 1),
    ]


@given(st.lists(TEXTS, max_size=4))
def test_fractions_are_those_of_the_reference(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = fineweb()(batch)
    for row, text in enumerate(texts):
        expected = reference(text, len(words_of(batch, row, "treebank")))
        assert [found[name][row].as_py() for name in NAMES] == pytest.approx(expected, abs=1e-12)


def test_a_line_ends_in_the_punctuation_of_any_script() -> None:
    for mark in ".?!。？！۔।؟։።…":
        found = fineweb()(TextBatch.of([f"line{mark}"]))["line_punct"][0].as_py()
        assert found == (0.0 if mark == "…" else 1.0)


def test_terminal_punctuation_is_sentence_terminal_but_for_later_changes() -> None:
    unicode = {code for code in range(0x110000) if regex.match(r"\p{STerm}", chr(code))}
    ours = {code for code in range(0x110000) if PROPS[code] & TERMINAL}
    assert len(ours) == 159
    assert ours - unicode == {0x17D6, 0x17D9, 0x17DA}
    assert len(unicode - ours) <= 32


def test_an_empty_text_gives_zeros_and_an_empty_batch_no_rows() -> None:
    assert [column.to_pylist() for column in fineweb()(TextBatch.of(["", None])).values()] == [[0.0, 0.0]] * 4
    assert [len(column) for column in fineweb()(TextBatch.of([])).values()] == [0] * 4


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_invalid_utf8_gives_a_value_for_each_row(texts: list[bytes]) -> None:
    found = fineweb()(batch_of_bytes(texts))
    assert all(len(column) == len(texts) and column.null_count == 0 for column in found.values())
