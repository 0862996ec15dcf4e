"""The selector `coverage`: rows with many tags first, and each must add a tag.

    picks: {select: {from: [pool], budget: 6000, coverage: {column: tags}}}

The sampling of InsTag (Lu et al. 2023, algorithm 1): go through the rows by their number of tags, take a row if it
has a tag that no row taken in this round has; when no row adds one, begin the next round with what is left.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.errors import ConfigError
from curate.core.step import Job
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Ints, Pool
from curate.steps.select.selector import Selector, Verdict, best_first


class Coverage(Selector):
    """Rows by what they add to the tags that are covered.

    Attributes:
        column: lists of strings, or strings that commas or semicolons part; a row without a tag is not taken.
    """

    column: str

    def exclude(self, job: Job, pool: Pool) -> None:
        """Close the rows without a tag."""
        starts, _ = tags_of(pool, self.column)
        pool.exclude(np.diff(starts) == 0, f"no {self.column}")

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Take the rows round by round; the score is the number of tags. Quotas apply to that order."""
        starts, tags = tags_of(pool, self.column)
        scores = np.diff(starts).astype(np.float64)
        scores[~pool.open] = np.nan
        order = best_first(scores, pool, pool.open)
        # A row is taken in the first round that lacks one of its tags. So the rounds that have a tag are always the
        # first so many, and one walk over the rows with that number for every tag replaces a walk for every round.
        rounds = np.zeros(int(tags.max(initial=-1)) + 1, np.int64)
        round_of = np.zeros(len(order), np.int64)
        for i, row in enumerate(order):
            mine = tags[starts[row] : starts[row + 1]]
            round_of[i] = rounds[mine].min() + 1
            rounds[mine] = np.maximum(rounds[mine], round_of[i])
        filling.take_in_order(np.array(order)[np.argsort(round_of, kind="stable")].tolist())
        first = int((round_of == 1).sum())
        return Verdict(scores, details={"tags": int((rounds > 0).sum()), "rows_that_cover_all": first})


def tags_of(pool: Pool, column: str) -> tuple[Ints, Ints]:
    """The tags of row i as numbers, each once: `tags[starts[i]:starts[i + 1]]`.

    Raises:
        ConfigError: no input has the column, or it holds neither strings nor lists of them.
    """
    values = pool.column(column)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = pc.split_pattern_regex(values, "[,;]")
    try:
        values = values.cast(pa.list_(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigError(f"the column {column} holds {values.type}, not strings or lists of them") from None
    rows = pc.list_parent_indices(values).to_numpy()
    names = pc.utf8_trim_whitespace(pc.list_flatten(values))
    there = pc.fill_null(pc.not_equal(names, ""), False).to_numpy(zero_copy_only=False)
    codes = pc.dictionary_encode(names).indices.fill_null(0).to_numpy().astype(np.int64)
    many = int(codes.max(initial=0)) + 1
    pairs = np.unique(rows[there].astype(np.int64) * many + codes[there])
    return np.searchsorted(pairs // many, np.arange(len(pool) + 1)), pairs % many
