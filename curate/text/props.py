"""What the text pass knows of a code point: its word-break class and some flags, in 16 bits.

    from curate.text.props import LETTER, PROPS
    PROPS[ord("é")] & LETTER

The five low bits are the class of Unicode's annex 29 (Word_Break), with one class of ours:
`COMPLEX`, letters of scripts that write no space between words and that the annex leaves apart
(Line_Break SA: Thai, Lao, Khmer, Burmese and their like). Compiled kernels take `PROPS` as an
argument: as a global, 2 MB of it would be copied into each compiled file.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
import numpy.typing as npt

OTHER, CR, LF, NEWLINE, EXTEND, ZWJ, FORMAT, KATAKANA, HEBREW, ALETTER = range(10)
SINGLE_QUOTE, DOUBLE_QUOTE, MID_NUM_LET, MID_LETTER, MID_NUM, NUMERIC = range(10, 16)
EXTEND_NUM_LET, REGIONAL, SPACE, COMPLEX = range(16, 20)
CLASS_MASK = 31

PICTOGRAPH = 1 << 5  # Extended_Pictographic
LETTER = 1 << 6  # general category L
ALNUM = 1 << 7  # general categories L and N
NOT_PUNCTUATION = 1 << 8  # in none of the characters datatrove's Gopher filter takes for symbols
DICTIONARY = 1 << 9  # a script whose words need a dictionary: Thai and its like, Han, kana
WHITE_SPACE = 1 << 10  # White_Space
DIGIT = 1 << 11  # general category Nd
UPPER = 1 << 12  # general categories Lu and Lt
LOWER = 1 << 13  # general category Ll
TERMINAL = 1 << 14  # ends a sentence, as FineWeb lists it: nearly Sentence_Terminal

# `Words.flags` holds four neighbouring bits: LETTER, ALNUM, NOT_PUNCTUATION and DICTIONARY, shifted down.
FLAG_SHIFT = 6
FLAGS = 15


def _load() -> npt.NDArray[np.uint16]:
    from curate.text.unicode_tables import PACKED, RANGES

    raw = zlib.decompress(base64.b85decode(PACKED))
    lengths = np.frombuffer(raw, dtype="<u4", count=RANGES)
    values = np.frombuffer(raw, dtype="<u2", offset=4 * RANGES)
    table = np.repeat(values.astype(np.uint16), lengths)
    table.flags.writeable = False
    return table


PROPS = _load()
