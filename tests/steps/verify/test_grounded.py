from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.grounded import find_quote, grounded

DOCUMENT = 'Once the "big"\n cat sat.  Die große Stra\u00dfe, cafe\u0301 – ganz neu… ja. 日本語のテキスト'


@pytest.mark.parametrize(
    ("quote", "original"),
    [
        ("the big cat", None),
        ("the “big” cat sat", 'the "big"\n cat sat'),
        ("“Once the 'big' cat”", None),
        ("DIE GROSSE STRASSE, CAFÉ - GANZ", "Die große Stra\u00dfe, cafe\u0301 – ganz"),
        ("'ganz neu... ja.'", "ganz neu… ja."),
        ("本語の", "本語の"),
        ('nce the "big" cat', None),
        ("the big", None),
        ("", None),
        ("...", None),
        ("a thing that nobody wrote", None),
    ],
)
def test_a_quote_is_found_where_it_stands_in_the_original(quote: str, original: str | None) -> None:
    found = find_quote(quote, DOCUMENT)
    assert (None if found is None else DOCUMENT[slice(*found)]) == original


@given(
    st.lists(st.text(st.characters(categories=["L", "M", "N", "P"]), min_size=1, max_size=8), min_size=4, max_size=12)
)
def test_any_run_of_words_of_a_document_is_found_in_it_in_any_unicode_form(words: list[str]) -> None:
    plain = [f"x{i}{word}x" for i, word in enumerate(words)]
    document = "  ".join(plain)
    for kind in ("NFC", "NFD"):
        found = find_quote(unicodedata.normalize(kind, " ".join(plain[1:])), document)
        assert found == (len(plain[0]) + 2, len(document))


def test_every_quote_must_be_in_one_of_the_documents() -> None:
    parents = {"p": "It says that a b c is so.", "q": "Other words: x, y and z."}
    batch = VerifyBatch.of(
        [
            {"quote": ["x, y and z", "a b c"], "parents": ["p", "q"]},
            {"quote": ["a b c", "not there at all"], "parents": ["p", "q"]},
            {"quote": ["x, y and z"], "parents": ["p"]},
            {"quote": [], "parents": ["p"]},
            {"quote": None, "parents": ["p"]},
            {"quote": ["a b c"], "parents": []},
        ],
        parents,
    )
    assert {name: values.to_pylist() for name, values in grounded(quote="quote")(batch).items()} == {
        "": [True, False, False, False, None, None],
        "share": [1.0, 0.5, 0.0, 0.0, None, None],
        "start": [13, 13, None, None, None, None],
        "end": [23, 18, None, None, None, None],
        "at": [1, 0, None, None, None, None],
    }


def test_a_quote_may_be_a_string_and_a_document_a_column() -> None:
    batch = VerifyBatch.of([{"quote": "Two words more", "doc": "These two words more."}, {"quote": "no", "doc": "no"}])
    found = grounded(quote="quote", document="doc")(batch)
    assert found[""].to_pylist() == [True, False]
    assert found["start"].to_pylist() == [6, None]
