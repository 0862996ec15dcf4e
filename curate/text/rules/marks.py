"""Bullets, ellipses and ends of lines, as the implementations of Gopher's rules know them.

bullet(code, DCLM), ends_in_dots(data, start, end), break_size(data, at, stop)
"""

from __future__ import annotations

from curate.text.native import Bytes, kernel

DATATROVE, DCLM, DOLMA, NEMO = range(4)

_DOT = 46


@kernel
def ends_in_dots(data: Bytes, start: int, end: int) -> bool:
    """Whether `...` ends here."""
    return end - start >= 3 and data[end - 1] == _DOT and data[end - 2] == _DOT and data[end - 3] == _DOT


@kernel
def ellipsis_sign(data: Bytes, start: int, end: int) -> bool:
    """Whether U+2026 ends here."""
    return end - start >= 3 and data[end - 1] == 0xA6 and data[end - 2] == 0x80 and data[end - 3] == 0xE2


@kernel
def _bare_ellipsis(data: Bytes, start: int, end: int) -> bool:
    """Whether `...`, U+2026 or `-»` ends here."""
    if end - start < 3:
        return False
    if data[end - 1] == 0xBB and data[end - 2] == 0xC2 and data[end - 3] == 45:
        return True
    return ends_in_dots(data, start, end) or ellipsis_sign(data, start, end)


@kernel
def nemo_ellipsis(data: Bytes, start: int, end: int) -> bool:
    """Whether a word is an ellipsis, bare or in brackets, or `-»`."""
    size = end - start
    if size == 3:
        return _bare_ellipsis(data, start, end)
    if size != 5:
        return False
    first, last = data[start], data[end - 1]
    if first == 91 and last == 93:
        return ends_in_dots(data, start + 1, end - 1) or ellipsis_sign(data, start + 1, end - 1)
    return first == 40 and last == 41 and ends_in_dots(data, start + 1, end - 1)


@kernel
def nemo_ends(data: Bytes, start: int, end: int) -> bool:
    """Whether a line ends as NeMo Curator takes for cut off: an ellipsis, `-»` or "read more"."""
    if _bare_ellipsis(data, start, end):
        return True
    if end - start >= 5 and nemo_ellipsis(data, end - 5, end):
        return True
    stop = end
    if end - start >= 11 and data[end - 1] == _DOT and data[end - 2] == _DOT:
        stop = end - 2
    if stop - start < 9:
        return False
    low = 0
    for at in range(stop - 9, stop - 1):
        low = (low << 8) | (data[at] | 32)
    return low == 0x72656164206D6F72 and data[stop - 1] | 32 == 101  # "read mor", "e"


@kernel
def bullet(code: int, variant: int) -> bool:
    """Whether a line that starts with this code point is an item of a list."""
    if variant == DATATROVE:
        return code == 0x2022 or code == 45
    if variant == DCLM:
        return code in (0x25CF, 0x2022, 42, 45)
    if variant == DOLMA:
        return code == 42 or code == 45
    if code < 0x2022:
        return False
    if code < 0x2219:
        return code in (0x2022, 0x2023, 0x2043, 0x204C, 0x204D)
    return code in (0x2219, 0x25CB, 0x25CF, 0x25D8, 0x25E6, 0x29BE, 0x29BF)


@kernel
def ends_in_spaced_dots(data: Bytes, start: int, end: int) -> bool:
    """Whether `. . .` ends here."""
    if end - start < 5 or data[end - 2] != 32 or data[end - 4] != 32:
        return False
    return bool(data[end - 1] == _DOT and data[end - 3] == _DOT and data[end - 5] == _DOT)


@kernel
def break_size(data: Bytes, at: int, stop: int) -> int:
    """The size of the end of a line at `at`, one of those of `str.splitlines`; 0 at the end of the text."""
    if at == stop:
        return 0
    byte = data[at]
    if byte == 13:
        return 2 if at + 1 < stop and data[at + 1] == 10 else 1
    return 1 if byte < 0x80 else 2 if byte == 0xC2 else 3
