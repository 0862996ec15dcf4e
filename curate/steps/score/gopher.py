"""The rules of Gopher (Rae et al. 2021, table A1) as numbers: quality of words and lines, repetition.

    scorer = gopher_quality(variant="dclm")
    scorer(TextBatch.of(["the cat sat on the mat"]))["words"]

No two implementations agree, so the variant names whose code is followed; where a variant leaves something
open, or depends on the order of a hash table, the first position decides.

| | `datatrove` | `dclm` | `dolma` | `nemo` |
| --- | --- | --- | --- | --- |
| words | treebank | uax29 | whitespace | whitespace |
| `words`, `mean_word_length` | those that are not all symbols | all | all | all |
| `hash_ratio` | `#` per word | `#` per word | words with `#` | words of mostly single `#` |
| `ellipsis_ratio` | `...`, `…` per word | also `. . .` | words with `…` | words that are an ellipsis |
| bullets | `•` `-` | `●` `•` `*` `-` | `*` `-` | `•` and eleven like it |
| lines | all, stripped | not blank, stripped | all | not blank, stripped |
| stop words | distinct | in either case | occurrences | occurrences |
| repeated lines | after the first | all copies | all copies | 1 - unique / all |
| duplicate n-grams | a scan without overlap | words they cover | sum over n-grams | unseen part |
| of the characters of | the text | the words | the words (duplicates: all n-grams) | the text |

Dolma takes the median word length; `mean_word_length` is the mean for every variant.
"""

from __future__ import annotations

from typing import Literal

from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.columns import column
from curate.text.rules.gopher_quality import quality_counts
from curate.text.rules.gopher_repetition import COLUMNS, repetition_fractions
from curate.text.rules.marks import DATATROVE, DCLM, DOLMA, NEMO
from curate.text.split import Splitter

Variant = Literal["datatrove", "dclm", "dolma", "nemo"]

_VARIANTS: dict[Variant, tuple[int, Splitter]] = {
    "datatrove": (DATATROVE, "treebank"),
    "dclm": (DCLM, "uax29"),
    "dolma": (DOLMA, "whitespace"),
    "nemo": (NEMO, "whitespace"),
}


def gopher_quality(*, variant: Variant = "dclm", splitter: Splitter | None = None) -> Scorer:
    """Counts of words, symbols and lines.

    `splitter` is the variant's own unless given. Columns: `words` and `stop_words` (int32), `words_reliable`
    (bool, false where a language's words need a dictionary), and as float64 `mean_word_length` (code points),
    `hash_ratio`, `ellipsis_ratio`, `bullet_lines`, `ellipsis_lines` and `alpha_words` (the fraction with a
    letter). All are 0, and words reliable, in an empty text.
    """
    number, own = _VARIANTS[variant]
    chosen = splitter or own

    def score(batch: TextBatch) -> Columns:
        counts = quality_counts(batch, chosen, number)
        return {
            "words": column(counts.words),
            "words_reliable": column(batch.words(chosen).reliable),
            "mean_word_length": column(counts.mean_word_length),
            "hash_ratio": column(counts.hash_ratio),
            "ellipsis_ratio": column(counts.ellipsis_ratio),
            "bullet_lines": column(counts.bullet_lines),
            "ellipsis_lines": column(counts.ellipsis_lines),
            "alpha_words": column(counts.alpha_words),
            "stop_words": column(counts.stop_words),
        }

    return score


def gopher_repetition(*, variant: Variant = "dclm", splitter: Splitter | None = None) -> Scorer:
    """Fractions of what repeats, all float64 and 0 in an empty text.

    `splitter` is the variant's own unless given. Columns: `dup_lines` and `dup_paragraphs` of all lines and
    paragraphs; `dup_line_chars` and `dup_paragraph_chars`, `top_2_gram` to `top_4_gram` (the most frequent
    one) and `dup_5_gram` to `dup_10_gram` of the characters. A fraction of `dolma` can be above 1.
    """
    number, own = _VARIANTS[variant]
    chosen = splitter or own

    def score(batch: TextBatch) -> Columns:
        fractions = repetition_fractions(batch, chosen, number)
        return {name: column(fractions[:, k]) for k, name in enumerate(COLUMNS)}

    return score
