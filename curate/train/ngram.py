"""Modified Kneser-Ney n-gram models from counts, with no compiler and no other tool.

    for i, texts in enumerate(shards):                      # anywhere, in any order
        count_shard(texts, f"counts/{i:05}.parquet", order=5, form=TextForm("ccnet_spaced", "punct"))
    fit_ngram([...], "wiki.arpa")                           # one process

The JSON beside the model names the normaliser and tokeniser, which the scorer `perplexity` reads. (A model of
order 1 is written like any other, but the `kenlm` package does not read one.)

The estimate is that of Chen and Goodman (1998) as KenLM's `lmplz -o N --discount_fallback` computes it
(Heafield et al. 2013): lower orders count the different words on the left, n-grams that begin with `<s>`
count occurrences; three discounts an order, from the counts of counts; interpolated down to a uniform
distribution over the words and `<unk>`. `lmplz` enters the very last n-gram of its sort order into the
counts of counts with its occurrences, which depends on the order of the text; this does not.

Memory: about 400 bytes per different n-gram of the highest order, for order 5: 0.4 GB for 5.7 MB of prose, so
about 60 GB for a gigabyte. Lower the order or take a sample of the text where that is too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import orjson

from curate.errors import RunError
from curate.files import atomic_output
from curate.text.normalise import card_path
from curate.train.arpa import write_arpa
from curate.train.ngram_counts import BOS, Counts, merge_counts

# What --discount_fallback takes for an order whose counts of counts are too small or odd.
FALLBACK = (0.5, 1.0, 1.5)

Index = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """The n-grams of one order, sorted by their last word, then the one before it, and so on.

    `suffix` is the row, one order down, of the n-gram without its first word, and `context` that without
    its last; `count` is the adjusted count.
    """

    words: npt.NDArray[np.uint32]
    suffix: Index
    context: Index
    count: Numbers


@dataclass(frozen=True)
class Estimate:
    """One order of a model: n-grams as rows of word numbers, log10 of probability and of back-off."""

    words: npt.NDArray[np.uint32]
    probability: Numbers
    backoff: Numbers
    discounts: tuple[float, float, float]


def fit_ngram(count_files: Sequence[str], model: str) -> list[Estimate]:
    """Fit a model on the counts of all shards; write it as ARPA, and its metadata beside it as JSON.

    The bytes are the same for any cut of the text into shards. The ARPA file appears last and whole.

    Args:
        count_files: what `count_shard` wrote, all with one order and text form.
        model: the ARPA file to write, local or remote; the metadata goes to `<model>.json`.

    Raises:
        RunError: a count file is damaged or unlike the others, or they hold not one word.
    """
    counts = merge_counts(count_files)
    estimates = estimate(counts)
    card = {
        "kind": "ngram",
        "order": counts.order,
        "smoothing": "modified Kneser-Ney, interpolated",
        "normaliser": counts.form.normaliser,
        "tokeniser": counts.form.tokeniser,
        "tokens": counts.tokens,
        "documents": counts.documents,
        "words": len(counts.words),
        "ngrams": [len(each.words) for each in estimates],
        "discounts": [[round(d, 6) for d in each.discounts] for each in estimates],
        "data": counts.digest(),
    }
    with atomic_output(card_path(model)) as out:
        out.write(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    with atomic_output(model) as out:
        write_arpa(out, counts.words, [(e.words, e.probability, e.backoff) for e in estimates])
    return estimates


def estimate(counts: Counts) -> list[Estimate]:
    """The probabilities and back-offs of every order, the lowest first.

    `<s>` has log probability 0, as it is never predicted; `<unk>` gets what the discounts of the single
    words leave for one more word.

    Raises:
        RunError: there is not one n-gram.
    """
    if not len(counts.ngrams):
        raise RunError("there is not one n-gram to estimate from; check the input of the training step")
    levels = _levels(counts)
    discounts = [discounts_of(level.count) for level in levels]
    lower: Numbers = np.array([1.0 / (len(counts.words) - 1)])  # uniform over all but <s>
    estimates: list[Estimate] = []
    gammas: list[Numbers] = []
    for n, (level, three) in enumerate(zip(levels, discounts, strict=True)):
        held = np.array([0.0, *three])[np.minimum(level.count, 3).astype(np.int64)]  # back by the discount
        contexts = len(levels[n - 1].count) if n else 1
        total = np.bincount(level.context, level.count, minlength=contexts)
        # The mass that the discounts take from a context; without any continuation nothing is backed off.
        mass = np.bincount(level.context, held, minlength=contexts)
        gamma = np.divide(mass, total, out=np.ones(contexts), where=total > 0)
        probability = (level.count - held) / total[level.context] + gamma[level.context] * lower[level.suffix]
        if n == 0:
            probability[BOS] = 1.0  # never predicted, so scoring it costs nothing
        gammas.append(gamma)
        lower = probability
        estimates.append(Estimate(level.words, np.log10(np.minimum(probability, 1.0)), np.zeros(0), three))
    # A discount can be exactly 0 and leave nothing to back off with; -99 is what ARPA files have for that.
    backoffs = [*(np.log10(np.maximum(gamma, 1e-99)) for gamma in gammas[1:]), np.zeros(0)]
    return [
        Estimate(e.words, e.probability, backoff, e.discounts) for e, backoff in zip(estimates, backoffs, strict=True)
    ]


def discounts_of(count: Numbers) -> tuple[float, float, float]:
    """The discounts of n-grams counted once, twice, and more often (Chen and Goodman 1998, equation 26).

    Where a count of counts is 0 or a discount would be negative or more than its count, FALLBACK.
    """
    n = np.bincount(np.minimum(count, 5).astype(np.int64), minlength=6).astype(np.float64)
    if not n[1:4].all():
        return FALLBACK
    y = n[1] / (n[1] + 2 * n[2])
    one, two, more = (float(j - (j + 1) * y * n[j + 1] / n[j]) for j in (1, 2, 3))
    if not (0 <= one <= 1 and 0 <= two <= 2 and 0 <= more <= 3):
        return FALLBACK
    return one, two, more


def _levels(counts: Counts) -> list[Level]:
    """All orders, from the n-grams of the highest: as its rows are sorted, each order is a run of rows."""
    top, order, size = counts.ngrams, counts.order, len(counts.words)
    last = top[:, order - 1].astype(np.int64)
    zero = np.zeros(size, dtype=np.int64)
    single: Numbers = np.bincount(last, counts.counts, minlength=size).astype(np.float64)
    levels = [Level(np.arange(size, dtype=np.uint32)[:, None], zero, zero, single)]
    new = np.concatenate([[True], last[1:] != last[:-1]])  # does this row begin another n-gram of the order?
    place = last  # of each row of `top` among the n-grams of the order before
    keys = np.zeros(0, dtype=np.uint64)  # of the n-grams of the order before: suffix and first word
    for n in range(2, order + 1):
        first = top[:, order - n]
        new[1:] |= first[1:] != first[:-1]
        starts = np.flatnonzero(new)
        # <s> stands only at the front: what holds it elsewhere is padding.
        kept = top[starts, order - n + 1] != BOS
        rows = starts[kept]
        suffix, leftmost = place[rows], first[rows]
        occurrences = np.add.reduceat(counts.counts, starts)[kept].astype(np.float64)
        context = _contexts(levels[-1], keys, suffix, leftmost)
        levels[-1] = _adjusted(levels[-1], suffix)
        levels.append(Level(top[rows, order - n :], suffix, context, occurrences))
        keys = (suffix.astype(np.uint64) << np.uint64(32)) | leftmost
        number = np.full(len(starts), -1, dtype=np.int64)
        number[kept] = np.arange(len(rows))
        place = number[np.cumsum(new) - 1]
    return levels


def _adjusted(level: Level, suffix: Index) -> Level:
    """A lower order counts the different words on its left; where <s> is first there is none, and it stays.

    `suffix` holds the row here of each n-gram one order up.
    """
    left = np.bincount(suffix, minlength=len(level.count)).astype(np.float64)
    return replace(level, count=np.where(level.words[:, 0] == BOS, level.count, left))


def _contexts(below: Level, keys: npt.NDArray[np.uint64], suffix: Index, first: npt.NDArray[np.uint32]) -> Index:
    """Where, one order down, the n-grams without their last words are.

    Such a context is its own suffix, which is the context of the n-gram's suffix, behind its first word.
    """
    if below.words.shape[1] == 1:
        return first.astype(np.int64)
    wanted = (below.context[suffix].astype(np.uint64) << np.uint64(32)) | first
    return np.searchsorted(keys, wanted)
