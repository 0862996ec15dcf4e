"""The C4 rules: one verdict for every line, one reason for a document to be dropped.

The scorer counts what the rules would remove, the cleaner removes it; both call `judge`, so that they
cannot disagree.

    verdicts = judge(batch, variant="code", terminal_punctuation=True, edit=True)
    verdicts.columns()["removed_policy"], verdicts.text

The rules and the order of the checks are those of C4's published code (Raffel et al. 2020, "Exploring the
Limits of Transfer Learning", section 2.2, and `c4_utils.py` of TensorFlow Datasets). A line is judged as it
would be kept: without citations (`[12]`, `[edit]`, `[citation needed]`) and without white space at its
ends. It is removed for the first of these:

    1. a word of more than 1,000 characters
    2. no terminal punctuation (`. ? ! "`), or an ellipsis `...`
    3. too few words (white space separates words)
    4. "javascript"
    5. a policy phrase, such as "privacy policy"

A line that reaches check 4 with "lorem ipsum", or check 5 with a curly bracket, condemns its document, and
is kept: the document is for a later filter to drop, and cleaning twice must give the same reason twice.
Consequently a bracket in a line that falls to checks 1 to 3 (a menu, a script) condemns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.text.batch import TextBatch
from curate.text.bitmaps import BLANK, BREAK, bitmaps, count_runs, next_clear, next_set, trimmed
from curate.text.columns import column, names
from curate.text.native import Bytes, Ints, Keys, kernel
from curate.text.rules.c4_scan import (
    HAS_BRACE,
    HAS_JAVASCRIPT,
    HAS_LOREM,
    HAS_POLICY,
    count_chars,
    has_long_word,
    phrases,
)
from curate.text.rules.citations import without_citations
from curate.text.rules.marks import break_size
from curate.text.sentences import count_sentences

Variant = Literal["paper", "code"]

# variant: (least words in a line, least sentences in a document). The paper's text and C4's code differ.
LEAST: dict[Variant, tuple[int, int]] = {"paper": (3, 5), "code": (5, 3)}

COUNTS = (
    "lines",
    "lines_kept",
    "removed_long_word",
    "removed_no_terminal_punctuation",
    "removed_too_few_words",
    "removed_javascript",
    "removed_policy",
    "sentences",
)
_KEPT, _LONG_WORD, _NO_END, _FEW_WORDS, _JAVASCRIPT, _POLICY, _SENTENCES = 1, 2, 3, 4, 5, 6, 7
REASONS = ("lorem_ipsum", "curly_bracket", "too_few_sentences")

_LONG_LINE = 200
_LONG_LINES = 3

# Flags of a document.
_DOC_LOREM, _DOC_BRACE, _DOC_LONG_LINES = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the rules say of a batch of n documents.

    `counts` is (n, 8) int32 in the order of `COUNTS`; `reason` is (n,) int8, an index into `REASONS` or -1.
    `text` is the kept lines of each document as large_string (null stays null), or None if not asked for.
    """

    counts: npt.NDArray[np.int32]
    lorem_ipsum: npt.NDArray[np.bool_]
    curly_bracket: npt.NDArray[np.bool_]
    three_long_lines: npt.NDArray[np.bool_]
    reason: npt.NDArray[np.int8]
    text: pa.Array | None

    def columns(self) -> dict[str, pa.Array]:
        """The verdicts as columns; `reason` is null for a document that passes."""
        columns = {name: column(self.counts[:, at]) for at, name in enumerate(COUNTS)}
        columns["lorem_ipsum"] = column(self.lorem_ipsum)
        columns["curly_bracket"] = column(self.curly_bracket)
        columns["three_long_lines"] = column(self.three_long_lines)
        columns["reason"] = names(REASONS).take(column(self.reason, self.reason >= 0))
        return columns


