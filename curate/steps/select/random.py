"""The selector `random`: a seeded draw, the baseline that every other one must beat."""

from __future__ import annotations

from pydantic import Field

from curate.core.draw import gumbel
from curate.core.step import Job
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Pool
from curate.steps.select.selector import Selector, Verdict, best_first


class Random(Selector):
    """Rows by a number that is drawn from the seed and the row's id."""

    seed: int = Field(0, ge=0)

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Take the rows whose draw is highest."""
        scores = gumbel(pool.ids, self.seed)
        filling.take_in_order(best_first(scores, pool, pool.open))
        return Verdict(scores)
