from __future__ import annotations

import functools
import io
import json
import pickle
import re
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.score.c4 import c4
from curate.text.batch import TextBatch

PROSE = "This is a line that reads as prose."
POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


def row(text: str, **arguments: object) -> dict[str, object]:
    """The columns of one text."""
    columns = c4(**arguments)(TextBatch.of([text]))  # type: ignore[arg-type]  # shortened on purpose
    return {name: values[0].as_py() for name, values in columns.items()}


def removed(text: str, **arguments: object) -> str | None:
    """Why the one line of a text is removed."""
    columns = row(text, **arguments)
    assert columns["lines"] == 1
    reasons = [name for name, count in columns.items() if name.startswith("removed_") and count]
    assert len(reasons) + int(columns["lines_kept"]) == 1  # type: ignore[call-overload]  # an int column
    return reasons[0].removeprefix("removed_") if reasons else None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (PROSE, None),
        ("Is this a line that reads as prose?", None),
        ('He said "this is a line of prose"', None),
        ("  This is a line that reads as prose.  \t", None),
        ("This is a line that reads as prose. [12]", None),
        ("This is a menu entry without an end", "no_terminal_punctuation"),
        ("This line of prose is cut off...", "no_terminal_punctuation"),
        ("This line of prose is cut off…", "no_terminal_punctuation"),
        ("They call it a line of 'prose'", "no_terminal_punctuation"),
        ("", "no_terminal_punctuation"),
        ("Only four words here.", "too_few_words"),
        ("Please enable JavaScript to see this page.", "javascript"),
        ("Read all of our Privacy Policy before that.", "policy"),
        ("a " * 4 + "x" * 1001 + ".", "long_word"),
        ("a " * 4 + "x" * 999 + ".", None),
        ("a " * 4 + "ü" * 999 + ".", None),  # characters, not bytes
    ],
)
def test_a_line_is_removed_for_the_first_check_it_fails(line: str, reason: str | None) -> None:
    assert removed(line + "\n") == reason


@pytest.mark.parametrize("phrase", POLICIES)
def test_every_policy_phrase_removes_a_line_in_either_case(phrase: str) -> None:
    for written in (phrase, phrase.upper(), phrase.title(), "x" + phrase + "x"):
        assert removed(f"Here are words about {written} and more.") == "policy"
        assert removed(f"{written} comes at the start of this.") == "policy"
    assert removed(f"Here are words about {phrase.replace(' ', '  ')} and more.") is None
    assert removed(f"Here are words about {phrase.replace(' ', '-')} and more.") is None


def test_the_check_that_comes_first_gives_the_reason() -> None:
    assert removed("javascript privacy policy") == "no_terminal_punctuation"
    assert removed("Our javascript privacy policy.") == "too_few_words"
    assert removed("About javascript in our privacy policy.") == "javascript"


def test_a_phrase_does_not_reach_over_a_line_break() -> None:
    columns = row("Some words on the privacy\npolicy of this good house.", terminal_punctuation=False)
    assert columns["removed_policy"] == 0


def test_variants_differ_in_words_and_sentences() -> None:
    assert removed("Three words here.", variant="code") == "too_few_words"
    assert removed("Three words here.", variant="paper") is None
    three = "\n".join([PROSE] * 3)
    assert row(three, variant="code")["reason"] is None
    assert row(three, variant="paper")["reason"] == "too_few_sentences"
    assert row("\n".join([PROSE] * 5), variant="paper")["reason"] is None


def test_without_terminal_punctuation_a_line_needs_words_only() -> None:
    assert removed("This is a heading of prose", terminal_punctuation=False) is None
    assert removed("This is cut off here...", terminal_punctuation=False) is None
    assert removed("A menu", terminal_punctuation=False) == "too_few_words"
    assert removed(" \t", terminal_punctuation=False) == "too_few_words"


def test_the_first_line_that_condemns_a_document_names_the_reason_and_stays() -> None:
    lorem, brace = "Lorem Ipsum is what stands in here.", "The code is { x } in this line."
    for lines, reason in (([lorem, brace], "lorem_ipsum"), ([brace, lorem], "curly_bracket")):
        columns = row("\n".join([PROSE, *lines, PROSE]))
        assert columns["reason"] == reason
        assert columns["lorem_ipsum"] is columns["curly_bracket"] is True
        assert columns["lines_kept"] == 4


def test_sentences_are_those_of_the_lines_that_stay() -> None:
    columns = row("The house was old. It stood on a hill. Was it empty?\nMenu. Home. About. Imprint\n" + PROSE)
    assert (columns["lines_kept"], columns["sentences"], columns["reason"]) == (2, 4, None)


def test_a_bracket_in_a_line_that_is_removed_before_condemns_nothing() -> None:
    columns = row("\n".join(["function() { return }", PROSE, PROSE, PROSE]))
    assert columns["curly_bracket"] is False
    assert columns["reason"] is None
    columns = row("This javascript { is no prose } here.")
    assert (columns["curly_bracket"], columns["removed_javascript"]) == (False, 1)


