from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from curate.text import bitmaps as b
from curate.text.batch import TextBatch
from tests.text.reference import TEXTS, WHITE, batch_of_bytes, word_break

RULES: dict[int, Callable[[str], bool]] = {
    b.SPACE: lambda char: bool(WHITE.match(char)),
    b.BLANK: lambda char: char.isspace(),
    b.STOP: lambda char: char in ".?!",
    b.WORD: lambda char: (
        bool(regex.match(r"[\p{L}\p{N}]", char))
        and word_break(char) in ("ALetter", "Numeric")
        and not regex.match(r"[\p{LB=SA}\p{Ideographic}\p{sc=Hira}\p{sc=Kana}]", char)
    ),
}


def marked(batch: TextBatch, kind: int) -> list[bool]:
    return [bool(b.is_set(batch.bits(), kind, at)) for at in range(batch.offsets[0], batch.offsets[-1])]


@pytest.mark.parametrize("kind", RULES)
@given(texts=st.lists(TEXTS | st.text("aé\u2003\x1c\xa0.", max_size=90), max_size=3))
def test_every_byte_of_a_character_of_the_class_is_marked(kind: int, texts: list[str]) -> None:
    expected = [RULES[kind](char) for text in texts for char in text for _ in char.encode()]
    assert marked(TextBatch.of(texts), kind) == expected


@given(st.lists(st.text("a\n\r\x0b\x1d\x85\u2028é", max_size=80), max_size=3))
def test_the_first_byte_is_marked_of_a_character_and_of_the_end_of_a_line(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    firsts = [k == 0 for text in texts for char in text for k in range(len(char.encode()))]
    breaks = [
        k == 0 and len(f"a{char}a".splitlines()) == 2
        for text in texts
        for char in text
        for k in range(len(char.encode()))
    ]
    assert marked(batch, b.START) == firsts
    assert marked(batch, b.BREAK) == breaks


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_as_many_characters_start_in_invalid_utf8_as_python_replaces(texts: list[bytes]) -> None:
    batch = batch_of_bytes(texts)
    for row, text in enumerate(texts):
        found = b.count_set(batch.bits(), b.START, batch.offsets[row], batch.offsets[row + 1])
        assert found == len(text.decode("utf-8", "replace"))


@given(st.text("a ", max_size=200), st.data())
def test_searches_and_counts_are_those_of_a_list(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    bits = TextBatch.of([text]).bits()
    part = text[start:end]
    spaces = [start + k for k, char in enumerate(part) if char == " "]
    others = [start + k for k, char in enumerate(part) if char != " "]
    assert b.next_set(bits, b.SPACE, start, end) == min(spaces, default=end)
    assert b.next_clear(bits, b.SPACE, start, end) == min(others, default=end)
    assert b.previous_set(bits, b.SPACE, start, end) == max(spaces, default=start - 1) + 1
    assert b.trimmed(bits, b.SPACE, start, end) == max(others, default=start - 1) + 1
    assert b.count_set(bits, b.SPACE, start, end) == len(spaces)
    assert b.count_runs(bits, b.SPACE, start, end) == len(part.split())
    first, last = np.zeros((2, len(text) + 1), dtype=np.int64)
    count = b.runs(bits, b.SPACE, start, end, first, last, 0)
    assert [text[first[k] : last[k]] for k in range(count)] == part.split()
