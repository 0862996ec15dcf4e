"""Compiled reading of the n-grams of an ARPA file, line by line, into the tables of `curate.models.ngram.table_kernel`.

Fields are apart by spaces or tabs; a line ends with a line feed, a carriage return may stand before it. A word is any
other bytes.
"""

from __future__ import annotations

import numpy as np

from curate.models.ngram.build_kernel import insert
from curate.models.ngram.table_kernel import Cells, Values, find_word
from curate.text.native import Bytes, Floats, Ints, Keys, kernel
from curate.text.utf8 import hash_bytes, scatter

# What is wrong with a line.
OK, NOT_A_NUMBER, POSITIVE, TOO_FEW_WORDS, TOO_MANY_FIELDS, UNKNOWN_WORD, NO_CONTEXT, TWICE, ENDED = range(9)

_TENS: Floats = np.array([float(f"1e{k}") for k in range(23)])


@kernel
def skip_blank_lines(data: Bytes, at: int) -> int:
    """The first byte from `at` that is neither a space nor the end of a line."""
    while at < len(data) and (data[at] == 32 or 9 <= data[at] <= 13):
        at += 1
    return at


@kernel
def _skip_spaces(data: Bytes, at: int) -> int:
    while at < len(data) and (data[at] == 32 or data[at] == 9 or data[at] == 13):
        at += 1
    return at


@kernel
def _field_end(data: Bytes, at: int) -> int:
    while at < len(data) and data[at] != 32 and data[at] != 9 and data[at] != 10 and data[at] != 13:
        at += 1
    return at


@kernel
def _scaled(mantissa: float, exponent: int) -> float:
    while exponent < 0 and mantissa != 0.0:
        step = min(-exponent, 22)
        mantissa /= _TENS[step]
        exponent += step
    while exponent > 0 and mantissa != 0.0 and mantissa < 1e300:
        step = min(exponent, 22)
        mantissa *= _TENS[step]
        exponent -= step
    return mantissa


@kernel
def _number(data: Bytes, at: int, end: int) -> tuple[bool, float]:
    """Whether data[at:end] is a decimal number that a 32-bit float can hold, and the number."""
    negative = at < end and data[at] == 45
    if at < end and (data[at] == 45 or data[at] == 43):
        at += 1
    mantissa = 0.0
    exponent = 0
    digits = 0
    kept = 0
    point = False
    while at < end:
        byte: int = data[at]
        if 48 <= byte <= 57:
            digits += 1
            if kept < 18:
                mantissa = mantissa * 10.0 + (byte - 48)
                kept += 1 if mantissa > 0.0 else 0
                exponent -= 1 if point else 0
            else:
                exponent += 0 if point else 1
        elif byte == 46 and not point:
            point = True
        else:
            break
        at += 1
    if digits == 0:
        return False, 0.0
    if at < end:
        if data[at] != 101 and data[at] != 69:
            return False, 0.0
        at += 1
        down = at < end and data[at] == 45
        if at < end and (data[at] == 45 or data[at] == 43):
            at += 1
        if at == end:
            return False, 0.0
        power = 0
        while at < end:
            if not 48 <= data[at] <= 57:
                return False, 0.0
            digit: int = data[at]
            power = min(power * 10 + digit - 48, 100_000)
            at += 1
        exponent += -power if down else power
    value = _scaled(mantissa, exponent)
    if not value < 3.4e38:
        return False, 0.0
    return True, -value if negative else value


@kernel
def _is_unk(data: Bytes, start: int, end: int) -> bool:
    """Whether a word is <unk> or <UNK>."""
    if end - start != 5 or data[start] != 60 or data[end - 1] != 62:
        return False
    one, two, three = data[start + 1], data[start + 2], data[start + 3]
    upper = one == 85 and two == 78 and three == 75
    lower = one == 117 and two == 110 and three == 107
    return bool(upper or lower)


