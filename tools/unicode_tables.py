"""Write `curate/text/unicode_tables.py`: what the text pass knows of each code point.

    python tools/unicode_tables.py > curate/text/unicode_tables.py

Needs the `regex` package, whose version decides the version of Unicode. The numbers of the classes
and flags are those of `curate/text/props.py`; the meaning of each is written there.
"""

from __future__ import annotations

import base64
import zlib
from array import array

import regex

from curate.text import props

LIMIT = 0x110000
WORD_BREAK = {
    "CR": props.CR,
    "LF": props.LF,
    "Newline": props.NEWLINE,
    "Extend": props.EXTEND,
    "ZWJ": props.ZWJ,
    "Format": props.FORMAT,
    "Katakana": props.KATAKANA,
    "Hebrew_Letter": props.HEBREW,
    "ALetter": props.ALETTER,
    "Single_Quote": props.SINGLE_QUOTE,
    "Double_Quote": props.DOUBLE_QUOTE,
    "MidNumLet": props.MID_NUM_LET,
    "MidLetter": props.MID_LETTER,
    "MidNum": props.MID_NUM,
    "Numeric": props.NUMERIC,
    "ExtendNumLet": props.EXTEND_NUM_LET,
    "Regional_Indicator": props.REGIONAL,
    "WSegSpace": props.SPACE,
}

# FineWeb ends a line with a sentence terminal of Unicode as it was when the list was made: with
# three Khmer signs that have left the property since, without those that came later and without
# the one-dot leader and the vertical presentation forms.
KHMER_SIGNS = {0x17D6, 0x17D9, 0x17DA}
NOT_TERMINAL = {0x2024, 0xFE12, 0xFE15, 0xFE16, 0x1B4E, 0x1B4F, 0x1B7F, 0x2CF9, 0x2CFA, 0x2CFB}
NOT_TERMINAL |= {0x2E60, 0x2E61, 0x113D4, 0x113D5, 0x16D6E, 0x16D6F}

# What datatrove's Gopher filter takes for punctuation, beside ASCII punctuation and control
# characters and the terminals above. It follows a list of CCNet, whose full-width 1 is kept.
SYMBOLS = "«´»–—’“”„…∶━►、。〈〉《》「」【】！％（），．１：；？～"


def matching(pattern: str) -> set[int]:
    """The code points that match a pattern of one character."""
    every = "".join(map(chr, range(LIMIT)))
    return {ord(found.group()) for found in regex.finditer(pattern, every)}


def table() -> array[int]:
    """The class and the flags of every code point."""
    found = array("H", bytes(2 * LIMIT))
    for name, number in WORD_BREAK.items():
        for code in matching(rf"\p{{WB={name}}}"):
            found[code] = number
    complex_context = matching(r"\p{LB=SA}")
    for code in complex_context:
        if found[code] == props.OTHER:
            found[code] = props.COMPLEX
    terminal = (matching(r"\p{STerm}") | KHMER_SIGNS) - NOT_TERMINAL
    ascii_punctuation = matching(r"[\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]")
    controls = set(range(32)) | set(range(0x7F, 0xA0))
    punctuation = (controls - {0x09, 0x0A}) | ascii_punctuation | terminal | set(map(ord, SYMBOLS))
    ideographs = matching(r"[\p{Ideographic}\p{sc=Hira}\p{sc=Kana}]")
    flags = {
        props.PICTOGRAPH: matching(r"\p{Extended_Pictographic}"),
        props.WHITE_SPACE: matching(r"\p{White_Space}"),
        props.LETTER: matching(r"\p{L}"),
        props.ALNUM: matching(r"[\p{L}\p{N}]"),
        props.DIGIT: matching(r"\p{Nd}"),
        props.UPPER: matching(r"[\p{Lu}\p{Lt}]"),
        props.LOWER: matching(r"\p{Ll}"),
        props.TERMINAL: terminal,
        props.NOT_PUNCTUATION: set(range(LIMIT)) - punctuation,
        props.DICTIONARY: complex_context | ideographs,
    }
    for flag, codes in flags.items():
        for code in codes:
            found[code] |= flag
    return found


def main() -> None:
    """Print the module."""
    values = table()
    starts = [code for code in range(LIMIT) if code == 0 or values[code] != values[code - 1]]
    ends = [*starts[1:], LIMIT]
    lengths = array("I", [end - start for start, end in zip(starts, ends, strict=True)])
    kinds = array("H", [values[start] for start in starts])
    packed = base64.b85encode(zlib.compress(lengths.tobytes() + kinds.tobytes(), 9)).decode()
    print('"""Properties of code points as compressed ranges; written by `tools/unicode_tables.py`."""')
    print()
    print(f"# {len(starts)} ranges from regex {regex.__version__}: their lengths (u4), their values (u2).")
    print(f"RANGES = {len(starts)}")
    print("PACKED = (")
    for at in range(0, len(packed), 100):
        print(f'    "{packed[at : at + 100]}"')
    print(")")


if __name__ == "__main__":
    main()
