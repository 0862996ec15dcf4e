"""What the rules of FineWeb count of the lines of a text.

punctuated, short, repeated, feeds = line_fractions(batch, short_line=30)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.batch import TextBatch
from curate.text.native import Bytes, Chars, Floats, Ints, Keys, Props, kernel
from curate.text.props import PROPS, TERMINAL
from curate.text.rules.units import repeated
from curate.text.utf8 import decode_before


def line_fractions(batch: TextBatch, short_line: int) -> npt.NDArray[np.float64]:
    """Four rows, a value a text: lines punctuated, lines short, characters of lines seen before, line feeds.

    Lines are those that are not blank; the first three are fractions, the last is a number. A line that
    white space follows does not end in punctuation.
    """
    lines = batch.lines()
    out = np.zeros((4, len(batch)), dtype=np.float64)
    if len(batch) == 0:
        return out
    most = int(np.diff(lines.offsets).max()) + 2
    keys, sizes = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.int64)
    count = np.empty(most, dtype=np.int64)
    table = np.empty(1 << (2 * most - 1).bit_length(), dtype=np.int32)
    _line_fractions(
        batch.data,
        PROPS,
        lines.offsets,
        lines.start,
        lines.end,
        lines.first,
        lines.last,
        lines.hash,
        lines.chars,
        short_line,
        keys,
        sizes,
        count,
        table,
        out,
    )
    return out


@kernel
def _line_fractions(
    data: Bytes,
    props: Props,
    offsets: Ints,
    start: Ints,
    end: Ints,
    first: Ints,
    last: Ints,
    key: Keys,
    chars: Chars,
    short_line: int,
    keys: Keys,
    sizes: Ints,
    count: Ints,
    table: Chars,
    out: Floats,
) -> None:
    for row in range(len(offsets) - 1):
        units = 0
        total = 0
        punctuated = 0
        short = 0
        for line in range(offsets[row], offsets[row + 1]):
            total += chars[line]
            if first[line] == last[line]:
                continue
            keys[units] = key[line]
            sizes[units] = chars[line]
            units += 1
            short += chars[line] <= short_line
            code, _ = decode_before(data, start[line], end[line])
            punctuated += props[code] & TERMINAL != 0
        out[3, row] = max(offsets[row + 1] - offsets[row] - 1, 0)
        if units:
            out[0, row] = punctuated / units
            out[1, row] = short / units
        if units > 1:
            _, again_chars, _, _ = repeated(keys, sizes, units, count, table)
            out[2, row] = again_chars / total
