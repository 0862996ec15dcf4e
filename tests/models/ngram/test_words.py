"""The native words of a batch are those of `TextForm.tokens`, whatever the text."""

from __future__ import annotations

import itertools
import json
import random
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.models.ngram.text_form import TextForm
from curate.models.ngram.words import form_words
from curate.models.ngram.words_kernel import MOST
from curate.text.batch import TextBatch
from curate.text.utf8 import hash_bytes

FORMS = [
    TextForm(normaliser, tokeniser)
    for normaliser in ("ccnet", "ccnet_spaced", "none")
    for tokeniser in ("whitespace", "punct")
]


def check(batch: TextBatch, form: TextForm) -> None:
    assert form_words(batch, form).strings() == [form.tokens(text) for text in batch.strings()]


# Text that meets every special case: marks that change places, the two small sigmas, special words, white space.
ODD = st.text(st.sampled_from("aA1 \n\t\x00\x01\x1c\x7f\x85\xa0<>/s.—…ßİΣσΑé゙ֱּ〮́̈̀ᬄ᭄한語𝅗𝅥ﬁ\u2028\u200b"), max_size=40)
WORDS = st.lists(st.sampled_from(["<s>", "</s>", "<unk>", "<UNK>", "<s", "a", "<>", "x<s>", "</S>"])).map(" ".join)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.normaliser}-{form.tokeniser}")
@settings(deadline=None)  # the first call may compile
@given(texts=st.lists(st.one_of(st.none(), st.text(), ODD, WORDS), max_size=6))
def test_any_text_becomes_the_same_words(form: TextForm, texts: list[str | None]) -> None:
    check(TextBatch.of(texts), form)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.normaliser}-{form.tokeniser}")
@settings(deadline=None)  # the first call may compile
@given(texts=st.lists(st.binary(max_size=12), max_size=6))
def test_bytes_that_are_not_utf8_become_the_same_words(form: TextForm, texts: list[bytes]) -> None:
    raw = pa.array(texts, pa.large_binary())
    check(TextBatch(pa.Array.from_buffers(pa.large_string(), len(raw), raw.buffers())), form)


def characters() -> list[str]:
    """Every character that lower-casing, decomposition or a table does something to, and some of the others."""
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    changed = [c for c in every if unicodedata.normalize("NFD", c.lower()) != c]
    plain = ("Lo", "Cn", "Co")
    special = [c for c in every if unicodedata.category(c) not in plain or unicodedata.combining(c)]
    return sorted({*changed, *special, *random.Random(0).sample(every, 5000)})


@pytest.mark.slow
@pytest.mark.parametrize("form", [FORMS[0], FORMS[3]], ids=lambda form: f"{form.normaliser}-{form.tokeniser}")
def test_every_character_becomes_the_same_words(form: TextForm) -> None:
    every = characters()
    texts = [f"a{''.join(every[i : i + 64])}b" for i in range(0, len(every), 64)]
    check(TextBatch.of([*texts, *(f"A{c}1" for c in every if unicodedata.combining(c))]), form)


def test_no_character_becomes_more_bytes_or_words_than_there_is_room_for() -> None:
    form = TextForm("ccnet_spaced", "punct")  # the one that makes most of a character
    for character in characters():
        made, size = form.character(character), len(character.encode())
        assert len(made.replace(" ", "").encode()) <= MOST * size
        assert len(made.split()) <= size


@pytest.mark.parametrize("name", ["web_wet_trafilatura.dev", "langid_udhr2.dev", "hq_text.dev"])
def test_real_text_in_many_languages_becomes_the_same_words(shared: Path, name: str) -> None:
    with zstandard.open(shared / f"data/{name}.jsonl.zst", "rt", encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for line in itertools.islice(stream, 400)]
    for form in (TextForm("ccnet", "whitespace"), TextForm("ccnet_spaced", "punct")):
        check(TextBatch.of(texts), form)


def test_the_hash_of_a_word_is_that_of_its_bytes() -> None:
    words = form_words(TextBatch.of(["A word, Σας ένα—two", None, "", "<s> x"]), TextForm("ccnet_spaced", "punct"))
    expected = [hash_bytes(words.data, a, b) for a, b in itertools.pairwise(words.bounds.tolist())]
    assert words.hash.tolist() == expected
    assert np.diff(words.offsets).tolist() == [7, 0, 0, 4]


def test_a_slice_of_a_column_has_its_own_words() -> None:
    column = pa.array(["not this", "Σ this", "that", "nor this"], pa.string()).slice(1, 2)
    words = form_words(TextBatch(column), TextForm("ccnet", "whitespace"))
    assert words.strings() == [["σ", "this"], ["that"]]
