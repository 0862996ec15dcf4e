from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from curate.steps.dedup.normalise import normalise, text_hashes
from curate.text.batch import TextBatch


def same(first: str, second: str, *, normalised: bool = True) -> bool:
    hashes = text_hashes(TextBatch.of([first, second]), normalised=normalised)
    return bool((hashes[0] == hashes[1]).all())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("The  quick\tbrown\n\nfox ", " the quick brown FOX"),
        ("Straße", "STRASSE"),
        ("caf\u00e9", "Cafe\u0301"),  # composed and decomposed
        ("a\u00a0b\u3000c", "a b c"),
        ("\u1e9e", "ss"),
    ],
)
def test_texts_that_differ_in_case_space_or_unicode_form_have_one_hash(first: str, second: str) -> None:
    assert same(first, second)
    assert not same(first, second, normalised=False)


@pytest.mark.parametrize(("first", "second"), [("a b", "ab"), ("cafe", "café"), ("a.", "a"), ("1", "2")])
def test_texts_that_differ_in_a_letter_or_a_mark_have_two(first: str, second: str) -> None:
    assert not same(first, second)


def test_a_hash_is_the_xxh3_128_with_its_high_half_first() -> None:
    high, low = text_hashes(TextBatch.of(["Some  Text"]))[0].tolist()
    assert f"{high:016x}{low:016x}" == xxh3_128_hexdigest(b"some text")
    high, low = text_hashes(TextBatch.of(["Some  Text"]), normalised=False)[0].tolist()
    assert f"{high:016x}{low:016x}" == xxh3_128_hexdigest(b"Some  Text")


def test_empty_and_null_texts_have_the_hash_of_nothing() -> None:
    hashes = text_hashes(TextBatch.of(["", None, " \n", "a"]))
    assert (hashes[:3] == hashes[0]).all()
    assert f"{hashes[0, 0]:016x}{hashes[0, 1]:016x}" == xxh3_128_hexdigest(b"")
    raw = text_hashes(TextBatch.of(["", None, " \n"]), normalised=False)
    assert (raw[0] == raw[1]).all()
    assert (raw[0] != raw[2]).any()


def test_no_rows_give_no_hashes_and_a_slice_gives_its_own() -> None:
    assert text_hashes(TextBatch.of([])).shape == (0, 2)
    assert text_hashes(TextBatch.of([]), normalised=False).dtype == np.uint64
    texts = pa.array(["a", "b", "c"])
    for normalised in (True, False):
        whole = text_hashes(TextBatch(texts), normalised=normalised)
        assert (text_hashes(TextBatch(texts.slice(1, 2)), normalised=normalised) == whole[1:]).all()


def test_invalid_utf8_is_hashed() -> None:
    texts = pa.array([b"a\xff", b"a\xfe", b"A\xff"], type=pa.large_binary()).view(pa.large_string())
    hashes, raw = text_hashes(TextBatch(texts)), text_hashes(TextBatch(texts), normalised=False)
    assert (hashes == hashes[0]).all()
    assert len(np.unique(raw, axis=0)) == 3


@given(st.text())
def test_space_around_and_unicode_form_of_any_text_do_not_matter(text: str) -> None:
    assert same(text, f"\n{text}  ")
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(text)


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF)))
def test_the_case_of_latin_letters_does_not_matter(text: str) -> None:
    assert normalise(text) == normalise(text.casefold())


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_short_way_for_ascii_gives_what_the_long_way_gives(text: str) -> None:
    assert normalise(text + " é") == (normalise(text) + " é").strip()
