"""The stages that bring the n-grams of all count files together by ranges.

`split` writes a count file's n-grams with the numbers of the common vocabulary, by ranges; `merge` adds up one
range of all files; `words` adds up what the ranges know of single words.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from curate.core import files
from curate.core.step import Receipt
from curate.models.ngram.counts import Ids, Ints, last_two, read_head, read_ngrams, read_words, sum_equal
from curate.models.ngram.levels import Continuations, Level, counts_of_counts, levels_of
from curate.models.ngram.plan import Part, Plan, Scalar, load, pair, read_vocabulary, save


def split(plan: Plan, part: Part) -> Receipt:
    """Write the n-grams of one count file by ranges."""
    ngrams, counts = _numbered(plan, part.index)
    ends = last_two(ngrams)
    at = np.searchsorted(pair(ends[:, 0], ends[:, 1]), np.array(plan.cuts, dtype=np.uint64))
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for k, (start, end) in enumerate(pairwise([0, *at.tolist(), len(ngrams)])):
        arrays |= {f"ngrams{k}": ngrams[start:end], f"counts{k}": counts[start:end]}
    save(plan.path("split", part.index), arrays)
    return Receipt(part.name, len(ngrams))


def _numbered(plan: Plan, index: int) -> tuple[Ids, Ints]:
    """The n-grams of a count file in the numbers of the common vocabulary."""
    head = read_head(plan.count_files[index])
    words = read_vocabulary(plan.folder).strings()
    number = pc.index_in(read_words(head)["word"], words).to_numpy().astype(np.uint32)
    ngrams, counts = read_ngrams(head)
    return number[ngrams], counts


def _read_split(plan: Plan, index: int, which: int) -> tuple[Ids, Ints]:
    with load(plan.path("split", index)) as found:
        return found.get(f"ngrams{which}", np.uint32), found.get(f"counts{which}", np.int64)


def merge(plan: Plan, part: Part) -> Receipt:
    """Add up one range of all files, and take its counts of counts and what it knows of single words.

    Where there is one range it reads the count files themselves.
    """
    sources = range(len(plan.count_files))
    if plan.ranges == 1:
        parts = [_numbered(plan, i) for i in sources]
    else:
        parts = [_read_split(plan, i, part.index) for i in sources]
    ngrams, counts = np.concatenate([n for n, _ in parts]), np.concatenate([c for _, c in parts])
    parts.clear()
    ngrams, counts = sum_equal(ngrams, counts, plan.words)
    _write_range(plan, part.index, ngrams, counts)
    levels = levels_of(ngrams, counts, plan.prune, read_vocabulary(plan.folder).kept)
    if levels:
        _write_words(plan, part.index, levels[0])
    figures: dict[str, int] = {}
    for n, level in enumerate(levels, start=2):
        figures[f"kept {n}"] = int(np.count_nonzero(~level.dropped))
        figures |= {f"n{j} {n}": many for j, many in enumerate(counts_of_counts(level.count), start=1)}
    return Receipt(part.name, len(ngrams), counts=figures)


def _write_range(plan: Plan, index: int, ngrams: Ids, counts: Ints) -> None:
    """Keep the rows by the ranges of their contexts, which read them so, and how they were in order."""
    context = np.zeros(len(ngrams), dtype=np.int64)
    if plan.order > 2:
        context = plan.range_of(ngrams[:, -2], ngrams[:, -3])
    grouped, bounds = by_range(plan, context)
    arrays: dict[str, npt.NDArray[np.generic]] = {"context": context.astype(np.uint32)}
    for k, (start, end) in enumerate(pairwise(bounds)):
        rows = grouped[start:end]
        arrays |= {f"ngrams{k}": ngrams[rows], f"counts{k}": counts[rows]}
    save(plan.path("merge", index), arrays)


def by_range(plan: Plan, context: npt.NDArray[np.integer]) -> tuple[Ints, list[int]]:
    """The rows by the ranges of their contexts, else in order, and where each range begins among them."""
    small = context.astype(np.uint16) if plan.ranges < 1 << 16 else context  # small numbers sort in linear time
    rows = np.argsort(small, kind="stable")
    return rows, [0, *np.cumsum(np.bincount(small, minlength=plan.ranges)).tolist()]


def read_range(plan: Plan, index: int) -> tuple[Ids, Ints]:
    """The rows of a range, sorted, and their counts."""
    return read_rows(plan, index, "ngrams", np.uint32), read_rows(plan, index, "counts", np.int64)


def read_rows(plan: Plan, index: int, name: str, kind: type[Scalar]) -> npt.NDArray[Scalar]:
    """The `ngrams` or the `counts` of a range alone."""
    with load(plan.path("merge", index)) as found:
        rows, _ = by_range(plan, found.get("context", np.uint32))
        grouped = np.concatenate([found.get(f"{name}{k}", kind) for k in range(plan.ranges)])
    ordered = np.empty_like(grouped)
    ordered[rows] = grouped
    return ordered


def _write_words(plan: Plan, index: int, bigrams: Level) -> None:
    """What the bigrams of a range say of single words: as contexts, and how many different words are before them."""
    follows = Continuations.none(plan.words)
    follows.add(bigrams.first, bigrams.count, bigrams.dropped)
    context = np.flatnonzero(follows.total)
    left = np.bincount(bigrams.suffix, minlength=plan.words)
    last = np.flatnonzero(left)
    save(
        plan.path("words", index),
        {
            "context": context,
            "total": follows.total[context],
            "kinds": follows.kinds[:, context],
            "dropped": follows.dropped[context],
            "last": last,
            "left": left[last],
        },
    )


def words(plan: Plan, part: Part) -> Receipt:
    """Add up what the ranges say of single words, and take the counts of counts of order 1."""
    vocabulary = read_vocabulary(plan.folder)
    count = vocabulary.occurrences
    follows = Continuations.none(plan.words)
    if plan.order > 1:
        count = np.zeros(plan.words, dtype=np.int64)
        for index in range(plan.ranges):
            with load(plan.path("words", index)) as found:
                context = found.get("context", np.int64)
                follows.total[context] += found.get("total", np.int64)
                follows.kinds[:, context] += found.get("kinds", np.uint32)
                follows.dropped[context] += found.get("dropped", np.int64)
                count[found.get("last", np.int64)] += found.get("left", np.int64)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "count": count,
        "total": follows.total,
        "kinds": follows.kinds,
        "dropped": follows.dropped,
    }
    save(files.join(plan.folder, "words.npz"), arrays)
    figures = {f"n{j} 1": many for j, many in enumerate(counts_of_counts(count), start=1)}
    return Receipt(part.name, plan.words, counts={"kept 1": int(np.count_nonzero(vocabulary.kept)), **figures})