def test_three_long_lines_count_characters_of_all_lines() -> None:
    assert row("\n".join(["ü" * 200] * 3))["three_long_lines"] is True
    assert row("\n".join(["ü" * 199] * 3))["three_long_lines"] is False
    assert row("\n".join(["x" * 200] * 2))["three_long_lines"] is False


def test_empty_and_null_texts_have_no_lines_and_too_few_sentences() -> None:
    columns = c4()(TextBatch.of(["", None]))
    assert columns["lines"].to_pylist() == [0, 0]
    assert columns["reason"].to_pylist() == ["too_few_sentences"] * 2


def test_columns_have_one_type_also_for_no_rows() -> None:
    empty, full = c4()(TextBatch.of([])), c4()(TextBatch.of([PROSE]))
    assert {name: values.type for name, values in empty.items()} == {name: v.type for name, v in full.items()}
    assert all(len(values) == 0 for values in empty.values())
    assert empty["lines"].type == pa.int32()
    assert empty["reason"].type == pa.string()


def test_a_factory_with_its_arguments_can_be_pickled() -> None:
    made = pickle.loads(pickle.dumps(functools.partial(c4, variant="paper")))()
    assert made(TextBatch.of([PROSE]))["lines_kept"].to_pylist() == [1]


@pytest.mark.parametrize("bad", [b"\xe2", b"\xe2\x80", b"\xc2", b"\xff\xfe", b"\xf0\x9f", b"\x80\x80", b"a \xe3\x80"])
def test_invalid_utf8_at_the_end_of_a_text_does_not_reach_the_next(bad: bytes) -> None:
    texts = pa.array([bad, PROSE.encode()], type=pa.large_binary()).view(pa.large_string())
    assert c4()(TextBatch(texts))["lines_kept"].to_pylist() == [0, 1]


# What the rules say, written again with Python's own string functions.
def naive(text: str, least_words: int, terminal: bool) -> dict[str, int]:
    counts = {"lines": 0, "lines_kept": 0, "lorem_ipsum": 0, "curly_bracket": 0}
    before = None
    while before != text:
        before, text = text, re.sub(r"\[[0-9]*\]|\[edit\]|\[citation needed\]", "", text)
    for line in map(str.strip, text.splitlines()):
        lower = line.lower()
        words = line.split()
        if any(len(word) > 1000 for word in words):
            verdict = "removed_long_word"
        elif terminal and (not line.endswith((".", "?", "!", '"')) or line.endswith("...")):
            verdict = "removed_no_terminal_punctuation"
        elif len(words) < least_words:
            verdict = "removed_too_few_words"
        elif "lorem ipsum" in lower:
            verdict = "lorem_ipsum"
        elif "javascript" in lower:
            verdict = "removed_javascript"
        elif "{" in line:
            verdict = "curly_bracket"
        elif any(phrase in lower for phrase in POLICIES):
            verdict = "removed_policy"
        else:
            verdict = "lines_kept"
        counts["lines"] += 1
        counts[verdict] = counts.get(verdict, 0) + 1
        if verdict in ("lorem_ipsum", "curly_bracket"):
            counts["lines_kept"] += 1
    return counts


def agree(texts: list[str], least_words: int, variant: str, terminal: bool) -> None:
    columns = c4(variant=variant, terminal_punctuation=terminal)(TextBatch.of(texts))  # type: ignore[arg-type]  # one of the two
    for at, text in enumerate(texts):
        expected = naive(text, least_words, terminal)
        for name, values in columns.items():
            if name.startswith(("lines", "removed_")):
                assert values[at].as_py() == expected.get(name, 0), (name, text)
            elif name in ("lorem_ipsum", "curly_bracket"):
                assert values[at].as_py() == (expected[name] > 0), (name, text)


pieces = st.sampled_from(
    [
        *POLICIES,
        "javascript",
        "JavaScript",
        "lorem ipsum",
        "{",
        "[1]",
        "[",
        "]",
        "[edit]",
        "[citation needed]",
        "12",
        " ",
        "  ",
        "\u00a0",
        "\u3000",
        "\t",
        "\u2003",
        "\x1f",
        "\n",
        "\r\n",
        "\r",
        "\u2028",
        "\x85",
        "\x0b",
        "\x1c",
        ".",
        "...",
        "?",
        '"',
        "'",
        "…",
        "a",
        "word",
        "ü",
        "x" * 600,
        "policy",
        "use",
        "terms",
        "cookies",
        "of ",
        "é",
        "中",
    ]
)


@given(st.lists(st.lists(pieces, max_size=14).map("".join), max_size=4), st.booleans())
def test_verdicts_equal_those_of_plain_string_functions(texts: list[str], terminal: bool) -> None:
    agree(texts, 3, "paper", terminal)
    agree(texts, 5, "code", terminal)


def test_verdicts_equal_those_of_plain_string_functions_on_web_pages(shared: Path) -> None:
    with (shared / "data" / "web_wet_trafilatura.dev.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        texts = [json.loads(line)["text"] for line in lines]
    assert len(texts) > 700
    agree(texts, 5, "code", True)
    agree(texts, 3, "paper", False)
