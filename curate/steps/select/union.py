"""The selector `union`: every row that one of several picks took, each once; with a budget, those most picks took.

    both: {select: {from: [pool], union: {of: [seeds, needed]}}}
    vote: {select: {from: [pool], budget: 1000, union: {of: [ifd, deita, less]}}}

MoDS trains on the union of its seeds and of the rows that the model needs. `of` names select, filter or dedup
steps: whatever says `keep` of the pool's rows.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.core.errors import ConfigError
from curate.core.step import Job
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Bools, Pool
from curate.steps.select.selector import Selector, Verdict, best_first


class Union(Selector):
    """Rows by the number of picks that took them, ties by id; needs no budget."""

    open_ended: ClassVar[bool] = True

    of: Annotated[list[str], Field(min_length=1)]

    def inputs(self) -> dict[str, str]:
        """The picks, as `of[0]`, ..."""
        return {f"of[{i}]": name for i, name in enumerate(self.of)}

    def exclude(self, job: Job, pool: Pool) -> None:
        """Close the rows that no pick took."""
        pool.exclude(~np.logical_or.reduce(self._kept(job, pool)), "in no pick")

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Take the rows by the number of picks."""
        kept = self._kept(job, pool)
        scores = np.where(pool.open, np.sum(kept, axis=0, dtype=np.float64), np.nan)
        filling.take_in_order(best_first(scores, pool, pool.open))
        shared = int((scores > 1).sum())
        return Verdict(scores, details={"in_several": shared})

    def _kept(self, job: Job, pool: Pool) -> list[Bools]:
        found = []
        for i, step in enumerate(self.of):
            data = job.inputs[f"of[{i}]"]
            if "keep" not in data.schema().names:
                raise ConfigError(f"{step} keeps and drops nothing; name select or filter steps in `of`")
            found.append(pool.beside(data, "keep", pa.bool_()) == True)  # noqa: E712
        return found
