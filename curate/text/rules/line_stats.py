"""What the scorer `lines` counts of the lines and paragraphs of a text, and of what repeats within a line.

    sums, medians = line_stats(batch, batch.words("uax29"), short_line=30)
    sums[:, UPPER_LINES]                         # lines that are mainly upper-case

Sums for each text, in the order of the names below. Lines are those of `batch.lines()`, white space at their ends
left out; blank ones count in `BLANK` alone, but for one after the last line feed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.batch import TextBatch
from curate.text.native import Bytes, Ints, Keys, Props, kernel
from curate.text.props import DIGIT, LETTER, PROPS, TERMINAL, UPPER
from curate.text.rules.marks import NEMO, bullet, ellipsis_sign, ends_in_dots
from curate.text.spans import Words
from curate.text.utf8 import decode, decode_before, is_space

(
    LINES, BLANK, PARAGRAPHS, CHARS, LONGEST, SHORT, SHORT_CHARS, UPPER_LINES, NUMERIC, COUNTERS, SINGLE_WORD,
    PUNCTUATED, ELLIPSIS, BULLETS, WORDS, REMOVED_WORDS, REPEATED_WORDS, WORD_RUN, MARKS, REPEATED_CHARS, CHAR_RUN,
) = range(21)  # fmt: skip
SUMS = 21

# One to four words that follow themselves are repetition; one to four characters are only where they are written
# so many times in a row, as text has "www", "...", "banana".
COPIES = 4

# What follows the number in a line such as "3 likes": those of DCLM's code, and each of one.
_COUNTED = (
    "likes shares comments retweets reposts quotes bookmarks upvotes downvotes downloads views followers "
    "like share comment retweet repost quote bookmark upvote downvote download view follower"
)


def _counted() -> Keys:
    """The hashes of the words that are counted, as words of any splitter have them, sorted."""
    spellings = " ".join((_COUNTED, _COUNTED.title(), _COUNTED.upper()))
    keys = np.sort(TextBatch.of([spellings]).words("whitespace").hash)
    keys.flags.writeable = False
    return keys


def line_stats(
    batch: TextBatch, words: Words, short_line: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """A row of sums for each text, and the median of its lines' lengths.

    Args:
        batch: the texts.
        words: of the batch, by any splitter.
        short_line: lines of at most so many code points are short.
    """
    lines = batch.lines()
    out = np.zeros((len(batch), SUMS), dtype=np.int64)
    sizes = np.zeros(len(lines), dtype=np.int64)
    _line_stats(
        batch.data,
        PROPS,
        lines.offsets,
        lines.first,
        lines.last,
        words.offsets,
        words.start,
        words.end,
        words.hash,
        _counted(),
        short_line,
        sizes,
        out,
    )
    return out, _medians(lines.offsets, sizes, out[:, LINES])


def _medians(offsets: Ints, sizes: Ints, lines: Ints) -> npt.NDArray[np.float64]:
    """The median length of each text's lines that are not blank (blank ones have the length 0); 0 without any."""
    row = np.repeat(np.arange(len(lines)), np.diff(offsets))
    ordered = np.sort(row << 40 | sizes) & ((1 << 40) - 1)
    begin = offsets[1:] - lines
    some = lines > 0
    out = np.zeros(len(lines))
    low, high = (begin + (lines - 1) // 2)[some], (begin + lines // 2)[some]
    out[some] = (ordered[low] + ordered[high]) / 2
    return out


@kernel
def _line_stats(
    data: Bytes,
    props: Props,
    offsets: Ints,
    first: Ints,
    last: Ints,
    word_offsets: Ints,
    word_start: Ints,
    word_end: Ints,
    key: Keys,
    counted: Keys,
    short_line: int,
    sizes: Ints,
    out: Ints,
) -> None:
    for row in range(len(offsets) - 1):
        word = word_offsets[row]
        in_paragraph = False
        for line in range(offsets[row], offsets[row + 1]):
            start, end = first[line], last[line]
            if start == end:
                out[row, BLANK] += line + 1 < offsets[row + 1]  # after the last line feed there is no line
                in_paragraph = False
                continue
            out[row, LINES] += 1
            out[row, PARAGRAPHS] += not in_paragraph
            in_paragraph = True
            chars, upper, digits, letters = _characters(data, props, start, end, out, row)
            sizes[line] = chars
            out[row, CHARS] += chars
            out[row, LONGEST] = max(out[row, LONGEST], chars)
            if chars <= short_line:
                out[row, SHORT] += 1
                out[row, SHORT_CHARS] += chars
            begin = word
            while word < word_offsets[row + 1] and word_start[word] < end:
                word += 1
            words = word - begin
            out[row, WORDS] += words
            _repeated_words(key, begin, word, out, row)
            mainly_upper = 2 * upper > chars
            counter = words == 2 and _counter(data, word_start[begin], word_end[begin], key[begin + 1], counted)
            out[row, UPPER_LINES] += mainly_upper
            out[row, NUMERIC] += digits > 0 and letters == 0
            out[row, COUNTERS] += counter
            out[row, SINGLE_WORD] += words == 1
            if mainly_upper or counter or words == 1:
                out[row, REMOVED_WORDS] += words
            code, _ = decode(data, start, end)
            out[row, BULLETS] += code == 45 or code == 42 or code == 0x2013 or bullet(code, NEMO)
            code, _ = decode_before(data, start, end)
            out[row, PUNCTUATED] += props[code] & TERMINAL != 0
            out[row, ELLIPSIS] += ends_in_dots(data, start, end) or ellipsis_sign(data, start, end)


@kernel
def _characters(data: Bytes, props: Props, start: int, end: int, out: Ints, row: int) -> tuple[int, int, int, int]:
    """The code points of a line, its upper-case letters, digits and letters; adds what repeats to the sums."""
    chars = 0
    upper = 0
    digits = 0
    letters = 0
    marks = 0
    repeated = 0
    longest = 0
    # The four characters before, how many in a row equal the one 1, 2, 3, 4 before, and which of the last 16
    # are counted as repeated. White space is passed over.
    one, two, three, four = -1, -2, -3, -4
    same_1, same_2, same_3, same_4 = 0, 0, 0, 0
    taken = 0
    at = start
    while at < end:
        code: int = data[at]
        size = 1
        if code >= 0x80:
            code, size = decode(data, at, end)
        at += size
        chars += 1
        kind = props[code]
        upper += kind & UPPER != 0
        digits += kind & DIGIT != 0
        letters += kind & LETTER != 0
        if code == 32 or is_space(code):
            continue
        marks += 1
        same_1 = same_1 + 1 if code == one else 0
        same_2 = same_2 + 1 if code == two else 0
        same_3 = same_3 + 1 if code == three else 0
        same_4 = same_4 + 1 if code == four else 0
        one, two, three, four = code, one, two, three
        longest = max(longest, same_1 + 1)
        taken = (taken << 1) & 0xFFFF
        found = taken
        if same_1 >= COPIES - 1:
            found |= 0xF
        if same_2 >= 2 * (COPIES - 1):
            found |= 0xFF
        if same_3 >= 3 * (COPIES - 1):
            found |= 0xFFF
        if same_4 >= 4 * (COPIES - 1):
            found |= 0xFFFF
        if found != taken:
            repeated += _bits(found ^ taken)
            taken = found
    out[row, MARKS] += marks
    out[row, REPEATED_CHARS] += repeated
    out[row, CHAR_RUN] = max(out[row, CHAR_RUN], longest)
    return chars, upper, digits, letters


@kernel
def _bits(value: int) -> int:
    count = 0
    while value:
        count += value & 1
        value >>= 1
    return count


@kernel
def _repeated_words(key: Keys, begin: int, end: int, out: Ints, row: int) -> None:
    """Count the words of a line that are in a second or later copy of one to four words, and the longest run."""
    same_1, same_2, same_3, same_4 = 0, 0, 0, 0
    taken = 0  # which of the last four words are counted
    for word in range(begin, end):
        same_1 = same_1 + 1 if word - 1 >= begin and key[word] == key[word - 1] else 0
        same_2 = same_2 + 1 if word - 2 >= begin and key[word] == key[word - 2] else 0
        same_3 = same_3 + 1 if word - 3 >= begin and key[word] == key[word - 3] else 0
        same_4 = same_4 + 1 if word - 4 >= begin and key[word] == key[word - 4] else 0
        out[row, WORD_RUN] = max(out[row, WORD_RUN], same_1 + 1)
        taken = (taken << 1) & 0xF
        found = taken
        if same_1 >= 1:
            found |= 1
        if same_2 >= 2:
            found |= 3
        if same_3 >= 3:
            found |= 7
        if same_4 >= 4:
            found |= 15
        if found != taken:
            out[row, REPEATED_WORDS] += _bits(found ^ taken)
            taken = found


@kernel
def _counter(data: Bytes, start: int, end: int, second: np.uint64, counted: Keys) -> bool:
    """Whether a first word such as `3`, `1,204` or `5k` and a second one such as `likes` make a line a counter."""
    if not 48 <= data[start] <= 57:
        return False
    for at in range(start + 1, end):
        byte = data[at]
        unit = at == end - 1 and byte | 32 in (98, 107, 109)  # b, k, m
        if not (48 <= byte <= 57 or byte == 44 or byte == 46 or unit):
            return False
    low, high = 0, len(counted)
    while low < high:
        middle = (low + high) >> 1
        if counted[middle] < second:
            low = middle + 1
        else:
            high = middle
    return low < len(counted) and counted[low] == second
