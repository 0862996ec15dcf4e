"""Importance resampling (DSIR, Xie et al. 2023): how much more often the target has each bucket of n-grams.

    ngrams = HashedNgrams("polynomial", 10_000)
    weights = log_weights(count_texts(target, ngrams), count_texts(raw, ngrams))
    write_model("ratios.dsir", ngrams, weights)

With p and q the shares of a bucket among all n-grams of the target and of the raw pool, its log weight is
log(p + 1e-8) - log(q + 1e-8), as in the authors' code. The scorer `dsir` sums it over a text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import orjson

from curate.core.errors import RunError
from curate.core.files import atomic_output
from curate.text.batch import TextBatch
from curate.text.native import Floats, Ints
from curate.text.rules.hashed_ngrams import HashedNgrams

SMOOTHING = 1e-8


def count_texts(batches: Iterable[TextBatch], ngrams: HashedNgrams) -> Ints:
    """How often each bucket is met in all texts; one batch is held at a time."""
    total = np.zeros(ngrams.buckets, dtype=np.int64)
    for batch in batches:
        total += ngrams.count(batch)
    return total


def log_weights(target: Ints, raw: Ints) -> Floats:
    """The log weight of each bucket, natural logarithm; 0.0 where target and raw have the same share.

    Args:
        target: the counts of the target, one a bucket.
        raw: those of the raw pool.

    Raises:
        RunError: one of them counted nothing, so that it has no shares.
    """
    for name, counts in (("target", target), ("raw", raw)):
        if not counts.sum():
            raise RunError(f"the texts of `{name}` hold no word; give datasets with text")
    # Python's logarithm, as numpy's differs in the last bit between processors.
    p, q = ([math.log(share + SMOOTHING) for share in counts / counts.sum()] for counts in (target, raw))
    weights: Floats = np.array(p) - np.array(q)
    return weights


def divergence(target: Ints, weights: Floats) -> float:
    """How far the target lies from the raw pool: the mean log weight of the target's n-grams, their KL divergence."""
    return float((target / target.sum() * weights).sum())


def write_model(path: str, ngrams: HashedNgrams, weights: Floats) -> None:
    """Write what the scorer `dsir` reads: JSON with `kind`, `hash` and `log_weights`, one a bucket."""
    model = {"kind": "dsir", "hash": ngrams.hash, "log_weights": weights.tolist()}
    with atomic_output(path) as out:
        out.write(orjson.dumps(model) + b"\n")
