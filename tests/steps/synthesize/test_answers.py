"""Reading answers: what models really write, and what is refused with which reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.generate.request import RUNAWAY, Completion, Usage
from curate.steps.synthesize.answers import Answer, Rejected, check

LIST = Answer.model_validate({"list": {}}).parser()
PAIRS = Answer.model_validate({"pairs": {"names": ["Question", "Answer"]}}).parser()
TAGS = Answer.model_validate({"tags": ["question", "answer"]}).parser()
SCHEMA = {
    "type": "object",
    "required": ["label"],
    "properties": {"label": {"enum": ["a", "b"]}, "parts": {"type": "array", "items": {"type": "string"}}},
}
JSON = Answer.model_validate({"json": SCHEMA}).parser()

# One line of words, as an item of a list may be.
LINE = st.text(st.characters(categories=("L", "Zs")), min_size=3).map(lambda text: " ".join(text.split())).filter(bool)


def refused(parse: object, text: str) -> str:
    with pytest.raises(Rejected) as raised:
        parse(text)  # type: ignore[operator]
    return raised.value.reason


def completion(text: str, *, finish: str = "stop", refusal: str = "") -> Completion:
    return Completion(text, finish, "", refusal, (), Usage(prompt=10, completion=10))


@pytest.mark.parametrize(
    "text",
    [
        "1. Rain fell.\n2. It rained.",
        "1) Rain fell.\n2) It rained.",
        "(1) Rain fell.\n(2) It rained.",
        "1: Rain fell.\n2: It rained.",
        "- Rain fell.\n- It rained.",
        "* Rain fell.\n* It rained.",
        "\u2022 Rain fell.\n\u2022 It rained.",
        "\u2013 Rain fell.\n\u2013 It rained.",
        "**1.** Rain fell.\n**2.** It rained.",
        "  1. Rain fell.\n\n  2. It rained.\n",
        "9. Rain fell.\n10. It rained.",
        "Sure! Here are two rewordings:\n\n1. Rain fell.\n2. It rained.",
        "Gerne! Hier sind zwei:\n\n1. Rain fell.\n2. It rained.\n\nIch hoffe, das hilft dir weiter!",
        "1. Rain fell.\n2. It rained.\n\nLet me know if you need more.",
        "```\n1. Rain fell.\n2. It rained.\n```",
        "Here:\n```text\n1. Rain fell.\n2. It rained.\n```\nDone.",
        '1. "Rain fell."\n2. \u201cIt rained.\u201d',
        "1. \u201eRain fell.\u201c\n2. \u00abIt rained.\u00bb",
        "1.\tRain fell.\r\n2.\tIt rained.",
        "1. \n1. Rain fell.\n2. It rained.",
    ],
)
def test_a_list_is_read_however_it_is_numbered(text: str) -> None:
    assert LIST(text) == ["Rain fell.", "It rained."]


def test_an_item_keeps_its_further_lines_and_the_bullets_below_it() -> None:
    assert LIST("1. Sort these:\n   - pear\n   - apple\n2. Say\nwhy.") == ["Sort these:\n- pear\n- apple", "Say\nwhy."]


def test_an_item_keeps_what_only_looks_like_a_mark() -> None:
    items = ['"Yes" is not "no"', "**Bold:** a start", "3.5 percent", "Es kostet 1. Geld und 2. Zeit.", "2-0 was it"]
    assert LIST("\n".join(f"{i}. {item}" for i, item in enumerate(items, 1))) == items


@given(st.lists(LINE, min_size=1), st.sampled_from(["{i}. {item}", "{i}) {item}", "- {item}", "**{i}.** {item}"]))
def test_any_list_is_read_back(items: list[str], form: str) -> None:
    text = "\n".join(form.format(i=i, item=item) for i, item in enumerate(items, 1))
    assert LIST(text) == items


@pytest.mark.parametrize("text", ["Rain fell.", "1.", "1.Rain fell.", '["Rain fell."]', "\u2014", "1.\n2.\n"])
def test_what_is_no_list_is_refused(text: str) -> None:
    assert refused(LIST, text) == "form"


def test_a_list_has_as_many_items_as_it_must() -> None:
    three = Answer.model_validate({"list": {"least": 3}}).parser()
    assert three("- a\n- b\n- c") == ["a", "b", "c"]
    assert refused(three, "- a\n- b") == "form"


@pytest.mark.parametrize(
    "text",
    [
        "Question: Who came?\nAnswer: Nobody.\nQuestion: Why?\nAnswer: Rain.",
        "**Question:** Who came?\n**Answer:** Nobody.\n\n**Question:** Why?\n**Answer:** Rain.",
        "**Question 1**: Who came?\n**Answer 1**: Nobody.\n**Question 2**: Why?\n**Answer 2**: Rain.",
        "1. Question: Who came?\n   Answer: Nobody.\n2. Question: Why?\n   Answer: Rain.",
        "### Question: Who came?\n### Answer: Nobody.\n### Question: Why?\n### Answer: Rain.",
        "Here are two:\n\n- QUESTION: Who came?\n- answer: Nobody.\n- Question: Why?\n- Answer: Rain.",
        "```\nQuestion: Who came?\nAnswer: Nobody.\n\nQuestion: Why?\nAnswer: Rain.\n```",
        "Question:\nWho came?\nAnswer:\nNobody.\nQuestion: Why?\nAnswer: Rain.",
        "Question: Who came?\nAnswer: Nobody.\nQuestion: Why?\nAnswer: Rain.\nQuestion: And then",
        "Answer: Nothing was asked.\nQuestion: Who came?\nAnswer: Nobody.\nQuestion: Why?\nAnswer: Rain.",
    ],
)
def test_pairs_are_read_by_their_names(text: str) -> None:
    assert PAIRS(text) == [{"Question": "Who came?", "Answer": "Nobody."}, {"Question": "Why?", "Answer": "Rain."}]


def test_pairs_may_have_names_of_another_language_and_answers_of_several_lines() -> None:
    parse = Answer.model_validate({"pairs": {"names": ["Frage", "Antwort"]}}).parser()
    text = "Gerne!\n\n**Frage 1:** Wer kam?\n**Antwort:** Niemand,\nweil es regnete."
    assert parse(text) == [{"Frage": "Wer kam?", "Antwort": "Niemand,\nweil es regnete."}]


@given(st.lists(st.tuples(LINE, LINE), min_size=1))
def test_any_pairs_are_read_back(pairs: list[tuple[str, str]]) -> None:
    text = "\n\n".join(f"Question: {question}\nAnswer: {answer}" for question, answer in pairs)
    assert PAIRS(text) == [{"Question": question, "Answer": answer} for question, answer in pairs]


@pytest.mark.parametrize("text", ["Who came? Nobody.", "Question: Who came?", "Answer: Nobody.", "Question:\nAnswer:"])
def test_what_has_no_whole_pair_is_refused(text: str) -> None:
    assert refused(PAIRS, text) == "form"


def test_tags_are_one_object_or_several() -> None:
    one = {"question": "Who came?", "answer": "Nobody <yet>."}
    text = "<question>Who came?</question>\n<answer>\nNobody <yet>.\n</answer>"
    assert TAGS(text) == one
    assert TAGS(f"Of course!\n```xml\n{text}\n```\nDone.") == one
    assert TAGS(f"{text}\n{text}") == [one, one]


@given(st.lists(st.tuples(LINE, LINE), min_size=2))
def test_any_tags_are_read_back(pairs: list[tuple[str, str]]) -> None:
    text = "".join(f"<question>{question}</question><answer>{answer}</answer>" for question, answer in pairs)
    letters = [{"question": question, "answer": answer} for question, answer in pairs]
    assert TAGS(text) == letters


@pytest.mark.parametrize(
    "text",
    [
        "Who came? Nobody.",
        "<question>Who came?</question>",
        "<question>Who came?</question><answer></answer>",
        "<question>Who came?</question><answer>Nobody.",
        "<question>...</question>\n<answer>...</answer>",  # the form as it was asked for
        "<question>Who?</question><answer>I.</answer><question>Why?</question>",
    ],
)
def test_a_section_that_is_missing_is_refused(text: str) -> None:
    assert refused(TAGS, text) == "form"


@pytest.mark.parametrize(
    "text",
    [
        '{"label": "a"}',
        ' {"label":\n"a"}\n',
        '```json\n{"label": "a"}\n```',
        '```\n{"label": "a"}\n```',
        'Here is the JSON:\n\n```json\n{"label": "a"}\n```\n\nI chose "a" as it fits.',
        'Gern, hier ist das Ergebnis:\n```JSON\n{"label": "a"}\n```',
    ],
)
def test_json_is_read_bare_or_between_fences(text: str) -> None:
    assert JSON(text) == {"label": "a"}


@given(
    st.recursive(st.none() | st.booleans() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_any_json_is_read_back(value: object) -> None:
    assert Answer.model_validate({"json": {}}).parser()(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The label is a.", "not-json"),
        ('{"label": "a"', "not-json"),
        ("{'label': 'a'}", "not-json"),
        ('{"label": NaN}', "not-json"),
        ('```json\n{"label": "a"}\n```\nor\n```json\n{"label": "b"}\n```', "not-json"),  # which of them?
        ('{"label": "c"}', "schema"),
        ('{"name": "a"}', "schema"),
        ('["a"]', "schema"),
        ('{"label": "a", "parts": ["x", 1]}', "schema"),
    ],
)
def test_what_is_no_json_or_of_another_schema_is_refused(text: str, reason: str) -> None:
    assert refused(JSON, text) == reason


def test_the_place_of_a_misfit_is_reported() -> None:
    with pytest.raises(Rejected, match=r"schema: \['parts'\]\[1\] 1 is not of type 'string'"):
        JSON('{"label": "a", "parts": ["x", 1]}')


def test_a_text_may_stand_behind_a_mark_and_before_one() -> None:
    parse = Answer.model_validate({"text": {"after": "Title:", "before": "<|"}}).parser()
    assert parse("Sure!\nTitle: Rain in June <|im_end|> and more") == "Rain in June"
    assert parse("Title: Rain") == "Rain"
    assert refused(parse, "Rain in June") == "form"
    assert refused(parse, "Title: <|im_end|>") == "empty"


@given(st.text())
def test_a_text_is_taken_as_it_is(text: str) -> None:
    parse = Answer.model_validate({"text": {}}).parser()
    if text.strip():
        assert parse(text) == text.strip()
    else:
        assert refused(parse, text) == "empty"


def test_an_answer_of_any_form_may_need_words() -> None:
    parse = Answer.model_validate({"list": {}, "words": 6}).parser()
    assert parse("- Rain fell.\n- It rained.") == ["Rain fell.", "It rained."]
    assert refused(parse, "- Rain fell.") == "too-short"


@pytest.mark.parametrize(
    "form", [{}, {"words": 3}, {"text": {}, "list": {}}, {"json": {"type": "strange"}}, {"lst": {}}]
)
def test_a_form_is_one_of_those_that_there_are(form: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Answer.model_validate(form)


@given(st.text(), st.sampled_from([LIST, PAIRS, TAGS, JSON]))
def test_whatever_a_model_says_is_read_or_refused(text: str, parse: object) -> None:
    try:
        assert parse(text)  # type: ignore[operator]
    except Rejected as error:
        assert error.reason in {"form", "not-json", "schema"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (completion(""), "empty"),
        (completion(" \n\t"), "empty"),
        (completion(" " * 40_000), "runaway"),
        (completion("and then " * 400), "runaway"),
        (completion("Some words", finish=RUNAWAY), "runaway"),
        (completion("", refusal="No."), "refusal"),
        (completion("Some words", finish="content_filter"), "refusal"),
        (completion("I'm sorry, but I can't help with that."), "refusal"),
        (completion("Als KI-Sprachmodell kann ich das leider nicht beantworten."), "refusal"),
        (completion("1. Rain fell.\n2. It", finish="length"), "cut-off"),
    ],
)
def test_an_answer_that_is_none_is_refused_before_it_is_read(given: Completion, reason: str) -> None:
    with pytest.raises(Rejected) as raised:
        check(given, whole=True)
    assert raised.value.reason == reason


def test_an_answer_that_need_not_be_whole_may_be_cut_off() -> None:
    assert check(completion(" 1. Rain fell.", finish="length"), whole=False) == "1. Rain fell."


def test_an_answer_about_an_apology_is_no_refusal() -> None:
    text = "1. He said that he was sorry for the rain.\n2. She could not help but laugh."
    assert check(completion(text), whole=True) == text


@pytest.mark.parametrize("reference", ["#/$defs/none", "https://example.org/x.json", "other.json"])
def test_a_schema_that_refers_to_what_it_has_not_is_refused_before_anything_is_asked(reference: str) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": reference}}}
    with pytest.raises(ValueError, match="json: schema: refers to"):
        Answer.model_validate({"json": schema})


def test_a_schema_may_refer_to_its_own_definitions() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/word"}}, "$defs": {"word": {"type": "string"}}}
    parse = Answer.model_validate({"json": schema}).parser()
    assert parse('{"a": "b"}') == {"a": "b"}
    with pytest.raises(Rejected, match="schema"):
        parse('{"a": 1}')
