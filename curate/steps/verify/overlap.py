"""The verifiers `rouge_l` and `ngram_overlap`: how much of another text's wording a row has.

    verifier = rouge_l(column="text", to="parents")

A ceiling keeps rewordings that changed something, a floor those that kept something.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.errors import ConfigError
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch
from curate.text.columns import column as arrow
from curate.text.native import Floats, Ints
from curate.text.overlap import as_sets, hashed_words, longest_common, runs
from curate.text.overlap_kernel import shared


def rouge_l(*, column: str = "text", to: str = "parents") -> Verifier:
    """The highest ROUGE-L F1 with any of the other texts, `""` (float64, 0 to 1).

    Twice the words of a longest common subsequence by the words of both texts (Lin 2004, with beta = 1). Null for a
    null text and where there is no other text. A text without words has 0.

    Args:
        column: the text.
        to: `parents`, or a column of strings or of lists of them.
    """

    def verify(batch: VerifyBatch) -> Columns:
        pairs = _Pairs.of(batch, column, to)
        a, b = hashed_words(pairs.texts), hashed_words(pairs.others)
        both = a.sizes[pairs.row] + b.sizes[pairs.other]
        values = 2.0 * longest_common(a, b, pairs.row, pairs.other) / np.maximum(both, 1)
        return {"": pairs.highest(values)}

    return verify


def ngram_overlap(*, column: str = "text", to: str = "parents", n: int = 3) -> Verifier:
    """How many of the row's runs of n words another text has too: the highest of any other text.

    `""` (float64) is the share of the row's different runs (containment), `jaccard` (float64) what both have by what
    either has (Broder 1997). Null for a null text, for one of fewer than n words, and where there is no other text.

    Args:
        column: the text.
        to: `parents`, or a column of strings or of lists of them.
        n: words in a run.

    Raises:
        ConfigError: n is below 1.
    """
    if n < 1:
        raise ConfigError(f"ngram_overlap: n {n} is below 1; set a positive number")

    def verify(batch: VerifyBatch) -> Columns:
        pairs = _Pairs.of(batch, column, to)
        a, b = (as_sets(runs(hashed_words(each), n)) for each in (pairs.texts, pairs.others))
        both = np.empty(len(pairs.row), np.int64)
        shared(a.keys, a.at, b.keys, b.at, pairs.row, pairs.other, both)
        own = a.sizes[pairs.row]
        either = own + b.sizes[pairs.other] - both
        judged = a.sizes > 0
        return {
            "": pairs.highest(both / np.maximum(own, 1), judged),
            "jaccard": pairs.highest(both / np.maximum(either, 1), judged),
        }

    return verify


@dataclass(frozen=True)
class _Pairs:
    """What is compared with what: `texts[row[k]]` with `others[other[k]]`."""

    texts: list[str]
    others: list[str]
    row: Ints
    other: Ints
    valid: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, batch: VerifyBatch, column: str, to: str) -> _Pairs:
        texts, lists = batch.texts(column), batch.lists(to)
        sizes = np.array([len(each) for each in lists], np.int64)
        valid = np.array([text is not None for text in texts], np.bool_) & (sizes > 0)
        row = np.repeat(np.arange(len(texts)), sizes)
        # A text that many rows were made from is looked at once.
        known = {text: i for i, text in enumerate(dict.fromkeys(text for each in lists for text in each))}
        other = np.array([known[text] for each in lists for text in each], np.int64)
        return cls([text or "" for text in texts], list(known), row, other, valid)

    def highest(self, values: Floats, judged: npt.NDArray[np.bool_] | bool = True) -> pa.Array:
        """For each row the highest value of its pairs, null where there is none to judge."""
        best = np.zeros(len(self.texts))
        np.maximum.at(best, self.row, values)
        return arrow(best, self.valid & judged)
