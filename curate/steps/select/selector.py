"""What a selector is to the `select` step: its arguments, what it reads, and how it fills the budget.

class Random(Selector):
    seed: int = 0
    def select(self, job, pool, filling): ...    # -> Verdict
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from curate.core.config import Model, Path, field_of, model_files, resources
from curate.core.digest import Plain
from curate.core.step import Job, StepConfig
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Bools, Floats, Objects, Pool


@dataclass(frozen=True)
class Verdict:
    """What a selector says of the rows of the pool, beside what it took.

    Attributes:
        scores: float64, one a row, NaN where it has none.
        targets: the task that a row serves best, None where it serves none; None for selectors without targets.
        nearest: the id of the target's example that is nearest to a row, likewise.
        details: figures about the whole, for the manifest.
    """

    scores: Floats
    targets: Objects | None = None
    nearest: Objects | None = None
    details: Mapping[str, Plain] = field(default_factory=dict)


class Selector(Model, ABC):
    """Base of the arguments of a selector."""

    # Whether it may go without a budget: it takes as many rows as it has.
    open_ended: ClassVar[bool] = False

    def inputs(self) -> dict[str, str]:
        """The datasets it reads beside the pool: role -> name of the step."""
        return {}

    def models(self) -> dict[str, str]:
        """The model files it reads."""
        return model_files(self)

    def identity(self) -> dict[str, Plain]:
        """The arguments that are neither datasets, model files nor resources."""
        named = {field_of(key) for key in (*self.inputs(), *self.models())}
        outside = {name for name, each in type(self).model_fields.items() if {name, each.alias} & named}
        dumped: dict[str, Plain] = self.model_dump(mode="json", exclude=outside | resources(self))
        return dumped

    def check(self, inputs: Mapping[str, StepConfig], path: Path) -> None:
        """See that it fits the configs of the steps that it reads, by role, before any of them runs.

        Raises:
            BadValue: it does not; `path` is where its arguments stand.
        """
        return None

    def exclude(self, job: Job, pool: Pool) -> None:
        """Close the rows that it can never take (no feature, no score), before the budget is set."""
        return None

    @abstractmethod
    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Fill the budget; ties go by id, and no row whose score is not finite is taken."""


def best_first(scores: Floats, pool: Pool, among: Bools) -> list[int]:
    """The rows of `among` with a finite score, highest first, ties by id.

    >>> best_first(np.array([1.0, np.nan, 1.0]), pool, pool.open)    # doctest: +SKIP
    [0, 2]
    """
    rows = np.flatnonzero(among & np.isfinite(scores))
    found: list[int] = rows[np.lexsort((pool.order[rows], -scores[rows]))].tolist()
    return found
