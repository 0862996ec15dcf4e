"""Rules: what a row must satisfy to be kept.

    rule = Rule(column="perplexity", below=Quantile(quantile=0.6))
    keep = Condition("perplexity", "below", 412.5).holds(table)

A null or NaN score satisfies no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curate.core.config import Model
from curate.core.draw import sample_keys
from curate.core.errors import ConfigError

Mask: TypeAlias = npt.NDArray[np.bool_]


class Quantile(Model):
    """A threshold at a quantile of the rows that passed the rules before."""

    quantile: Annotated[float, Field(gt=0, lt=1)]


class Budget(Model):
    """As many rows as fit: until the sum of the column `sum` would pass `limit`; a null adds nothing."""

    sum: str
    limit: Annotated[float, Field(gt=0)]


class Sample(Model):
    """Rows drawn by chance, without replacement, in proportion to exp(score / temperature) (`curate.core.draw`).

    Attributes:
        count, fraction, sum with limit: how many, one of the three; by `limit` as many as fit before the sum of the
            column `sum` would pass it.
        temperature: in units of the score. 1 is importance resampling of a log weight (DSIR). The lower, the
            nearer to `top`; a very high one, such as 1000000, is a uniform sample.
        seed: of the noise, which depends on it and the row's id; two samples in a row need two seeds.
    """

    count: Annotated[int, Field(gt=0)] | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    sum: str | None = None
    limit: Annotated[float, Field(gt=0)] | None = None
    temperature: float = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @model_validator(mode="after")
    def _shape(self) -> Sample:
        if (self.sum is None) != (self.limit is None):
            raise ValueError("`sum` and `limit` go together")
        if [self.count, self.fraction, self.sum].count(None) != 2:
            raise ValueError("give one of `count`, `fraction`, and `sum` with `limit`")
        if not self.temperature > 0:
            raise ValueError(
                "`temperature` is above 0; for the best rows without chance write `top`, for a uniform "
                "sample a very high one, such as 1000000"
            )
        return self

    @property
    def share(self) -> int | float | Budget:
        """How many rows, as `top` says it."""
        if self.sum is not None and self.limit is not None:
            return Budget(sum=self.sum, limit=self.limit)
        return self.count or self.fraction or 0

    def keys(self, scores: npt.NDArray[np.float64], ids: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
        """What the drawn rows are the highest of."""
        return sample_keys(scores, ids, temperature=self.temperature, seed=self.seed)


Threshold: TypeAlias = int | float | Quantile
Share: TypeAlias = Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0, le=1)] | Budget


class Rule(Model):
    """One rule of a filter; exactly one of `preset` and `column`, and at least one comparison for a column.

    Attributes:
        preset: the name of a table of rules; `of` is the scorer entry they apply to, when it has another name.
        column: a score column.
        at_least, at_most, above, below: a number, or `{quantile: q}`.
        equals, one_of: for text and flags.
        top, bottom: a count, a fraction, or `{sum: COLUMN, limit: N}`; ties go to the lower id.
        sample: rows drawn by chance, the better ones more often; see `Sample`.
        name: how a drop's reason calls the rule.
    """

    preset: str | None = None
    of: str | None = None
    column: str | None = None
    at_least: Threshold | None = None
    at_most: Threshold | None = None
    above: Threshold | None = None
    below: Threshold | None = None
    equals: str | bool | int | float | None = None
    one_of: list[str] | None = None
    top: Share | None = None
    bottom: Share | None = None
    sample: Sample | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _shape(self) -> Rule:
        if (self.preset is None) == (self.column is None):
            raise ValueError("a rule names either a `preset` or a `column`")
        if self.preset is not None and (self.comparisons() or self.name):
            raise ValueError("a preset brings its own comparisons; write a rule with `column` for another one")
        if self.column is not None and not self.comparisons():
            raise ValueError(f"says nothing about {self.column!r}; give one of {', '.join(COMPARISONS)}")
        if self.of is not None and self.preset is None:
            raise ValueError("`of` goes with a preset")
        return self

    def comparisons(self) -> list[tuple[str, object]]:
        """The comparisons given, in a fixed order."""
        return [(name, getattr(self, name)) for name in COMPARISONS if getattr(self, name) is not None]


COMPARISONS = ("at_least", "at_most", "above", "below", "equals", "one_of", "top", "bottom", "sample")
Value: TypeAlias = str | bool | int | float | list[str]


@dataclass(frozen=True)
class Condition:
    """A comparison with a known threshold.

    For `top` and `bottom`, `value` is the last score that is in, and `last_id` the greatest id that is in at
    that score; for `sample` the same of its keys (`draw.keys`). `name` is the reason a row is dropped for.
    """

    name: str
    column: str
    comparison: str
    value: Value
    last_id: str = ""
    draw: Sample | None = None

    def holds(self, table: pa.Table) -> Mask:
        """Which rows of a table satisfy it.

        Raises:
            ConfigError: the column cannot be compared with the value.
        """
        column = table.column(self.column)
        if self.draw is not None:
            return self._drawn(self.draw, table)
        try:
            result = self._compare(column, table)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            raise ConfigError(
                f"rule {self.name}: the column {self.column} holds {column.type} "
                f"and cannot be compared with {self.value!r}"
            ) from None
        return np.asarray(pc.fill_null(result, False).to_numpy(zero_copy_only=False), dtype=np.bool_)

    def _drawn(self, draw: Sample, table: pa.Table) -> Mask:
        assert isinstance(self.value, float)
        scores, ids = table.column(self.column).cast(pa.float64()).to_numpy(), table.column("id").to_numpy()
        keys = draw.keys(scores, ids)
        tie = (keys == self.value) & np.asarray(ids <= self.last_id, dtype=np.bool_)
        drawn: Mask = np.isfinite(scores) & ((keys > self.value) | tie)
        return drawn

    def _compare(self, column: pa.ChunkedArray, table: pa.Table) -> pa.ChunkedArray:
        if self.comparison == "at_least":
            return pc.greater_equal(column, self.value)
        if self.comparison == "at_most":
            return pc.less_equal(column, self.value)
        if self.comparison == "above":
            return pc.greater(column, self.value)
        if self.comparison == "below":
            return pc.less(column, self.value)
        if self.comparison == "equals":
            return pc.equal(column, self.value)
        if self.comparison == "one_of":
            return pc.is_in(column, value_set=pa.array(self.value, column.type))
        beyond = pc.greater if self.comparison == "top" else pc.less
        tie = pc.and_(pc.equal(column, self.value), pc.less_equal(table.column("id"), self.last_id))
        return pc.or_(beyond(column, self.value), tie)


def quantile(values: npt.NDArray[np.float64], q: float) -> float:
    """The linear-interpolation quantile (numpy's default) of finite values; NaN for none."""
    return float(np.quantile(values, q)) if len(values) else float("nan")


def cut(
    values: npt.NDArray[np.float64],
    ids: Sequence[str] | npt.NDArray[np.object_],
    share: int | float | Budget,
    weights: npt.NDArray[np.float64] | None,
    *,
    highest: bool,
) -> tuple[float, str]:
    """The last score and the last id at that score which are in, for `top` (`highest`) or `bottom`.

    Args:
        values: the scores, none NaN.
        ids: of the same rows.
        share: a count, a fraction (the count is rounded down, at least 1), or a budget over `weights`.
        weights: the column that a budget sums, none below 0.
    """
    if not len(values):
        return (float("inf") if highest else float("-inf")), ""
    keys = -values if highest else values
    order = np.lexsort((np.asarray(ids, dtype=np.str_), keys))
    if isinstance(share, Budget):
        assert weights is not None
        with np.errstate(over="ignore"):  # a sum beyond all numbers is beyond the limit
            count = int(np.searchsorted(np.cumsum(weights[order]), share.limit, side="right"))
    elif isinstance(share, float):
        count = max(1, int(share * len(values)))
    else:
        count = share
    if count == 0:
        return (float("inf") if highest else float("-inf")), ""
    last = order[min(count, len(order)) - 1]
    return float(values[last]), str(ids[last])
