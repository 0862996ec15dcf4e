r"""The quality rules of FineWeb (Penedo et al. 2024) as numbers.

    scorer = fineweb()
    scorer(TextBatch.of(["A line.\nAnother one."]))["line_punct"]

FineWeb keeps a document with `line_punct` of at least 0.12, `short_lines` of at most 0.67, `dup_line_chars`
of at most 0.01 and `newlines_per_word` of at most 0.3.
"""

from __future__ import annotations

import numpy as np

from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.columns import column
from curate.text.rules.fineweb_lines import line_fractions
from curate.text.split import Splitter


def fineweb(*, splitter: Splitter = "treebank", short_line: int = 30) -> Scorer:
    """Fractions over the lines that are not blank, all float64 and 0 in an empty text.

    Columns: `line_punct`, lines that end in terminal punctuation of any script; `short_lines`, lines of at
    most `short_line` code points; `dup_line_chars`, code points of lines seen before over all but line feeds;
    `newlines_per_word`, line feeds over words (over 1 where there is no word).
    """

    def score(batch: TextBatch) -> Columns:
        fractions = line_fractions(batch, short_line)
        words = np.diff(batch.words(splitter).offsets)
        return {
            "line_punct": column(fractions[0]),
            "short_lines": column(fractions[1]),
            "dup_line_chars": column(fractions[2]),
            "newlines_per_word": column(fractions[3] / np.maximum(words, 1)),
        }

    return score
