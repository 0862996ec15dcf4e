"""Slow, plain versions of the splitters, for the kernels to be compared with."""

from __future__ import annotations

import itertools
from functools import cache

import pyarrow as pa
import regex
from hypothesis import strategies as st

from curate.text.batch import TextBatch
from curate.text.spans import Words

CLASSES = [
    "CR",
    "LF",
    "Newline",
    "Extend",
    "ZWJ",
    "Format",
    "Katakana",
    "Hebrew_Letter",
    "ALetter",
    "Single_Quote",
    "Double_Quote",
    "MidNumLet",
    "MidLetter",
    "MidNum",
    "Numeric",
    "ExtendNumLet",
    "Regional_Indicator",
    "WSegSpace",
]
IGNORED = {"Extend", "ZWJ", "Format"}
LETTERS = {"ALetter", "Hebrew_Letter"}
WHITE = regex.compile(r"\p{White_Space}+")


@cache
def word_break(char: str) -> str:
    found = next((name for name in CLASSES if regex.match(rf"\p{{WB={name}}}", char)), "Other")
    return "Complex" if found == "Other" and regex.match(r"\p{LB=SA}", char) else found


def boundary(text: str, at: int) -> bool:
    """Whether annex 29 breaks before text[at], rule by rule; letters of Thai and its like stay together."""
    kinds = [word_break(char) for char in text]
    left, right = kinds[at - 1], kinds[at]
    if (left, right) == ("CR", "LF"):
        return False
    if {left, right} & {"CR", "LF", "Newline"}:
        return True
    if left == "ZWJ" and regex.match(r"\p{Extended_Pictographic}", text[at]):
        return False
    if left == right == "WSegSpace":
        return False
    if right in IGNORED:
        return False
    before = []  # the two classes before, without what is ignored; the start of a line ends the search
    k = at - 1
    while k >= 0 and len(before) < 2:
        first = k == 0 or kinds[k - 1] in {"CR", "LF", "Newline"}
        if kinds[k] not in IGNORED or first:
            before.append(kinds[k])
        k -= 1
    one, two = before[0], before[1] if len(before) > 1 else ""
    after = next((kind for kind in kinds[at + 1 :] if kind not in IGNORED), "")
    middle = {"MidLetter", "MidNumLet", "Single_Quote"}
    numeric_middle = {"MidNum", "MidNumLet", "Single_Quote"}
    joined = (
        (one in LETTERS and right in LETTERS)
        or (one in LETTERS and right in middle and after in LETTERS)
        or (two in LETTERS and one in middle and right in LETTERS)
        or (one == "Hebrew_Letter" and right == "Single_Quote")
        or (one == "Hebrew_Letter" and right == "Double_Quote" and after == "Hebrew_Letter")
        or (two == "Hebrew_Letter" and one == "Double_Quote" and right == "Hebrew_Letter")
        or (one == "Numeric" and right == "Numeric")
        or (one in LETTERS and right == "Numeric")
        or (one == "Numeric" and right in LETTERS)
        or (two == "Numeric" and one in numeric_middle and right == "Numeric")
        or (one == "Numeric" and right in numeric_middle and after == "Numeric")
        or (one == "Katakana" and right == "Katakana")
        or (one in LETTERS | {"Numeric", "Katakana", "ExtendNumLet"} and right == "ExtendNumLet")
        or (one == "ExtendNumLet" and right in LETTERS | {"Numeric", "Katakana"})
        or (one == right == "Complex")
    )
    if one == right == "Regional_Indicator":
        significant = [kind for kind in kinds[:at] if kind not in IGNORED]
        run = 0
        while run < len(significant) and significant[-1 - run] == "Regional_Indicator":
            run += 1
        joined = run % 2 == 1
    return not joined


def uax29(text: str) -> list[str]:
    cuts = [0, *(at for at in range(1, len(text)) if boundary(text, at)), len(text)]
    segments = [text[start:end] for start, end in itertools.pairwise(cuts)]
    return [segment for segment in segments if regex.search(r"[\p{L}\p{N}]", segment)]


def whitespace(text: str) -> list[str]:
    return [word for word in WHITE.split(text) if word]


def words_of(batch: TextBatch, row: int, splitter: str) -> list[str]:
    """What the kernel found, as strings."""
    words = batch.words(splitter)
    return [
        bytes(batch.data[words.start[k] : words.end[k]]).decode("utf-8", "replace")
        for k in range(words.offsets[row], words.offsets[row + 1])
    ]


def treebank_tokens(batch: TextBatch, row: int) -> list[str]:
    """Treebank words with straight double quotes as the rules write them."""
    words: Words = batch.words("treebank")
    opening = TextBatch.of(["``"]).words("whitespace").hash[0]
    tokens = words_of(batch, row, "treebank")
    for place, k in enumerate(range(words.offsets[row], words.offsets[row + 1])):
        if tokens[place] in ('"', "''"):
            tokens[place] = "``" if words.hash[k] == opening else "''"
    return tokens


def batch_of_bytes(texts: list[bytes]) -> TextBatch:
    """A batch whose bytes need not be UTF-8."""
    raw = pa.array(texts, type=pa.large_binary())
    return TextBatch(pa.LargeStringArray.from_buffers(len(raw), raw.buffers()[1], raw.buffers()[2]))


FRAGMENTS = st.sampled_from(
    [
        *(" ", "  ", "\n", "\n\n", "\n\n\n", "\t", "\r\n", "\u2028", "\u00a0", "\x0b", "\x85"),
        *(
            "the",
            "The",
            "of",
            "and",
            "with",
            "a",
            "ab",
            "abc",
            "word",
            "naïve",
            "Straße",
            "Привет",
            "e\u0301",
        ),
        *("1", "12", "3.14", "1,000", "٣", "٤", "don't", "dogs'", "cannot", "'tis", "x_y", "_", "#", "##"),
        *(
            "...",
            "…",
            ". . .",
            ".",
            ",",
            "!",
            "?",
            ":",
            ";",
            "'",
            '"',
            "''",
            "``",
            "-",
            "--",
            "•",
            "*",
            "●",
            "- ",
        ),
        *("(", ")", "[…]", "«", "»", "”", "’", "/", "@", "read more", "-»"),
        *(
            "東",
            "京",
            "タワー",
            "かな",
            "ภาษา",
            "ไทย",
            "ខ្មែរ",
            "한국어",
            "שלום",
            'א"ב',
            "א'",
            "🙂",
            "👨\u200d👩\u200d👧",
        ),
        *("\u200d", "ℹ", "🇩🇪", "🇫", "\u0301", "\ufeff", "\u00ad", "\U00010400", "ﬁ", "Ⅷ"),
    ]
)
TEXTS = st.lists(FRAGMENTS, max_size=40).map("".join) | st.text(max_size=40)
