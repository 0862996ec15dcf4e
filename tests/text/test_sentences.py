from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.sentences import count_sentences, next_sentence, sentence_ends
from tests.text.reference import TEXTS


def sentences(text: str) -> list[str]:
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    found, at = [], 0
    while at < len(data):
        stop, following = next_sentence(data, at, len(data))
        found.append(bytes(data[at:stop]).decode())
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
    data = np.frombuffer(b" \n\t ", dtype=np.uint8)
    assert count_sentences(data, 0, len(data)) == 0
    assert count_sentences(data, 0, 0) == 0


@given(TEXTS.map(str.encode) | st.binary(max_size=60), st.integers(0, 10), st.integers(0, 10))
def test_ends_are_in_order_within_the_text_and_as_many_as_counted(text: bytes, before: int, after: int) -> None:
    data = np.frombuffer(b"a. B" * before + text + b". C?" * after, dtype=np.uint8)
    start, end = 4 * before, 4 * before + len(text)
    ends = sentence_ends(data, start, end)
    assert len(ends) == count_sentences(data, start, end)
    assert (np.diff([start, *ends]) > 0).all()
    assert ends[-1] <= end if len(ends) else not text.decode("utf-8", "replace").strip("\x85\xa0 \t\n\v\f\r\u2028")


@given(TEXTS)
def test_what_follows_a_text_does_not_change_its_sentences(text: str) -> None:
    raw = text.encode()
    alone = np.frombuffer(raw, dtype=np.uint8)
    longer = np.frombuffer(raw + b". More text! Yes.", dtype=np.uint8)
    assert sentence_ends(alone, 0, len(raw)).tolist() == sentence_ends(longer, 0, len(raw)).tolist()
