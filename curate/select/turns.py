"""From scores for several tasks to one selection: by the best, by the mean, or each task in its turn.

scores, targets = take_over_tasks(by_task, ["bbh", "mmlu"], "round_robin", pool, filling)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from curate.select.filling import Filling
from curate.select.pool import Floats, Objects, Pool
from curate.select.selector import best_first

Over = Literal["max", "mean", "round_robin"]


def take_over_tasks(
    by_task: Floats, names: Sequence[str], over: Over, pool: Pool, filling: Filling
) -> tuple[Floats, Objects]:
    """Fill the budget; the score of every row over all tasks, and the task that it is taken for.

    Args:
        by_task: float64 (tasks, rows of the pool), NaN where a row has no score.
        names: of the tasks.
        over: `max` and `mean` take the rows whose best or mean score over the tasks is highest; with `round_robin`
            each task in turn takes the row that is best for it of those that are left, and the score is the best.
        pool: the rows.
        filling: what is filled.
    """
    scores: Floats = by_task.mean(axis=0) if over == "mean" else by_task.max(axis=0)
    # A row without a score has it in no task: which task comes out then means nothing.
    best = np.where(np.isfinite(scores), by_task.argmax(axis=0), 0)
    if over == "round_robin":
        orders = [best_first(each, pool, filling.open) for each in by_task]
        owners = take_in_turn(orders, filling)
        best[list(owners)] = list(owners.values())
    else:
        filling.take_in_order(best_first(scores, pool, filling.open))
    targets: Objects = np.array([*names], dtype=object)[best]
    targets[~np.isfinite(scores)] = None
    return scores, targets


def take_in_turn(orders: Sequence[Iterable[int]], filling: Filling) -> dict[int, int]:
    """Take rows from several orders in turn until the budget is full: row -> which order took it.

    A row that another order has taken, or that does not fit, does not use up a turn. An order may be lazy.
    """
    owners: dict[int, int] = {}
    queues = [(i, iter(order)) for i, order in enumerate(orders)]
    while queues:
        left = []
        for i, queue in queues:
            if len(filling.taken) >= filling.count:
                return owners
            row = next((row for row in queue if filling.take(row)), None)
            if row is not None:
                owners[int(row)] = i
                left.append((i, queue))
        queues = left
    return owners
