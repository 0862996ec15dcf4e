"""BM25 as the selector and the retrieval have it: Robertson and Zaragoza 2009, the idf as Lucene's, never negative.

idf = inverse_document_frequency(1000, having)
weights = word_weights(idf[term], times, relative, K1, B)
"""

from __future__ import annotations

import numpy as np

from curate.text.native import Floats, Ints

# How soon a word that comes again stops counting, and how much long texts are marked down.
K1, B = 1.5, 0.75


def inverse_document_frequency(rows: int, having: Ints) -> Floats:
    """ln(1 + (N - n + 0.5) / (n + 0.5)) of words that `having` of all `rows` texts have."""
    weights: Floats = np.log1p((rows - having + 0.5) / (having + 0.5))
    return weights


def word_weights(idf: Floats, times: Floats, relative: Floats, k1: float, b: float) -> Floats:
    """What words add to the score of a text: idf * f * (k1 + 1) / (f + k1 * (1 - b + b * |d| / mean |d|)).

    Args:
        idf: of each word.
        times: f, how often the text has it.
        relative: |d| / mean |d|, the text's words over those of the mean text.
        k1: how soon a word that comes again stops counting.
        b: how much long texts are marked down.
    """
    weights: Floats = idf * times * (k1 + 1) / (times + k1 * (1 - b + b * relative))
    return weights
