from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.batch import TextBatch
from curate.text.sentences import count_sentences, next_sentence, sentence_ends
from tests.text.reference import TEXTS, batch_of_bytes


def sentences(text: str) -> list[str]:
    batch = TextBatch.of([text])
    found, at = [], 0
    while at < len(batch.data):
        stop, following = next_sentence(batch.data, batch.bits(), at, len(batch.data))
        found.append(bytes(batch.data[at:stop]).decode())
        at = following
    return found


@pytest.mark.parametrize(
    "expected",
    [
        ["Hello world.", "This is it!", "Is it?", "Yes"],
        ["Mr. Smith met Dr. Jones in the U.S. capital at 5 p.m. yesterday.", "The end."],
        ["He lived in the U.S. with J. R. Smith.", "It was 1999."],
        ['He said "Hi."', "She left."],
        ["(One.)", "[Two!]", "Three."],
        ["Wow!!!", "Really?!", "Yes."],
        ["It went on ... and on.", "Then it stopped..."],
        ["It stopped...", "The rest is silence."],
        ["See www.example.com/a.b for 3.14 more.", "Done."],
        ["Feb. 3 was cold.", "So was Inc. magazine."],
        ["He left at 5 p.m.", "The others stayed."],
        ["Use it, e.g.", "So."],
        ["“Curly.”", "«Next.»", "End."],
    ],
)
def test_sentences_end_where_punkt_ends_them(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected


def test_a_line_feed_ends_no_sentence() -> None:
    assert sentences("A title\nand its text. More") == ["A title\nand its text.", "More"]


def test_white_space_holds_no_sentence() -> None:
    batch = TextBatch.of([" \n\t "])
    assert count_sentences(batch.data, batch.bits(), 0, len(batch.data)) == 0
    assert count_sentences(batch.data, batch.bits(), 0, 0) == 0


@given(TEXTS.map(str.encode) | st.binary(max_size=60), st.integers(0, 10), st.integers(0, 10))
def test_ends_are_in_order_within_the_text_and_as_many_as_counted(text: bytes, before: int, after: int) -> None:
    batch = batch_of_bytes([b"a. B" * before + text + b". C?" * after])
    start, end = 4 * before, 4 * before + len(text)
    ends = sentence_ends(batch.data, batch.bits(), start, end)
    assert len(ends) == count_sentences(batch.data, batch.bits(), start, end)
    assert (np.diff([start, *ends]) > 0).all()
    assert ends[-1] <= end if len(ends) else not text.decode("utf-8", "replace").strip("\x85\xa0 \t\n\v\f\r\u2028")


@given(TEXTS)
def test_what_follows_a_text_does_not_change_its_sentences(text: str) -> None:
    size = len(text.encode())
    alone, longer = TextBatch.of([text]), TextBatch.of([text + ". More text! Yes."])
    assert (
        sentence_ends(alone.data, alone.bits(), 0, size).tolist()
        == sentence_ends(longer.data, longer.bits(), 0, size).tolist()
    )


def test_a_text_without_white_space_takes_no_time_squared() -> None:
    batch = TextBatch.of(["-inc.”" * 300_000, "The " + "7" * 600 + ". it", "The " + "u." * 500 + " it"])
    assert [count_sentences(batch.data, batch.bits(), *batch.offsets[k : k + 2]) for k in range(3)] == [1, 1, 1]
