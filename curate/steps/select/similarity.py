"""The selector `similarity`: the rows whose features are nearest to those of the targets.

    picks:
      select:
        from: pool
        budget: 0.05
        similarity: {features: vectors, targets: [bbh, mmlu], target_features: [bbh_vectors, mmlu_vectors]}

The score of a row for a task is the mean (or the largest) cosine to its examples, and over the tasks the largest,
the mean, or each task in its turn.
"""

from __future__ import annotations

from curate.core.step import Job
from curate.steps.select.filling import Filling
from curate.steps.select.nearness import Nearness, OverExamples
from curate.steps.select.pool import Pool
from curate.steps.select.selector import Verdict
from curate.steps.select.targets import NearTargets
from curate.steps.select.turns import Over, take_over_tasks


class Similarity(NearTargets):
    """Nearest first.

    Attributes:
        over_examples: of a task: the `mean` cosine or the `max`.
        over_tasks: over the tasks: `max`, `mean` or `round_robin`.
    """

    over_examples: OverExamples = "mean"
    over_tasks: Over = "max"

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Compare every row with every example, and take the best."""
        nearness = Nearness(self.vectors(job, pool), list(self.examples(job)), pool)
        by_task, nearest = nearness.by_task(self.over_examples)
        scores, targets = take_over_tasks(by_task, nearness.names, self.over_tasks, pool, filling)
        return Verdict(scores, targets, nearness.named(targets, nearest))
