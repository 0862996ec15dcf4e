"""From scores for several tasks to one selection: by the best, by the mean, or each task in its turn.

scores, targets = take_over_tasks(by_task, ["bbh", "mmlu"], "round_robin", pool, filling)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from curate.steps.select.filling import Filling
from curate.steps.select.pool import Floats, Objects, Pool
from curate.steps.select.selector import best_first

Over = Literal["max", "mean", "round_robin"]


def take_over_tasks(
    by_task: Floats, names: Sequence[str], over: Over, pool: Pool, filling: Filling
) -> tuple[Floats, Objects]:
    """Fill the budget; the score of every row over all tasks, and the task that it is taken for.

    Args:
        by_task: float64 (tasks, rows of the pool); a row that may be taken has a number for every task.
        names: of the tasks.
        over: `max` and `mean` take the rows whose best or mean score over the tasks is highest; with `round_robin`
            each task in turn takes the row that is best for it of those that are left, and a pick's score is its own.
        pool: the rows.
        filling: what is filled.
    """
    finite = np.isfinite(by_task).all(axis=0)
    best = np.where(finite, by_task.argmax(axis=0), 0)
    if over == "round_robin":
        begun = len(filling.taken)
        owners = take_in_turns([best_first(each, pool, filling.open) for each in by_task], filling)
        best[filling.taken[begun:]] = owners
    scores: Floats = by_task.mean(axis=0) if over == "mean" else by_task[best, np.arange(len(best))]
    if over != "round_robin":
        filling.take_in_order(best_first(scores, pool, filling.open))
    targets: Objects = np.array([*names], dtype=object)[best]
    targets[~finite] = None
    return scores, targets


def take_in_turns(orders: Sequence[Iterable[int]], filling: Filling) -> list[int]:
    """Take rows from several orders in turn until the budget is full; for every row taken, whose it is.

    A row that another order has taken, or that does not fit, does not use up a turn. An order may be lazy.
    """
    owners: list[int] = []
    waiting = {i: iter(order) for i, order in enumerate(orders)}
    while waiting:
        for i in list(waiting):
            if len(filling.taken) >= filling.count:
                return owners
            if any(filling.take(row) for row in waiting[i]):
                owners.append(i)
            else:
                del waiting[i]
    return owners
