from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import regex
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import ConfigError
from curate.text.batch import TextBatch
from curate.text.simd import BASE
from curate.text.split import HAS_LETTER, HAS_NON_PUNCTUATION
from tests.text.reference import TEXTS, batch_of_bytes, treebank_tokens, uax29, whitespace, words_of

SPLITTERS = ("whitespace", "uax29", "treebank")


def udhr(shared: Path, characters: int) -> list[str]:
    """The beginning of the UDHR in 381 languages."""
    with (shared / "data" / "langid_udhr2.dev.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        return [json.loads(line)["text"][:characters] for line in lines]


@given(TEXTS)
def test_whitespace_words_are_those_of_the_reference(text: str) -> None:
    assert words_of(TextBatch.of([text]), 0, "whitespace") == whitespace(text)


@given(TEXTS)
def test_uax29_words_are_those_of_the_reference(text: str) -> None:
    assert words_of(TextBatch.of([text]), 0, "uax29") == uax29(text)


def test_the_reference_holds_in_every_language_of_the_udhr(shared: Path) -> None:
    texts = udhr(shared, 150)
    batch = TextBatch.of(texts)
    for row, text in enumerate(texts):
        assert words_of(batch, row, "uax29") == uax29(text)


def test_words_are_those_of_the_regex_package_where_it_follows_the_annex(shared: Path) -> None:
    # It has rules of its own around an apostrophe, breaks between a mark and a colon or a period within a word,
    # and keeps no run of Thai together.
    elsewhere = regex.compile(r"\p{LB=SA}|['’]|[\p{WB=Extend}\p{WB=Format}][.:·]")
    texts = [text for text in udhr(shared, 3000) if not elsewhere.search(text)]
    batch = TextBatch.of(texts)
    assert len(texts) > 180
    for row, text in enumerate(texts):
        cuts = [found.start() for found in regex.finditer(r"(?w)\b", text)]
        cuts = sorted({0, *cuts, len(text)})
        segments = [text[start:end] for start, end in itertools.pairwise(cuts)]
        expected = [segment for segment in segments if regex.search(r"[\p{L}\p{N}]", segment)]
        assert words_of(batch, row, "uax29") == expected


def test_an_ideograph_is_a_word_and_so_is_a_run_of_thai() -> None:
    batch = TextBatch.of(["東京タワー ภาษาไทย"])
    assert words_of(batch, 0, "uax29") == ["東", "京", "タワー", "ภาษาไทย"]


def test_words_are_unreliable_where_a_dictionary_is_needed() -> None:
    texts = ["plain English", "ภาษาไทยง่าย ok", "东京是日本的首都", "ខ្មែរ", "한국어 문장", "", "123"]
    for splitter in SPLITTERS:
        found = TextBatch.of(texts).words(splitter).reliable.tolist()
        assert found == [True, False, False, False, True, True, True]


@pytest.mark.parametrize(
    ("text", "expected"),  # as NLTK's word_tokenize has them
    [
        ("Good muffins cost $3.88 (roughly 3,36 euros) in New York.", "Good muffins cost $ 3.88 ( roughly 3,36 euros ) in New York ."),
        ('"I can\'t," she said, "they\'ve gone."', "`` I ca n't , '' she said , `` they 've gone . ''"),
        ("The dogs' bowls, John's and the '90s.", "The dogs ' bowls , John 's and the ' 90s ."),
        ("You cannot -- gonna, lemme... wanna go?", "You can not -- gon na , lem me ... wan na go ?"),
        ("Mail me@x.org: 50% off; see [1] & <b>.", "Mail me @ x.org : 50 % off ; see [ 1 ] & < b > ."),
        ("« Oui », dit-il: “non”. Don’t!", "« Oui » , dit-il : “ non ” . Don ’ t !"),
        ("Rock 'n' roll at 10:30, 1,000 times --- really.", "Rock 'n ' roll at 10:30 , 1,000 times -- - really ."),
        ("First one. Second one? Mr. Smith left.", "First one . Second one ? Mr. Smith left ."),
    ],
)  # fmt: skip
def test_treebank_words_are_those_of_the_penn_treebank(text: str, expected: str) -> None:
    batch = TextBatch.of([text])
    assert treebank_tokens(batch, 0) == expected.split()


@given(TEXTS)
def test_treebank_words_leave_out_white_space_alone(text: str) -> None:
    batch = TextBatch.of([text])
    assert "".join(words_of(batch, 0, "treebank")) == "".join(whitespace(text))


@given(TEXTS, st.sampled_from(SPLITTERS))
def test_a_word_carries_its_length_its_flags_and_a_hash_of_its_bytes(text: str, splitter: str) -> None:
    batch = TextBatch.of([text])
    words = batch.words(splitter)
    found = treebank_tokens(batch, 0) if splitter == "treebank" else words_of(batch, 0, splitter)
    for k, word in enumerate(found):
        assert words.chars[k] == len(word)
        key = 0
        for byte in word.encode():
            key = (key * int(BASE) + byte + 1) % (1 << 64)
        assert words.hash[k] == key
        assert bool(words.flags[k] & HAS_LETTER) == bool(regex.search(r"\p{L}", word))
        if word.isascii() and word.isalnum():
            assert words.flags[k] & HAS_NON_PUNCTUATION


@given(st.lists(st.binary(max_size=30) | TEXTS.map(str.encode), max_size=5), st.sampled_from(SPLITTERS))
def test_invalid_utf8_is_split_as_its_replacement_is(texts: list[bytes], splitter: str) -> None:
    batch = batch_of_bytes(texts)
    clean = TextBatch.of([text.decode("utf-8", "replace") for text in texts])
    for row in range(len(texts)):
        assert words_of(batch, row, splitter) == words_of(clean, row, splitter)
    assert batch.words(splitter).chars.tolist() == clean.words(splitter).chars.tolist()


@given(st.lists(TEXTS, max_size=5), st.sampled_from(SPLITTERS))
def test_words_do_not_depend_on_the_batch(texts: list[str], splitter: str) -> None:
    together = TextBatch.of(texts).words(splitter)
    apart = [TextBatch.of([text]).words(splitter) for text in texts]
    assert together.hash.tolist() == [key for words in apart for key in words.hash.tolist()]
    assert np.diff(together.offsets).tolist() == [len(words) for words in apart]


def test_an_unknown_splitter_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="uax29"):
        TextBatch.of(["a"]).words("uax28")
