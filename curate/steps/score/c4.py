r"""How much of a document C4's rules would remove, and whether they would drop it; the text is not edited.

    scorer = c4(variant="paper", terminal_punctuation=False)      # C4 as FineWeb runs it
    scorer(TextBatch.of(["Click here\nA line that reads as prose and stays."]))["lines_kept"]

The `clean` step `c4` makes the edits that are counted here. The rules are in `curate.text.rules.c4_lines`.
"""

from __future__ import annotations

from typing import Literal

from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.rules.c4_lines import judge


def c4(*, variant: Literal["paper", "code"] = "code", terminal_punctuation: bool = True) -> Scorer:
    """C4's line and document rules as columns.

    `variant="paper"` asks for 3 words in a line and 5 sentences in a document, `"code"` for 5 words and 3
    sentences. FineWeb uses the paper's numbers without the rule of `terminal_punctuation`.

    Columns, all int32: `lines`; `lines_kept`; `removed_long_word`, `removed_no_terminal_punctuation`,
    `removed_too_few_words`, `removed_javascript` and `removed_policy`, which with `lines_kept` add up to
    `lines`; `sentences` (of the kept lines). Booleans: `lorem_ipsum` and `curly_bracket` (a line that stays
    has it); `three_long_lines` (mC4 keeps a page only with three lines of 200 characters). `reason`: null,
    or why the document is to be dropped: what comes first of "lorem_ipsum" and "curly_bracket", else
    "too_few_sentences". An empty text has no lines and too few sentences.
    """

    def score(batch: TextBatch) -> Columns:
        return judge(batch, variant=variant, terminal_punctuation=terminal_punctuation, edit=False).columns()

    return score