@kernel
def read_words(
    data: Bytes, at: int, count: int, highest: bool, starts: Ints, ends: Ints, probability: Values, backoff: Values
) -> tuple[int, int, int]:
    """The lines of the single words: what is wrong, where reading stopped, and how many words there are.

    Word 0 is `<unk>`, which may be spelt `<UNK>`; its `starts` is -1 where the file has none.
    """
    starts[0] = -1
    words = 1
    for _ in range(count):
        at = skip_blank_lines(data, at)
        if at >= len(data) or data[at] == 92:
            return ENDED, at, words
        line = at
        at = _field_end(data, at)
        good, value = _number(data, line, at)
        if not good:
            return NOT_A_NUMBER, line, words
        if value > 0.0:
            return POSITIVE, line, words
        start = _skip_spaces(data, at)
        at = _field_end(data, start)
        if at == start:
            return TOO_FEW_WORDS, line, words
        unk = _is_unk(data, start, at)
        word = 0 if unk else words
        if unk and starts[0] >= 0:
            return TWICE, line, words
        words += 0 if unk else 1
        starts[word] = start
        ends[word] = at
        probability[word] = value
        status, at, value = _last_field(data, at, highest)
        if status != OK:
            return status, line, words
        backoff[word] = value
    return OK, at, words


@kernel
def _last_field(data: Bytes, at: int, highest: bool) -> tuple[int, int, float]:
    """The back-off that may end a line; the highest order has none but 0."""
    start = _skip_spaces(data, at)
    at = _field_end(data, start)
    if at == start:
        return OK, at, 0.0
    good, value = _number(data, start, at)
    if not good:
        return NOT_A_NUMBER, at, 0.0
    at = _skip_spaces(data, at)
    if at < len(data) and data[at] != 10:
        return TOO_MANY_FIELDS, at, 0.0
    if highest and value != 0.0:
        return TOO_MANY_FIELDS, at, 0.0
    return OK, at, value


@kernel
def gather(data: Bytes, starts: Ints, ends: Ints, words: Bytes, offsets: Ints) -> None:
    """Put the words one after another, behind word 0, which is there."""
    to = offsets[1]
    for i in range(1, len(offsets) - 1):
        for at in range(starts[i], ends[i]):
            words[to] = data[at]
            to += 1
        offsets[i + 1] = to


@kernel
def read_ngrams(
    data: Bytes,
    at: int,
    order: int,
    count: int,
    highest: bool,
    words: Bytes,
    offsets: Ints,
    slots: Keys,
    cells: Cells,
    keys: Keys,
    values: Values,
    block: Ints,
    numbers: Floats,
) -> tuple[int, int]:
    """The lines of an order above 1, after those of the orders below: what is wrong, and where reading stopped.

    `block` and `numbers` have room for the n-grams of some lines, as `insert` takes them, and where each line is.
    """
    done = 0
    while done < count:
        size = min(count - done, len(block))
        for i in range(size):
            at = skip_blank_lines(data, at)
            if at >= len(data) or data[at] == 92:
                return ENDED, at
            line = at
            at = _field_end(data, at)
            good, numbers[i, 0] = _number(data, line, at)
            if not good:
                return NOT_A_NUMBER, line
            if numbers[i, 0] > 0.0:
                return POSITIVE, line
            for k in range(order):
                start = _skip_spaces(data, at)
                at = _field_end(data, start)
                if at == start:
                    return TOO_FEW_WORDS, line
                word = find_word(data, start, at, scatter(hash_bytes(data, start, at)), words, offsets, slots)
                if word < 0 and not _is_unk(data, start, at):
                    return UNKNOWN_WORD, line
                block[i, k] = max(word, 0)
            status, at, numbers[i, 1] = _last_field(data, at, highest)
            if status != OK:
                return status, line
            block[i, order + 1] = line
        wrong, no_context = insert(block, numbers, size, order, len(offsets) - 1, cells, keys, values)
        if wrong >= 0:
            return NO_CONTEXT if no_context else TWICE, block[wrong, order + 1]
        done += size
    return OK, at
