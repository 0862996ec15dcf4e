"""The selector `self_influence`: how much a step of training on a row alone would lower that row's own loss.

    picks: {select: {from: pool, budget: 0.9, self_influence: {features: pool_gradients}}}

The score is |g|² summed over the checkpoints by weight (TracIn: Pruthi et al. 2020, arXiv 2002.08484, section 4.1),
g being the plain gradient of the row. What the rest of the pool contradicts keeps a large gradient: wrong labels
stand among the highest scores. `order: lowest` takes the rows without them, `highest` those to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from curate.core.config import BadValue, Path
from curate.core.step import Job, StepConfig
from curate.steps.select.filling import Filling
from curate.steps.select.gradient import Gradient
from curate.steps.select.pool import Pool
from curate.steps.select.selector import Verdict, best_first
from curate.steps.select.targets import InFeatureSpace


class SelfInfluence(InFeatureSpace):
    """Rows by their self-influence.

    Attributes:
        order: whether the lowest scores are taken or the highest.
    """

    order: Literal["lowest", "highest"] = "lowest"

    def check(self, inputs: Mapping[str, StepConfig], path: Path) -> None:
        """See that the features are plain gradients."""
        super().check(inputs, path)
        feature = getattr(inputs["features"], "feature", None)
        if not isinstance(feature, Gradient) or feature.optimizer != "none":
            raise BadValue(
                (*path, "features"),
                f"the step {self.features} has no plain gradients; name one with `gradient: {{optimizer: none}}`",
            )

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Take from the lowest or from the highest."""
        store, at = self.vectors(job, pool)
        scores = np.where(at >= 0, (np.square(store.norms, dtype=np.float64) @ store.weights)[at], np.nan)
        signed = scores if self.order == "highest" else -scores
        filling.take_in_order(best_first(signed, pool, pool.open))
        return Verdict(scores)
