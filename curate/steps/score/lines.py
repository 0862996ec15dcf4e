r"""The scorer `lines`: statistics of lines and paragraphs, and repetition inside a line.

    scorer = lines()
    scorer(TextBatch.of(["HOME | ABOUT\n3 likes\nA line of prose that is longer."]))["upper_lines"]     # [0.333...]

Which lines RefinedWeb's line-wise corrections remove (Penedo et al. 2023, section G.2), as DCLM's code has them:
mainly upper-case, a counter such as "3 likes", a single word. `docs/web.md` has the formulas.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.columns import column
from curate.text.rules import line_stats as sums
from curate.text.split import Splitter

# Shares of the lines that are not blank.
_OF_LINES = {
    "short_lines": sums.SHORT,
    "upper_lines": sums.UPPER_LINES,
    "numeric_lines": sums.NUMERIC,
    "counter_lines": sums.COUNTERS,
    "single_word_lines": sums.SINGLE_WORD,
    "punct_lines": sums.PUNCTUATED,
    "ellipsis_lines": sums.ELLIPSIS,
    "bullet_lines": sums.BULLETS,
}


def lines(*, splitter: Splitter = "uax29", short_line: int = 30) -> Scorer:
    """Statistics over the lines that are not blank, white space at their ends left out; all 0 in an empty text.

    Lengths are in code points. A paragraph is a run of lines without a blank one between.

    Columns, int32: `lines`; `paragraphs`; `max_line_length`; `max_char_run`, the longest run of one character in a
    line, white space passed over; `max_word_run`, of one word. Float64: `blank_lines`, of all lines (what follows
    the last line feed is none); `mean_line_length`, `median_line_length`, `mean_paragraph_length`; `mean_words` of
    a line. Float64, shares of the lines: `short_lines` (at most `short_line`); `upper_lines` (more than half of the
    characters are upper-case letters); `numeric_lines` (a digit and no letter); `counter_lines` ("3 likes");
    `single_word_lines`; `punct_lines` (end in terminal punctuation of any script); `ellipsis_lines` (end in `...`
    or `…`); `bullet_lines`. Float64, shares of the characters: `short_line_chars`, and `repeated_chars`, those of
    one to four characters written four times or more in a row. Float64, shares of the words: `repeated_words`,
    those in the second and later copies of one to four words in a row; `removed_words`, those of the lines that
    RefinedWeb removes (it drops a document of more than 0.05).
    """

    def score(batch: TextBatch) -> Columns:
        found, medians = sums.line_stats(batch, batch.words(splitter), short_line)

        def share(part: int, whole: int) -> pa.Array:
            return column(_ratio(found[:, part], found[:, whole]))

        def number(part: int) -> pa.Array:
            return column(found[:, part].astype(np.int32))

        every = found[:, sums.LINES] + found[:, sums.BLANK]
        return {
            "lines": number(sums.LINES),
            "paragraphs": number(sums.PARAGRAPHS),
            "blank_lines": column(_ratio(found[:, sums.BLANK], every)),
            "mean_line_length": share(sums.CHARS, sums.LINES),
            "median_line_length": column(medians),
            "max_line_length": number(sums.LONGEST),
            "mean_paragraph_length": share(sums.CHARS, sums.PARAGRAPHS),
            "mean_words": share(sums.WORDS, sums.LINES),
            **{name: share(part, sums.LINES) for name, part in _OF_LINES.items()},
            "short_line_chars": share(sums.SHORT_CHARS, sums.CHARS),
            "repeated_chars": share(sums.REPEATED_CHARS, sums.MARKS),
            "max_char_run": number(sums.CHAR_RUN),
            "repeated_words": share(sums.REPEATED_WORDS, sums.WORDS),
            "max_word_run": number(sums.WORD_RUN),
            "removed_words": share(sums.REMOVED_WORDS, sums.WORDS),
        }

    return score


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return part / np.maximum(whole, 1)
