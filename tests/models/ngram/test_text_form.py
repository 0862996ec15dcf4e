from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import ConfigError, ModelError
from curate.models.ngram.text_form import SPECIAL_WORDS, TextForm, card_path, ccnet, ccnet_spaced, read_form


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Pâté, 1984!  ", "pate, 0000!"),
        ("Ein Größenwahn – „toll“…", 'ein großenwahn - "toll"...'),
        ("wait—what？", "wait - what?"),
        ("１２ ٣٤", "00 00"),
        ("bell\x07 del\x7f next\x85", "bell del next"),
        ("one\ntwo\tthree", "onetwothree"),
        ("", ""),
    ],
)
def test_ccnet_normalises_as_published(text: str, expected: str) -> None:
    assert ccnet(text) == expected


def test_the_spaced_form_keeps_words_on_two_lines_apart() -> None:
    assert ccnet_spaced("One\nTwo\t3\x07") == "one two 0"


def test_the_punct_tokeniser_sets_each_mark_and_symbol_apart() -> None:
    form = TextForm("ccnet_spaced", "punct")
    assert form.tokens("“Don't”, she said\nfor $5 -- 50%.") == [
        *['"', "don", "'", "t", '"', ",", "she", "said", "for", "$", "0", "-", "-", "00", "%", "."]
    ]


def test_the_names_of_the_model_itself_are_white_space_in_a_text() -> None:
    assert TextForm("none", "whitespace").tokens("a <s> b </s>\0c <unk> <s>d") == ["a", "b", "c", "<s>d"]


@given(st.text())
def test_no_token_holds_white_space_or_names_a_special_word(text: str) -> None:
    for normaliser in ("ccnet", "ccnet_spaced", "none"):
        for tokeniser in ("whitespace", "punct"):
            for token in TextForm(normaliser, tokeniser).tokens(text):
                assert token.split() == [token]
                assert "\0" not in token
                assert token not in SPECIAL_WORDS


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'ccnet'"):
        TextForm("ccnett", "punct")


def test_a_model_without_metadata_has_no_form(tmp_path: Path) -> None:
    assert read_form(str(tmp_path / "lm.arpa")) is None


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("{", "not JSON"),
        ("[]", "must name a normaliser"),
        ('{"normaliser": "ccnet"}', "must name a normaliser"),
        ('{"normaliser": "moses", "tokeniser": "punct"}', "no normaliser 'moses'"),
    ],
)
def test_metadata_that_names_no_known_form_is_refused(tmp_path: Path, card: str, message: str) -> None:
    model = str(tmp_path / "lm.arpa")
    Path(card_path(model)).write_text(card)
    with pytest.raises(ModelError, match=message):
        read_form(model)
