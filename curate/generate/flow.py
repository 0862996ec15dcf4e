"""Many rows at once, their results in order, and what is done when the budget leaves some out.

    async for some in chunks(in_order(rows, ask_one, window=256), 500): ...

However the answers come in, the results come out in the order of the rows, and no more rows are held than the window.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from curate.core.errors import RunError
from curate.core.step import Job, Receipt
from curate.generate.endpoints import Endpoints

T = TypeVar("T")
R = TypeVar("R")
# More rows than requests may be in flight, so that one that is slow holds up no other.
_WINDOW = 4
SKIPPED = "skipped"


def window_of(endpoints: Endpoints, names: Sequence[str]) -> int:
    """How many rows are on their way at once: what the endpoints may have in flight, or in a batch, several times."""
    asked = [endpoints.by_name[name] for name in names]
    return max(each.batch_rows if each.batch else _WINDOW * each.in_flight for each in asked)


async def in_order(items: Iterable[T], work: Callable[[T], Awaitable[R]], window: int) -> AsyncIterator[R]:
    """What `work` makes of each item, in the order of the items; at most `window` are held."""
    held: deque[asyncio.Future[R]] = deque()
    try:
        for item in items:
            held.append(asyncio.ensure_future(work(item)))
            if len(held) >= window:
                yield await held.popleft()
        while held:
            yield await held.popleft()
    finally:
        for each in held:
            each.cancel()
        await asyncio.gather(*held, return_exceptions=True)


async def chunks(items: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """Lists of so many items; one at least, which may be empty."""
    some: list[T] = []
    async for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    yield some


def stop_at_skipped(job: Job, stage: str, receipts: Sequence[Receipt]) -> None:
    """See that the budget left no row out.

    Raises:
        RunError: some were; their shards are taken up again by the next run.
    """
    skipped = {receipt.task: receipt.counts[SKIPPED] for receipt in receipts if receipt.counts.get(SKIPPED)}
    if skipped:
        job.forget(stage, list(skipped))
        raise RunError(
            f"step {job.step.name}: the budget is used up, and {sum(skipped.values()):,} rows are skipped. Raise a cap"
            " and run the same command again: what was answered is not asked again"
        )