def judge(batch: TextBatch, *, variant: Variant, terminal_punctuation: bool, edit: bool) -> Verdicts:
    """Apply the rules to every line of every document, and with `edit` also join the lines that stay.

    Lines are what `str.splitlines` gives once the citations are gone. `sentences` counts those of the kept
    lines. `three_long_lines` is mC4's rule: at least three lines of 200 characters, removed lines included.
    """
    data, offsets = without_citations(batch.data, batch.offsets)
    bits = batch.bits() if offsets[-1] - offsets[0] == batch.offsets[-1] - batch.offsets[0] else bitmaps(data, offsets)
    rows = len(batch)
    counts = np.zeros((rows, len(COUNTS)), dtype=np.int32)
    flags = np.zeros(rows, dtype=np.uint8)
    reason = np.full(rows, -1, dtype=np.int8)
    out = np.empty(int(offsets[-1] - offsets[0]) if edit else 0, dtype=np.uint8)
    out_offsets = np.zeros(rows + 1, dtype=np.int64)
    words, sentences = LEAST[variant]
    _judge(data, bits, offsets, words, sentences, terminal_punctuation, edit, counts, flags, reason, out, out_offsets)
    text = None
    if edit:
        valid = None if batch.valid.all() else column(batch.valid).buffers()[1]
        buffers = [valid, pa.py_buffer(out_offsets), pa.py_buffer(out[: out_offsets[-1]])]
        text = pa.Array.from_buffers(pa.large_string(), rows, buffers)
    return Verdicts(
        counts=counts,
        lorem_ipsum=(flags & _DOC_LOREM) != 0,
        curly_bracket=(flags & _DOC_BRACE) != 0,
        three_long_lines=(flags & _DOC_LONG_LINES) != 0,
        reason=reason,
        text=text,
    )


@kernel
def _ends_sentence(data: Bytes, first: int, last: int) -> bool:
    """Whether a line that is not blank ends in one of C4's marks, and not in an ellipsis."""
    end = int(data[last - 1])
    if end == 0x2E:
        return not (last - first >= 3 and data[last - 2] == 0x2E and data[last - 3] == 0x2E)
    return end == 0x3F or end == 0x21 or end == 0x22


@kernel
def _verdict(
    data: Bytes,
    first: int,
    last: int,
    words: int,
    long_word: bool,
    flags: int,
    least_words: int,
    terminal: bool,
) -> int:
    """The column of `COUNTS` that a line belongs to, by the first check that it fails."""
    if long_word:
        return _LONG_WORD
    if terminal and (words == 0 or not _ends_sentence(data, first, last)):
        return _NO_END
    if words < least_words:
        return _FEW_WORDS
    if flags & HAS_LOREM:
        return _KEPT
    if flags & HAS_JAVASCRIPT:
        return _JAVASCRIPT
    if flags & HAS_BRACE:
        return _KEPT
    if flags & HAS_POLICY:
        return _POLICY
    return _KEPT


@kernel
def _judge(
    data: Bytes,
    bits: Keys,
    offsets: Ints,
    least_words: int,
    least_sentences: int,
    terminal: bool,
    edit: bool,
    counts: npt.NDArray[np.int32],
    doc_flags: Bytes,
    reason: npt.NDArray[np.int8],
    out: Bytes,
    out_offsets: Ints,
) -> None:
    """Fill `counts`, `doc_flags` and `reason`, and with `edit` also `out` and `out_offsets`."""
    to = 0
    for row in range(len(offsets) - 1):
        high = offsets[row + 1]
        at = offsets[row]
        long_lines = 0
        begin = to
        while at < high:
            end = next_set(bits, BREAK, at, high)
            following = end + break_size(data, end, high)
            first = next_clear(bits, BLANK, at, end)
            last = trimmed(bits, BLANK, first, end)
            words = count_runs(bits, BLANK, first, last)
            long_word = has_long_word(data, bits, first, last)
            flags = phrases(data, bits, at, end)
            if end - at >= _LONG_LINE and long_lines < _LONG_LINES:
                long_lines += count_chars(data, at, end) >= _LONG_LINE
            at = following
            counts[row, 0] += 1
            verdict = _verdict(data, first, last, words, long_word, flags, least_words, terminal)
            counts[row, verdict] += 1
            if verdict != _KEPT:
                continue
            if flags & (HAS_LOREM | HAS_BRACE):
                if flags & HAS_LOREM:
                    doc_flags[row] |= _DOC_LOREM
                else:
                    doc_flags[row] |= _DOC_BRACE
                if reason[row] < 0:
                    reason[row] = 0 if flags & HAS_LOREM else 1
            counts[row, _SENTENCES] += count_sentences(data, bits, first, last)
            if edit:
                if to > begin:
                    out[to] = 0x0A
                    to += 1
                for k in range(first, last):
                    out[to] = data[k]
                    to += 1
        if long_lines >= _LONG_LINES:
            doc_flags[row] |= _DOC_LONG_LINES
        if reason[row] < 0 and counts[row, _SENTENCES] < least_sentences:
            reason[row] = 2
        out_offsets[row + 1] = to
