"""A budget that is being filled: by count, by fraction, or by the sum of a column, within quotas.

filling = Filling.of(100, pool)
for row in order:
    filling.take(row)                        # False where the row does not fit
    if filling.full: break
filling.taken                                # rows in the order in which they were taken
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from curate.core.config import Model
from curate.core.errors import ConfigError, nearest
from curate.steps.select.pool import Bools, Ints, Pool


class Sum(Model):
    """As many rows as fit: the sum of the column `sum` stays at or below `limit`."""

    sum: str
    limit: Annotated[float, Field(gt=0)]


class Quota(Model):
    """At most so many rows of each value of a column: `most` by value, `others` for values not named there.

    A null counts as the empty string, and `source` without the number of the row.
    """

    column: str
    most: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    others: Annotated[int, Field(ge=0)] | None = None


Budget = Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0, le=1)] | Sum


class Filling:
    """What was taken so far, and what may still be taken.

    Attributes:
        pool: the rows.
        count: how many rows may be taken at most.
        taken: the rows taken, in order.
        spent: the sum of the column of a budget by sum; 0 for other budgets.
    """

    def __init__(
        self, pool: Pool, count: int, weights: npt.NDArray[np.float64] | None = None, limit: float = np.inf
    ) -> None:
        self.pool, self.count, self.spent = pool, count, 0.0
        self.taken: list[int] = []
        self._open = pool.open.copy()
        self._weights, self._limit = weights, limit
        self._groups: Ints | None = None
        self._names: list[str] = []
        self._room = np.zeros(0, np.int64)

    @classmethod
    def of(cls, budget: Budget, pool: Pool, quota: Quota | None = None) -> Filling:
        """A budget over the open rows of a pool, with nothing taken.

        A fraction is of the open rows, not of those that rules or refusals had dropped; the count is rounded
        down, at least 1.

        Raises:
            ConfigError: it asks for more rows than are open or than the quota leaves room for, a column is not
                there, or the column to be summed has no finite value from 0 for an open row.
        """
        ready = int(pool.open.sum())
        if isinstance(budget, Sum):
            weights = pool.numbers(budget.sum)
            wrong = pool.open & ~(np.isfinite(weights) & (weights >= 0))
            if wrong.any():
                raise ConfigError(
                    f"the column {budget.sum} is null, infinite or below 0 for {int(wrong.sum()):,} rows that may be "
                    f"taken, first {pool.ids[np.flatnonzero(wrong)[0]]}; drop those with a filter"
                )
            filling = cls(pool, ready, weights, budget.limit)
        elif isinstance(budget, int):
            if budget > ready:
                raise ConfigError(f"a budget of {budget:,} rows, but only {ready:,} may be taken; lower it")
            filling = cls(pool, budget)
        else:
            # As it is written: 0.29 of 100 is 29, though the float nearest to 0.29 is below it.
            filling = cls(pool, max(1, int(Fraction(repr(budget)) * ready)) if ready else 0)
        if quota is not None:
            filling._limit_groups(quota, by_sum=isinstance(budget, Sum))
        return filling

    def _limit_groups(self, quota: Quota, *, by_sum: bool) -> None:
        names, groups = np.unique(self.pool.groups(quota.column).astype(str), return_inverse=True)
        self._names, self._groups = names.tolist(), groups.astype(np.int64)
        for name in quota.most:
            if name not in self._names:
                raise ConfigError(f"quota: no row has {quota.column} {name!r}; {nearest(name, self._names)}")
        others = len(self.pool) if quota.others is None else quota.others
        self._room = np.array([quota.most.get(name, others) for name in self._names], dtype=np.int64)
        held = np.bincount(self._groups[self._open], minlength=len(self._names))
        most = int(np.minimum(held, self._room).sum())
        if most < self.count and not by_sum:
            raise ConfigError(
                f"a budget of {self.count:,} rows, but the quota over {quota.column} leaves room for {most:,}; "
                "raise the quota or lower the budget"
            )

    @property
    def full(self) -> bool:
        """Whether nothing more can be taken."""
        return len(self.taken) >= self.count or not self.open.any()

    @property
    def open(self) -> Bools:
        """Which rows may still be taken; none when the budget is full."""
        if len(self.taken) >= self.count:
            return np.zeros(len(self.pool), np.bool_)
        ready = self._open & ~self.crowded
        if self._weights is not None:
            ready &= self.spent + self._weights <= self._limit
        return ready

    @property
    def expected(self) -> int:
        """About how many rows will be taken, by the mean of what the open ones use of the budget."""
        if self._weights is None or not self._open.any():
            return self.count
        mean = float(self._weights[self._open].mean())
        return self.count if mean * self.count <= self._limit else max(1, int(self._limit / mean))

    @property
    def crowded(self) -> Bools:
        """Which rows are of a group whose quota is used up."""
        if self._groups is None:
            return np.zeros(len(self.pool), np.bool_)
        crowded: Bools = self._room[self._groups] <= 0
        return crowded

    def weight(self, row: int) -> float:
        """What a row uses of the budget: its value in the column of a budget by sum, 1 of other budgets."""
        return 1.0 if self._weights is None else float(self._weights[row])

    def fits(self, row: int) -> bool:
        """Whether a row may still be taken."""
        if len(self.taken) >= self.count or not self._open[row]:
            return False
        if self._groups is not None and self._room[self._groups[row]] <= 0:
            return False
        return self._weights is None or bool(self.spent + self._weights[row] <= self._limit)

    def take(self, row: int) -> bool:
        """Take a row if it fits; whether it did."""
        if not self.fits(row):
            return False
        self.taken.append(int(row))
        self._open[row] = False
        if self._groups is not None:
            self._room[self._groups[row]] -= 1
        if self._weights is not None:
            self.spent += float(self._weights[row])
        return True

    def take_in_order(self, rows: Iterable[int]) -> None:
        """Take what fits of the rows, in their order, up to the budget."""
        for row in rows:
            if len(self.taken) >= self.count:
                return
            self.take(int(row))

    def by_group(self) -> dict[str, int]:
        """How many rows of each group of the quota were taken."""
        if self._groups is None:
            return {}
        counts = np.bincount(self._groups[self.taken], minlength=len(self._names)).tolist()
        return {name: count for name, count in zip(self._names, counts, strict=True) if count}
