from __future__ import annotations

import re
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.score.lines import lines
from curate.text.batch import TextBatch
from curate.text.props import DIGIT, LETTER, PROPS, TERMINAL, UPPER
from tests.steps.score.gopher_reference import SPACE, ratio
from tests.text.reference import TEXTS, batch_of_bytes, whitespace

COUNTER = re.compile(
    r"[0-9][0-9,.]*[kmb]?\s+(like|share|comment|retweet|repost|quote|bookmark|upvote|downvote|download|view|follower)s?"
)


def values(text: str, **args: object) -> dict[str, object]:
    return {name: column[0].as_py() for name, column in lines(**args)(TextBatch.of([text])).items()}


def runs_of_units(items: list[str], copies: int, *, first: bool) -> set[int]:
    """The places of one to four items that stand `copies` times in a row or more; without the first copy if asked."""
    found: set[int] = set()
    for unit in range(1, 5):
        for at in range(len(items) - unit * copies + 1):
            if all(items[at + i] == items[at + i % unit] for i in range(unit * copies)):
                found.update(range(at + (0 if first else unit), at + unit * copies))
    return found


def longest_run(items: list[str]) -> int:
    best = run = 1 if items else 0
    for a, b in pairwise(items):
        run = run + 1 if a == b else 1
        best = max(best, run)
    return best


def has(text: str, flag: int) -> int:
    return sum(bool(PROPS[ord(char)] & flag) for char in text)


def reference(text: str) -> dict[str, float]:
    every = text.split("\n")
    if not every[-1].strip(SPACE):
        every.pop()
    kept = [line.strip(SPACE) for line in every if line.strip(SPACE)]
    sizes = [len(line) for line in kept]
    words = [whitespace(line) for line in kept]
    marks = [[char for char in line if char not in SPACE] for line in kept]
    upper = [2 * has(line, UPPER) > len(line) for line in kept]
    counter = [len(w) == 2 and bool(COUNTER.fullmatch(" ".join(w).lower())) for w in words]
    paragraphs = sum(bool(b.strip(SPACE)) and not a.strip(SPACE) for a, b in pairwise(["", *every]))
    removed = sum(len(w) for w, u, c in zip(words, upper, counter, strict=True) if u or c or len(w) == 1)
    total = sum(map(len, words))
    return {
        "lines": len(kept),
        "paragraphs": paragraphs,
        "blank_lines": ratio(len(every) - len(kept), len(every)),
        "mean_line_length": ratio(sum(sizes), len(kept)),
        "median_line_length": statistics.median(sizes) if sizes else 0,
        "max_line_length": max(sizes, default=0),
        "mean_paragraph_length": ratio(sum(sizes), paragraphs),
        "mean_words": ratio(total, len(kept)),
        "short_lines": ratio(sum(size <= 10 for size in sizes), len(kept)),
        "upper_lines": ratio(sum(upper), len(kept)),
        "numeric_lines": ratio(sum(has(x, DIGIT) > 0 and not has(x, LETTER) for x in kept), len(kept)),
        "counter_lines": ratio(sum(counter), len(kept)),
        "single_word_lines": ratio(sum(len(w) == 1 for w in words), len(kept)),
        "punct_lines": ratio(sum(has(x[-1], TERMINAL) for x in kept), len(kept)),
        "ellipsis_lines": ratio(sum(x.endswith(("...", "…")) for x in kept), len(kept)),
        "bullet_lines": ratio(sum(x[0] in "-*–•●‣⁃⁌⁍∙○◘◦⦾⦿" for x in kept), len(kept)),
        "short_line_chars": ratio(sum(size for size in sizes if size <= 10), sum(sizes)),
        "repeated_chars": ratio(sum(len(runs_of_units(m, 4, first=True)) for m in marks), sum(map(len, marks))),
        "max_char_run": max(map(longest_run, marks), default=0),
        "repeated_words": ratio(sum(len(runs_of_units(w, 2, first=False)) for w in words), total),
        "max_word_run": max(map(longest_run, words), default=0),
        "removed_words": ratio(removed, total),
    }


PIECES = st.lists(
    st.sampled_from(
        [*"aAb1=é東", "ha ", "ab", "A B ", "likes", "3 ", "1,2k ", "\n", "\n\n", " ", "...", "…", ".", "- "]
    ),
    max_size=30,
).map("".join)


@given(st.lists(TEXTS | PIECES, max_size=4))
def test_statistics_are_those_of_the_reference(texts: list[str]) -> None:
    found = lines(splitter="whitespace", short_line=10)(TextBatch.of(texts))
    for row, text in enumerate(texts):
        expected = reference(text)
        assert {name: column[row].as_py() for name, column in found.items()} == pytest.approx(expected, abs=1e-12), text


def test_the_lines_that_refinedweb_removes_are_counted_by_kind() -> None:
    found = values("HOME | ABOUT US\n3 likes\n1.2K Followers\nShare\n2019\nA line of prose stays where it is.")
    assert found["upper_lines"] == pytest.approx(1 / 6)
    assert found["counter_lines"] == pytest.approx(2 / 6)
    assert found["single_word_lines"] == pytest.approx(2 / 6)
    assert found["removed_words"] == pytest.approx(9 / 17)
    assert values("3rd views")["counter_lines"] == values("three likes")["counter_lines"] == 0


def test_a_golden_row() -> None:
    text = "HOME | TICKETS\n10.00\n214 likes\nShare\n\n- The mill is open on Sundays, on Sundays…\nsooooo good!\n"
    assert values(text) == pytest.approx(
        {
            "lines": 6, "paragraphs": 2, "blank_lines": 1 / 7, "mean_line_length": 14.5, "median_line_length": 10.5,
            "max_line_length": 42, "mean_paragraph_length": 43.5, "mean_words": 16 / 6, "short_lines": 5 / 6,
            "upper_lines": 1 / 6, "numeric_lines": 1 / 6, "counter_lines": 1 / 6, "single_word_lines": 2 / 6,
            "punct_lines": 1 / 6, "ellipsis_lines": 1 / 6, "bullet_lines": 1 / 6, "short_line_chars": 45 / 87,
            "repeated_chars": 5 / 75, "max_char_run": 5, "repeated_words": 2 / 16, "max_word_run": 1,
            "removed_words": 6 / 16,
        }
    )  # fmt: skip


def test_what_repeats_within_a_line_is_found_and_what_does_so_over_lines_is_not() -> None:
    assert values("ha ha, ha! ha")["repeated_words"] == 0.75
    assert values("click here click here click here now")["repeated_words"] == pytest.approx(4 / 7)
    assert values("ha\nha\nha")["repeated_words"] == 0
    assert values("=" * 40)["repeated_chars"] == 1
    assert values("= = = =")["max_char_run"] == 4
    assert values("haha banana www. Mississippi 1000 ...")["repeated_chars"] == 0
    assert values("hahahaha yes")["repeated_chars"] == pytest.approx(8 / 11)
    assert values("lol lol lol")["max_word_run"] == 3


def test_an_empty_text_gives_zeros_and_an_empty_batch_no_rows() -> None:
    assert {value for column in lines()(TextBatch.of(["", None, " \n"])).values() for value in column.to_pylist()} <= {
        0,
        1.0,  # all lines of the last text are blank
    }
    assert {len(column) for column in lines()(TextBatch.of([])).values()} == {0}


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_invalid_utf8_gives_a_value_for_each_row(texts: list[bytes]) -> None:
    found = lines()(batch_of_bytes(texts))
    assert all(len(column) == len(texts) and column.null_count == 0 for column in found.values())
