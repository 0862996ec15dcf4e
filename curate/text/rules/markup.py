r"""One pass over the bytes of a text that counts code, mark-up and kinds of characters.

    found = markup_counts(batch)
    found[:, TAGS]                               # code points within <...>

Counts for each text, in the order of the names below; all but the three of lines are of code points.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text import props as p
from curate.text.batch import TextBatch
from curate.text.native import Bytes, Ints, Props, kernel
from curate.text.props import PROPS
from curate.text.utf8 import decode, is_space

(
    CHARS, TAGS, ENTITIES, URLS, LATEX, BRACES, LETTERS, UPPER, DIGITS, WHITE_SPACE, OTHER, LINES, CODE, MARKDOWN,
) = range(14)  # fmt: skip
COUNTS = 14

_ENTITY_MOST = 10  # characters between `&` and `;`, as in `&thetasym;`

# A line that starts so is code in one of the languages that are met most on the web; `//` and `/*` are comments.
STARTS = (
    "#include", "#define", "#!/", "import ", "from __future__", "def ", "class ", "return ", "function ", "function(",
    "var ", "let ", "const ", "if (", "for (", "while (", "switch (", "else {", "try {", "catch (", "public ",
    "private ", "protected ", "static ", "package ", "namespace ", "using ", "<?php", "<?xml", "<!DOCTYPE", "//", "/*",
    "SELECT ", "INSERT INTO ", "CREATE TABLE ", "$ ", ">>> ",
)  # fmt: skip


def _table(words: tuple[str, ...]) -> tuple[Bytes, Ints]:
    """Their bytes one after the other, and where each begins; the last number is the end."""
    raw = np.frombuffer("".join(words).encode(), dtype=np.uint8)
    at = np.cumsum([0, *map(len, words)])
    at.flags.writeable = False
    return raw, at


_START_BYTES, _START_AT = _table(STARTS)


def markup_counts(batch: TextBatch) -> npt.NDArray[np.int64]:
    """A row of counts for each text."""
    out = np.zeros((len(batch), COUNTS), dtype=np.int64)
    _markup(batch.data, PROPS, batch.offsets, _START_BYTES, _START_AT, out)
    return out


@kernel
def _alpha(byte: int) -> bool:
    return 97 <= byte | 32 <= 122


@kernel
def _space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@kernel
def _markup(data: Bytes, props: Props, offsets: Ints, starts: Bytes, starts_at: Ints, out: Ints) -> None:
    for row in range(len(offsets) - 1):
        at = offsets[row]
        stop = offsets[row + 1]
        chars = 0
        tag = -1  # code points before the `<` of a tag that may be closed yet
        entity = -1  # the same of the `&` of an entity
        url = -1  # and of a URL
        latex = -1  # and of a command of LaTeX
        first = -1  # where the line's first character that is not white space is
        last = -1  # and its last one
        before = 32
        while at < stop:
            byte: int = data[at]
            size = 1
            if byte < 0x80:
                kind = props[byte]
            else:
                code, size = decode(data, at, stop)
                kind = props[code]
                entity = -1
                if is_space(code):
                    byte = 32
            if latex >= 0 and not _alpha(byte):
                if chars - latex > 2:
                    out[row, LATEX] += chars - latex
                latex = -1
            if kind & p.LETTER:
                out[row, LETTERS] += 1
                out[row, UPPER] += kind & p.UPPER != 0
            elif kind & p.DIGIT:
                out[row, DIGITS] += 1
            elif _space(byte):
                out[row, WHITE_SPACE] += 1
                if url >= 0:
                    out[row, URLS] += chars - url
                    url = -1
                entity = -1
                if byte == 10:
                    if first >= 0:
                        _line(data, first, last + 1, starts, starts_at, out, row)
                    first = -1
            else:
                out[row, OTHER] += kind & p.ALNUM == 0 and kind & p.CLASS_MASK != p.EXTEND
                if byte == 60:  # <
                    tag = -1
                    if at + 1 < stop and (_alpha(data[at + 1]) or data[at + 1] in (33, 47, 63)):
                        tag = chars
                elif byte == 62:  # >
                    if tag >= 0:
                        out[row, TAGS] += chars + 1 - tag
                    tag = -1
                elif byte == 59 and entity >= 0:  # ;
                    if 1 < chars - entity <= _ENTITY_MOST + 1 and before != 35:
                        out[row, ENTITIES] += chars + 1 - entity
                elif byte == 123 or byte == 125:
                    out[row, BRACES] += 1
                elif byte == 92 and before != 92:
                    latex = chars
                if byte == 38:  # &
                    entity = chars
                elif byte != 35 or chars != entity + 1:  # all but `#` right after it
                    entity = -1
                if url >= 0 and byte in (34, 60, 62):  # " < >
                    out[row, URLS] += chars - url
                    url = -1
            if url < 0 and (byte | 32) in (102, 104, 119) and not _alpha(before) and _url(data, at, stop):
                url = chars
            if not _space(byte):
                if first < 0:
                    first = at
                last = at + size - 1
            before = byte
            chars += 1
            at += size
        if url >= 0:
            out[row, URLS] += chars - url
        if latex >= 0 and chars - latex > 2:
            out[row, LATEX] += chars - latex
        if first >= 0:
            _line(data, first, last + 1, starts, starts_at, out, row)
        out[row, CHARS] = chars


@kernel
def _url(data: Bytes, at: int, stop: int) -> bool:
    """Whether `http://`, `https://`, `ftp://` or `www.` stands here, in lower case."""
    if stop - at < 5:
        return False
    if data[at] == 119:
        return bool(data[at + 1] == 119 and data[at + 2] == 119 and data[at + 3] == 46)
    if data[at] == 102:
        if data[at + 1] != 116 or data[at + 2] != 112:
            return False
        at += 3
    elif data[at] == 104:
        if data[at + 1] != 116 or data[at + 2] != 116 or data[at + 3] != 112:
            return False
        at += 4
        if data[at] == 115:
            at += 1
    else:
        return False
    return bool(at + 2 < stop and data[at] == 58 and data[at + 1] == 47 and data[at + 2] == 47)


@kernel
def _line(data: Bytes, first: int, end: int, starts: Bytes, starts_at: Ints, out: Ints, row: int) -> None:
    """Judge a line that is not blank, without the white space at its ends."""
    out[row, LINES] += 1
    final = data[end - 1]
    code = final == 123 or final == 125 or (final == 59 and _has_syntax(data, first, end))
    for k in range(len(starts_at) - 1):
        if code:
            break
        length = starts_at[k + 1] - starts_at[k]
        if end - first < length or data[first] != starts[starts_at[k]]:
            continue
        same = True
        for i in range(1, length):
            same &= data[first + i] == starts[starts_at[k] + i]
        code = same
    out[row, CODE] += code
    out[row, MARKDOWN] += _markdown(data, first, end)


@kernel
def _has_syntax(data: Bytes, first: int, end: int) -> bool:
    """Whether the line has an equals sign or a bracket: a line of verse may end in `;` too."""
    found = False
    for at in range(first, end):
        found |= data[at] in (40, 41, 61, 91, 93, 123, 125)
    return found


@kernel
def _markdown(data: Bytes, first: int, end: int) -> bool:
    """Whether a line is a heading, a quotation, a fence, a row of a table, or has a link of Markdown."""
    byte = data[first]
    size = end - first
    if byte == 35:  # #
        at = first
        while at < end and data[at] == 35:
            at += 1
        if at - first <= 6 and at < end and data[at] == 32:
            return True
    if byte == 62 and size > 1 and data[first + 1] == 32:  # >
        return True
    if (byte == 96 or byte == 126) and size > 2 and data[first + 1] == byte and data[first + 2] == byte:
        return True
    if byte == 124 and size > 1 and data[end - 1] == 124:  # |
        return True
    link = False
    for at in range(first, end - 1):
        link |= data[at] == 93 and data[at + 1] == 40  # ](
    return link
