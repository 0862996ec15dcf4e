from __future__ import annotations

import numpy as np
import pytest
import regex

from curate.text import props

EVERY = "".join(map(chr, range(0x110000)))


@pytest.mark.parametrize(
    ("flag", "pattern"),
    [
        (props.LETTER, r"\p{L}"),
        (props.ALNUM, r"[\p{L}\p{N}]"),
        (props.DIGIT, r"\p{Nd}"),
        (props.WHITE_SPACE, r"\p{White_Space}"),
        (props.UPPER, r"[\p{Lu}\p{Lt}]"),
        (props.DICTIONARY, r"[\p{LB=SA}\p{Ideographic}\p{sc=Hira}\p{sc=Kana}]"),
    ],
)
def test_a_flag_is_its_unicode_property(flag: int, pattern: str) -> None:
    expected = [ord(found.group()) for found in regex.finditer(pattern, EVERY)]
    ours = np.flatnonzero(props.PROPS & flag)
    # A newer or older Unicode than the table's has letters of its own, but no other answer for most.
    assert len(set(expected) ^ set(ours.tolist())) < 0.05 * len(expected)


@pytest.mark.parametrize("name", ["ALetter", "Extend", "MidNumLet", "Katakana", "Numeric", "Regional_Indicator"])
def test_a_class_is_its_word_break_property(name: str) -> None:
    number = {
        "ALetter": props.ALETTER,
        "Extend": props.EXTEND,
        "MidNumLet": props.MID_NUM_LET,
        "Katakana": props.KATAKANA,
        "Numeric": props.NUMERIC,
        "Regional_Indicator": props.REGIONAL,
    }[name]
    expected = {ord(found.group()) for found in regex.finditer(rf"\p{{WB={name}}}", EVERY)}
    ours = set(np.flatnonzero(number == (props.PROPS & props.CLASS_MASK)).tolist())
    assert len(expected ^ ours) < 0.05 * len(expected)
