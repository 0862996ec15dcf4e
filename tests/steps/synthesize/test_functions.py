"""What templates may call: chosen by the seed, cut between words, nothing lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.synthesize.functions import (
    BYTES_A_TOKEN,
    combine,
    cut,
    flat,
    functions,
    passages,
    pick,
    shuffled,
    turns,
)
from curate.steps.synthesize.template import CannotRender, Template

VALUES = ["sober", "angry", "ironic", "tender", "dry"]


@pytest.fixture(scope="module")
def texts(shared: Path) -> list[str]:
    with zstandard.open(shared / "data/hq_text.dev.jsonl.zst", "rb") as stream:
        return [orjson.loads(line)["text"][:20_000] for line in stream.read().splitlines()[::20]]


# What a row, the parameters of a recipe or an answer may hold.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
ARGUMENTS = {"combine": 2, "cut": 2, "flat": 1, "passages": 2, "pick": 2, "turns": 1}
# More white space, and characters of every length, than chance would have.
WORDY = st.text(st.sampled_from(" \n\t\u2003aZ.é漢𝄞") | st.characters(exclude_categories=["Cs"]))


@given(WORDY, st.integers(0, 60))
def test_a_text_is_cut_to_a_beginning_of_it_of_at_most_so_many_tokens(text: str, tokens: int) -> None:
    head = cut(text, tokens)
    assert text.startswith(head)
    assert len(head.encode()) <= tokens * BYTES_A_TOKEN
    assert head == text or len(text.encode()) > tokens * BYTES_A_TOKEN
    assert head == text or head == head.rstrip()
    words = text.encode()[: tokens * BYTES_A_TOKEN].decode(errors="ignore").split()
    assert head == text or head.split() == (
        words[:-1] if len(words) > 1 else words
    )  # whole ones, or of the first a part


def test_a_text_is_cut_at_the_end_of_a_word() -> None:
    assert cut("Brevity is the soul of wit", 3) == "Brevity is"
    assert cut("Donaudampfschifffahrtsgesellschaft", 3) == "Donaudampfsc"
    assert cut("  Donaudampfschifffahrtsgesellschaft", 3) == "  Donaudampf"
    assert cut(" " * 40 + "late", 3) == ""
    assert cut("Brevity", 0) == ""


@given(st.data(), st.sampled_from(sorted(functions("seed"))))
def test_a_function_takes_anything_and_gives_a_value_or_says_by_its_name_what_is_wrong(
    data: st.DataObject, name: str
) -> None:
    arguments = [data.draw(ANYTHING) for _ in range(ARGUMENTS[name])]
    found = []
    for _ in range(2):
        try:
            found.append(functions("seed")[name](*arguments))
        except ValueError as error:
            assert str(error).startswith(f"{name}: ")
            found.append(str(error))
    assert repr(found[0]) == repr(found[1])


def test_what_a_function_cannot_work_with_is_said_in_a_line() -> None:
    row = {"text": "Brevity is the soul of wit", "none": None, "half": "\ud800", "tokens": 6}
    assert Template("{{ cut(text, tokens / 2) }}").render({**row, "cut": cut}) == "Brevity is"
    for template, message in {
        "{{ cut(none, 3) }}": "cut: expected a text, found None",
        "{{ cut(text, -1) }}": "cut: expected a whole number from 0 on, found -1",
        "{{ cut(text, 2.5) }}": "cut: expected a whole number from 0 on, found 2.5",
        "{{ cut(half, 1) }}": "cut: the text holds half a character (a lone surrogate); clean it first",
        "{{ cut(txet, 3) }}": "'txet' is undefined",
        "{{ passages(text, 0) }}": "passages: expected a whole number from 1 on, found 0",
        "{{ pick(text) }}": "pick: expected a list, found Brevity is the soul of wit",
        "{{ pick([]) }}": "pick: there is nothing to pick from",
        "{{ combine({'tone': ['dry']}, 1000000) }}": "combine: 1,000,000 combinations are too many; 100,000 is the most",
        "{{ combine({'tone': ['dry']}, 'three') }}": "combine: expected a whole number from 0 on, found three",
    }.items():
        with pytest.raises(CannotRender) as caught:
            Template(template).render({**row, **functions("seed")})
        assert str(caught.value) == message


@given(WORDY, st.integers(1, 60))
def test_passages_keep_every_character_but_white_space_and_none_is_too_long(text: str, tokens: int) -> None:
    found = [str(each) for each in passages(text, tokens)]
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(each.strip() and len(each.encode()) <= tokens * BYTES_A_TOKEN for each in found)


@pytest.mark.parametrize("tokens", [512, 1000, 1400, 2000])
def test_passages_of_real_texts_are_whole_paragraphs_where_those_fit(texts: list[str], tokens: int) -> None:
    for text in texts:
        found = [str(each) for each in passages(text, tokens)]
        assert "".join("".join(found).split()) == "".join(text.split())
        assert max(len(each.encode()) for each in found) <= tokens * BYTES_A_TOKEN
    assert passages("One.\n\nTwo.\n\n" + "Three is long. " * 9, 16) == [
        "One.\n\nTwo.", *["Three is long. Three is long. Three is long. Three is long."] * 2, "Three is long."
    ]  # fmt: skip


@given(st.integers(0, 60), st.text())
def test_combinations_have_every_value_of_an_attribute_equally_often(count: int, seed: str) -> None:
    attributes = {"tone": VALUES, "length": ["short", "long"]}
    found = combine(attributes, count, seed=seed)
    assert len(found) == count
    for name, values in attributes.items():
        times = Counter(each[name] for each in found)  # type: ignore[index,call-overload]
        every = [times[value] for value in values]
        assert max(every) - min(every) <= 1


def test_combinations_are_of_names_and_values_in_either_form() -> None:
    one = combine({"tone": VALUES}, 4, seed="a")
    assert one == combine([{"name": "tone", "values": VALUES}], 4, seed="a") != combine({"tone": VALUES}, 4, seed="b")
    for wrong in ({}, {"tone": []}, {"tone": "dry"}, [{"name": "tone"}], ["tone"], "tone", None):
        with pytest.raises(ValueError, match="combine: wants"):
            combine(wrong, 4, seed="a")


@given(st.text())
def test_a_row_picks_the_same_each_time_and_for_another_name_on_its_own(seed: str) -> None:
    own = functions(seed)["pick"]
    assert own(VALUES, "tone") == own(VALUES, "tone") == pick(VALUES, "tone", seed=seed)
    assert own(VALUES) in VALUES


def test_rows_pick_each_value_about_equally_often() -> None:
    times = Counter(pick(VALUES, "tone", seed=str(i)) for i in range(5000))
    assert all(900 < times[value] < 1100 for value in VALUES)
    both = Counter((pick(VALUES, "a", seed=str(i)), pick(VALUES, "b", seed=str(i))) for i in range(5000))
    assert len(both) == 25
    with pytest.raises(ValueError, match="nothing to pick from"):
        pick([], seed="0")


@given(st.lists(st.integers()), st.text())
def test_shuffled_is_an_order_of_the_same_values(values: list[int], seed: str) -> None:
    assert sorted(shuffled(values, seed)) == sorted(values)  # type: ignore[type-var]
    assert shuffled(values, seed) == shuffled(values, seed)


def test_flat_takes_the_answers_of_a_list_one_by_one() -> None:
    answered = [{"item": 1, "answer": ["a", "b"], "request": "r"}, {"item": 2, "answer": {"c": 3}, "request": "s"}]
    assert flat(answered) == [
        {"item": 1, "answer": "a", "request": "r"},
        {"item": 1, "answer": "b", "request": "r"},
        {"item": 2, "answer": {"c": 3}, "request": "s"},
    ]
    for wrong in (None, "text", ["a"], [{"item": 1}]):
        with pytest.raises(ValueError, match="flat: wants"):
            flat(wrong)


def test_turns_are_made_of_exchanges() -> None:
    one = {"user": "Hi", "assistant": "Hello"}
    expected = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert turns(one) == turns([one]) == expected
    assert turns([one, one]) == expected * 2
    with pytest.raises(ValueError, match="turns: wants"):
        turns(["Hi"])
