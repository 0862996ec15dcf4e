"""The filters of recipes: each drops what it is for, and says why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.chat.messages import Turn
from curate.steps.synthesize.filters import Filters
from curate.steps.synthesize.recipe_model import Keep
from curate.steps.synthesize.synthetic import InputRow, SyntheticRow
from curate.steps.synthesize.template import CannotRender

TEXT = (
    "The harbour of the old town was built three hundred years ago by fishermen who wanted shelter from the western"
    " storms, and it has been widened twice since then."
)
PROMPT = (
    "Write three different rewordings of the text between the lines, keep its meaning and its language, change its"
    f" words and the build of its sentences.\n---\n{TEXT}\n---\nAnswer with a numbered list and nothing else."
)
ROW = InputRow("r", "seeds.jsonl#0", {"text": TEXT}, ("r",))
OTHER = "Three centuries back, people who lived by fishing built this port against the gales."


def made(text: str, **columns: str) -> SyntheticRow:
    return SyntheticRow(text, None, columns, "m", "r", "stop", PROMPT, (), None, ROW)


def reason(keep: dict[str, object], text: str, kept: tuple[str, ...] = (), **columns: str) -> str | None:
    context = {"text": TEXT, "labels": ["a", "b"], "answer": text, "of": {"answer": {}}}
    before = [made(each) for each in kept]
    _, dropped = Filters(Keep.model_validate(keep)).kept([*before, made(text, **columns)], context)
    return dropped[-1].reason if dropped else None


@pytest.mark.parametrize(
    ("keep", "text", "expected"),
    [
        ({}, OTHER, None),
        ({}, " \n", "empty"),
        ({"words": {"least": 30}}, OTHER, "too-short"),
        ({"words": {"most": 3}}, OTHER, "too-long"),
        ({}, "I'm sorry, but I can't help with that.", "refusal"),
        ({}, "Es tut mir leid, aber dabei kann ich nicht helfen.", "refusal"),
        ({"refusals": True}, "I'm sorry, but I can't help with that.", None),
        ({}, PROMPT, "copied-prompt"),
        ({}, PROMPT.partition("\n")[0], "copied-prompt"),
        ({"prompt": True}, PROMPT, None),
        ({}, f"#Rewritten Prompt#: {OTHER}", "copied-prompt"),
        ({"without": {"begins": ["Sure"]}}, f"sure! {OTHER}", "begins-wrongly"),
        ({"without": {"begins": ["Sure"]}}, f"I am sure: {OTHER}", None),
        ({"without": {"holds": ["the passage"]}}, f"{OTHER} The Passage says so.", "holds-a-marker"),
        ({"only": {"no-port": "'port' in made"}}, OTHER, None),
        ({"only": {"no-port": "'port' in made"}}, TEXT, "no-port"),
        ({"overlap": {"most": 0.8}}, TEXT, "too-near"),
        ({"overlap": {"least": 0.3}}, "Nobody came.", "too-far"),
        ({"overlap": {"least": 0.1, "most": 0.8}}, OTHER, None),
    ],
)
def test_a_row_is_dropped_for_a_reason(keep: dict[str, object], text: str, expected: str | None) -> None:
    assert reason(keep, text) == expected


def test_what_the_row_itself_says_is_no_part_of_the_prompt_that_is_copied() -> None:
    assert reason({}, TEXT) is None
    assert reason({}, f"{TEXT}\n\nQuestion: Who built it?\nAnswer: Fishermen.") is None
    assert reason({}, f"{PROMPT} {TEXT} {TEXT}") == "copied-prompt"


def test_the_words_of_a_label_are_those_that_there_are() -> None:
    keep: dict[str, object] = {"one_of": {"column": "label", "values": "labels"}}
    assert reason(keep, OTHER, label="a") is None
    assert reason(keep, OTHER, label="A") == "unknown-label"
    with pytest.raises(CannotRender, match="is no list"):
        reason({"one_of": {"column": "label", "values": "text"}}, OTHER, label="a")


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        ("built three hundred years ago", None),
        ("\u201cBuilt  three hundred\nyears ago\u201d", None),
        ("built four hundred years ago", "not-grounded"),
        ("harbour", "not-grounded"),  # too short to prove anything
        ("", "not-grounded"),
    ],
)
def test_a_quote_that_is_not_in_the_document_is_refused(quote: str, expected: str | None) -> None:
    assert reason({"quoted": {"column": "quote"}}, OTHER, quote=quote) == expected


def test_a_row_that_says_what_one_before_it_says_is_repeated() -> None:
    keep: dict[str, object] = {"distinct": {"most": 0.8}}
    assert reason(keep, OTHER) is None
    assert reason(keep, OTHER, (TEXT,)) is None
    assert reason(keep, OTHER.replace("gales", "storms"), (TEXT, OTHER)) == "repeated"


def test_of_a_conversation_the_turns_after_the_question_are_looked_at() -> None:
    turns = (Turn("user", TEXT * 3), Turn("assistant", "Yes."))
    chat = SyntheticRow(None, turns, {}, "m", "r", "stop", PROMPT, (), None, ROW)
    _, dropped = Filters(Keep.model_validate({"words": {"least": 2}})).kept([chat], {"of": {}})
    assert [each.reason for each in dropped] == ["too-short"]


def test_a_filter_of_a_column_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CannotRender, match="no text 'document'"):
        reason({"overlap": {"to": "document", "most": 0.5}}, OTHER)


@given(st.text())
def test_a_text_without_a_filter_that_it_fails_is_kept_whatever_it_is(text: str) -> None:
    keep: dict[str, object] = {"prompt": True, "refusals": True, "words": {"least": 0}}
    assert reason(keep, text) == (None if text.strip() else "empty")
