from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.score.markup import markup
from curate.text.batch import TextBatch
from curate.text.props import ALNUM, CLASS_MASK, DIGIT, EXTEND, LETTER, PROPS, UPPER
from curate.text.rules.markup import STARTS
from tests.steps.score.gopher_reference import SPACE, ratio
from tests.text.reference import TEXTS, batch_of_bytes

TAG = regex.compile(r"<[A-Za-z!/?][^<>]*>")
ENTITY = regex.compile(r"&(?=[^;]{1,10};)#?[A-Za-z0-9]+;")
URL = regex.compile(r"(?<![A-Za-z])(?:https?://|ftp://|www\.)[^\p{White_Space}\"<>]*")
LATEX = regex.compile(r"(?<!\\)\\[A-Za-z]{2,}")


def values(text: str) -> dict[str, float]:
    return {name: column[0].as_py() for name, column in markup()(TextBatch.of([text])).items()}


def is_code(line: str) -> bool:
    syntax = line.endswith(";") and any(char in "=()[]{}" for char in line)
    return syntax or line.endswith(("{", "}")) or line.startswith(STARTS)


def is_markdown(line: str) -> bool:
    table = len(line) > 1 and line.startswith("|") and line.endswith("|")
    return table or "](" in line or bool(regex.match(r"#{1,6} |> |```|~~~", line))


def reference(text: str) -> dict[str, float]:
    def share(pattern: regex.Pattern[str]) -> float:
        return ratio(sum(len(found[0]) for found in pattern.finditer(text)), len(text))

    def having(flag: int) -> int:
        return sum(bool(PROPS[ord(char)] & flag) for char in text)

    lines = [line.strip(SPACE) for line in text.split("\n") if line.strip(SPACE)]
    kinds = [int(PROPS[ord(char)]) for char in text if char not in SPACE]
    other = sum(not kind & ALNUM and kind & CLASS_MASK != EXTEND for kind in kinds)
    return {
        "tags": share(TAG),
        "entities": share(ENTITY),
        "urls": share(URL),
        "latex": share(LATEX),
        "braces": ratio(text.count("{") + text.count("}"), len(text)),
        "non_alnum": ratio(other, len(text)),
        "digits": ratio(having(DIGIT), len(text)),
        "white_space": ratio(len(text) - len(kinds), len(text)),
        "upper": ratio(having(UPPER), having(LETTER)),
        "code_lines": ratio(sum(map(is_code, lines)), len(lines)),
        "markdown_lines": ratio(sum(map(is_markdown, lines)), len(lines)),
    }


PIECES = st.lists(
    st.sampled_from(
        [
            *"aZ1é東 \n\t;{}=()<>/&#\\|]([`~!?:.",
            "http://x",
            "https://",
            "www.a",
            "ftp://b",
            "import ",
            "if (",
            "<p",
            "&amp;",
        ]
    ),
    max_size=25,
).map("".join)


@given(st.lists(TEXTS | PIECES, max_size=4))
def test_shares_are_those_of_the_reference(texts: list[str]) -> None:
    found = markup()(TextBatch.of(texts))
    for row, text in enumerate(texts):
        expected = reference(text)
        assert {name: found[name][row].as_py() for name in expected} == pytest.approx(expected, abs=1e-12), text


def test_a_golden_row() -> None:
    text = "# Read\n<p>AT&amp;T: https://a.org</p>\nx = f(1);\n\\alpha"
    assert values(text) == pytest.approx(
        {
            "tags": 7 / 54, "entities": 5 / 54, "urls": 13 / 54, "latex": 6 / 54, "braces": 0, "non_alnum": 18 / 54,
            "digits": 1 / 54, "white_space": 7 / 54, "upper": 4 / 28, "code_lines": 0.25, "markdown_lines": 0.25,
        }
    )  # fmt: skip


def test_a_page_of_html_is_mostly_tags_and_prose_has_none() -> None:
    html = '<html><body class="x"><p>Hi &amp; bye&nbsp;&#8217;</p></body></html>'
    assert values(html)["tags"] > 0.6
    assert values(html)["entities"] == pytest.approx(18 / len(html))
    prose = "If a < b & c > d; then R&D goes on, says the <3 of it."
    assert values(prose)["tags"] == values(prose)["entities"] == values(prose)["code_lines"] == 0


def test_code_is_distinguished_from_verse() -> None:
    code = "#include <stdio.h>\nint main() {\n  for (;;) x = y[1];\n  return 0;\n}\n"
    verse = "The curfew tolls the knell of parting day;\nThe lowing herd wind slowly o'er the lea;\n"
    assert values(code)["code_lines"] == 1
    assert values(verse)["code_lines"] == 0


def test_latex_commands_markdown_and_urls_are_counted() -> None:
    assert values(r"\frac{a}{b} \n \\alpha")["latex"] == pytest.approx(5 / 22)
    assert values("# Title\n\nSee [this](x).\n> quoted\n| a | b |\nplain")["markdown_lines"] == 0.8
    assert values("at www.a.org or (https://b.org/x?y) now")["urls"] == pytest.approx((9 + 18) / 39)


def test_an_empty_text_gives_zeros_and_an_empty_batch_no_rows() -> None:
    assert {value for column in markup()(TextBatch.of(["", None])).values() for value in column.to_pylist()} == {0.0}
    assert {len(column) for column in markup()(TextBatch.of([])).values()} == {0}


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_invalid_utf8_gives_a_value_for_each_row(texts: list[bytes]) -> None:
    found = markup()(batch_of_bytes(texts))
    assert all(len(column) == len(texts) and column.null_count == 0 for column in found.values())
