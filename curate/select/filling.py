"""A budget that is being filled: by count, by fraction, or by the sum of a column, within quotas.

filling = Filling.of(100, pool)
for row in order:
    filling.take(row)                        # False where the row does not fit
    if filling.full: break
filling.taken                                # rows in the order in which they were taken
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from curate.config import Model
from curate.errors import ConfigError
from curate.select.pool import Pool


class Sum(Model):
    """As many rows as fit: the sum of the column `sum` stays at or below `limit`."""

    sum: str
    limit: Annotated[float, Field(gt=0)]


class Quota(Model):
    """At most so many rows of each value of a column: `most` by value, `others` for values not named there."""

    column: str
    most: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    others: Annotated[int, Field(ge=0)] | None = None


Budget = Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0, le=1)] | Sum


class Filling:
    """What was taken so far, and what may still be taken."""

    def __init__(self, pool: Pool, count: int, weights: npt.NDArray[np.float64] | None, limit: float) -> None:
        self.pool, self.count = pool, count
        self.taken: list[int] = []
        self._open = pool.open.copy()
        self._weights, self._left = weights, limit
        self._groups: npt.NDArray[np.int64] | None = None
        self._room = np.zeros(0, np.int64)

    @classmethod
    def of(cls, budget: Budget, pool: Pool, quota: Quota | None = None) -> Filling:
        """A budget over the open rows of a pool, with nothing taken.

        Raises:
            ConfigError: it asks for more rows than are open, or a column is not there.
        """
        ready = int(pool.open.sum())
        if isinstance(budget, Sum):
            weights = pool.numbers(budget.sum)
            if np.isnan(weights[pool.open]).any() or (weights[pool.open] < 0).any():
                raise ConfigError(f"the column {budget.sum} is null or below 0 for rows that may be taken; drop those")
            filling = cls(pool, ready, weights, budget.limit)
        elif isinstance(budget, int):
            if budget > ready:
                raise ConfigError(f"a budget of {budget:,} rows, but only {ready:,} may be taken; lower it")
            filling = cls(pool, budget, None, np.inf)
        else:
            # Of what is open, not of the rows that rules or refusals had dropped.
            filling = cls(pool, max(1, round(budget * ready)) if ready else 0, None, np.inf)
        if quota is not None:
            filling._limit(quota)
        return filling

    def _limit(self, quota: Quota) -> None:
        values = self.pool.strings(quota.column)
        names, groups = np.unique(np.where(values == None, "", values).astype(str), return_inverse=True)  # noqa: E711
        for name in quota.most:
            if name not in names:
                raise ConfigError(f"quota: no row has {quota.column} {name!r}; known: {', '.join(names[:10])}")
        others = self.count if quota.others is None else quota.others
        self._groups = groups.astype(np.int64)
        self._room = np.array([quota.most.get(str(name), others) for name in names], dtype=np.int64)

    @property
    def full(self) -> bool:
        """Whether nothing more can be taken."""
        return len(self.taken) >= self.count or not self.open.any()

    @property
    def open(self) -> npt.NDArray[np.bool_]:
        """Which rows may still be taken."""
        ready = self._open
        if self._groups is not None:
            ready = ready & (self._room[self._groups] > 0)
        if self._weights is not None:
            ready = ready & (np.nan_to_num(self._weights, nan=np.inf) <= self._left)
        return ready

    def fits(self, row: int) -> bool:
        """Whether a row may still be taken."""
        if len(self.taken) >= self.count or not self._open[row]:
            return False
        if self._groups is not None and self._room[self._groups[row]] <= 0:
            return False
        return self._weights is None or bool(self._weights[row] <= self._left)

    def take(self, row: int) -> bool:
        """Take a row if it fits; whether it did."""
        if not self.fits(row):
            return False
        self.taken.append(int(row))
        self._open[row] = False
        if self._groups is not None:
            self._room[self._groups[row]] -= 1
        if self._weights is not None:
            self._left -= float(self._weights[row])
        return True

    def take_in_order(self, rows: Iterable[int]) -> None:
        """Take what fits of the rows, in their order, up to the budget."""
        for row in rows:
            if len(self.taken) >= self.count:
                return
            self.take(int(row))
