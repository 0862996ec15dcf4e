"""The stages that make probabilities: `contexts`, and `render`, which writes a range's lines of the ARPA file.

`contexts` adds up what follows the n-grams of one range. The n-grams that they are the contexts of lie in all
ranges, so it reads the rows of every range that have their context in this one, and answers them in their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core import files
from curate.core.step import Receipt
from curate.models.ngram.counts import BOS, Ids, Ints
from curate.models.ngram.levels import Continuations, Discounts, Level, Numbers, held_back, levels_of
from curate.models.ngram.plan import Keys, Part, Plan, Vocabulary, load, pair, read_vocabulary, save
from curate.models.ngram.ranges import by_range, read_range
from curate.models.ngram.write_arpa_kernel import Lines, lines


@dataclass(frozen=True)
class Smoothing:
    """A plan, and the discounts of order 1, 2, ... that its counts of counts give."""

    plan: Plan
    discounts: tuple[Discounts, ...]


def contexts(smoothing: Smoothing, part: Part) -> Receipt:
    """The back-off weights of one range, and the sums and weights that the n-grams of each range ask for."""
    plan, discounts = smoothing.plan, smoothing.discounts
    kept = read_vocabulary(plan.folder).kept
    own = levels_of(*read_range(plan, part.index), plan.prune, kept)[: plan.order - 2]
    keys = [_keys(level) for level in own]
    follows = [Continuations.none(len(key)) for key in keys]
    del own
    asked: list[list[npt.NDArray[np.uint32]]] = []
    for k in range(plan.ranges):
        with load(plan.path("merge", k)) as found:
            ngrams, counts = found.get(f"ngrams{part.index}", np.uint32), found.get(f"counts{part.index}", np.int64)
        levels = levels_of(ngrams, counts, plan.prune, kept)[1:]
        places: list[npt.NDArray[np.uint32]] = []
        for n, level in enumerate(levels):
            if n == 0:
                wanted = pair(ngrams[level.row, -3], ngrams[level.row, -2])
            else:
                # A context is its own suffix, which is the context of the n-gram's suffix, behind its first word.
                wanted = pair(level.first, places[-1][level.suffix])
            places.append(np.searchsorted(keys[n], wanted).astype(np.uint32))
            follows[n].add(places[-1], level.count, level.dropped)
        asked.append(places)
    gammas = [each.gamma(three) for each, three in zip(follows, discounts[2:], strict=True)]
    arrays: dict[str, npt.NDArray[np.generic]] = {f"gamma{n}": gamma for n, gamma in enumerate(gammas, start=2)}
    for k, places in enumerate(asked):
        for n, place in enumerate(places):
            arrays[f"total{k},{n + 3}"] = follows[n].total[place]
            arrays[f"gamma{k},{n + 3}"] = gammas[n][place]
    save(plan.path("contexts", part.index), arrays)
    return Receipt(part.name, sum(len(key) for key in keys))


def _keys(level: Level) -> Keys:
    """The n-grams of an order as sorted numbers: place of the suffix, then first word."""
    return pair(level.first, level.suffix)


@dataclass(frozen=True)
class _Words:
    """Single words: their probabilities, their back-off weights, and the sums of what follows them."""

    probability: Numbers
    gamma: Numbers
    total: Ints


def _estimate_words(smoothing: Smoothing, kept: npt.NDArray[np.bool_]) -> _Words:
    """`<s>` has probability 1, as it is never predicted; `<unk>` gets what the discounts leave for one more word."""
    with load(files.join(smoothing.plan.folder, "words.npz")) as found:
        count = found.get("count", np.int64)
        follows = Continuations(
            found.get("total", np.int64), found.get("kinds", np.uint32), found.get("dropped", np.int64)
        )
    three = smoothing.discounts[0]
    every = Continuations.none(1)
    every.add(np.zeros(len(count), dtype=np.int64), count, ~kept)
    uniform = 1.0 / (np.count_nonzero(kept) - 1)  # over all but <s>
    probability = (count - held_back(count, three)) / every.total[0] + every.gamma(three)[0] * uniform
    probability[BOS] = 1.0
    gamma = follows.gamma(smoothing.discounts[1]) if smoothing.plan.order > 1 else np.ones(len(count))
    return _Words(probability, gamma, follows.total)


def render(smoothing: Smoothing, part: Part) -> Receipt:
    """Write the lines of one range; the first has the single words as well."""
    plan = smoothing.plan
    vocabulary = read_vocabulary(plan.folder)
    words = _estimate_words(smoothing, vocabulary.kept)
    if part.index == 0:
        rows = np.flatnonzero(vocabulary.kept).astype(np.uint32)
        weights = words.gamma[rows] if plan.order > 1 else None
        _write(plan, vocabulary, (1, 0), rows[:, None], words.probability[rows], weights)
    ngrams, counts = read_range(plan, part.index)
    levels = levels_of(ngrams, counts, plan.prune, vocabulary.kept)
    lower = words.probability
    for n, level in enumerate(levels, start=2):
        if n == 2:
            total, gamma = words.total[level.first], words.gamma[level.first]
        else:
            total, gamma = _answers(plan, part.index, n, plan.range_of(ngrams[level.row, -2], ngrams[level.row, -3]))
        held = held_back(level.count, smoothing.discounts[n - 1])
        lower = (level.count - held) / total + gamma * lower[level.suffix]
        stay = ~level.dropped
        weights = None
        if n < plan.order:
            with load(plan.path("contexts", part.index)) as found:
                weights = found.get(f"gamma{n}", np.float64)[stay]
        _write(plan, vocabulary, (n, part.index), ngrams[level.row[stay], plan.order - n :], lower[stay], weights)
    return Receipt(part.name, len(ngrams))


def _answers(plan: Plan, index: int, n: int, context: Ints) -> tuple[Ints, Numbers]:
    """The sums and weights of the contexts of a range's n-grams of order `n`, given the ranges of the contexts."""
    rows, bounds = by_range(plan, context)
    total, gamma = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
    for k in range(plan.ranges):
        with load(plan.path("contexts", k)) as found:
            total[rows[bounds[k] : bounds[k + 1]]] = found.get(f"total{index},{n}", np.int64)
            gamma[rows[bounds[k] : bounds[k + 1]]] = found.get(f"gamma{index},{n}", np.float64)
    return total, gamma


def _write(
    plan: Plan, vocabulary: Vocabulary, place: tuple[int, int], ngrams: Ids, probability: Numbers, gamma: Numbers | None
) -> None:
    # A discount can be exactly 0 and leave nothing to back off with; -99 is what ARPA files have for that.
    backoff = None if gamma is None else np.log10(np.maximum(gamma, 1e-99))
    found = Lines(ngrams, np.log10(np.minimum(probability, 1.0)), backoff)
    with files.atomic_output(lines_path(plan, *place)) as out:
        for block in lines(found, vocabulary.data, vocabulary.offsets):
            out.write(block)


def lines_path(plan: Plan, n: int, index: int) -> str:
    """Where the lines of an order's n-grams in a range are; the single words are all in range 0."""
    return files.join(plan.folder, "lines", f"{n}-{index:05d}")
