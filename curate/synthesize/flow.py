"""Many rows at once, their fates in order.

    done = await make_rows(config, access, "made/part-00000", rows, "part-00000.parquet", "fates/part-00000.parquet")
    done.counts                                  # {"accepted": 96, "rejected:empty": 4, ...}

However the answers come in, the fates come out in the order of the rows, and no more rows are held than the window.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from curate import files
from curate.errors import RunError
from curate.generate.access import Access
from curate.generate.ask import Generate, GivenUp, Skipped
from curate.generate.endpoints import Means
from curate.generate.request import Completion, Request
from curate.shards import Shard, ShardWriter
from curate.step import Job, Receipt
from curate.synthesize.answerers import answerer
from curate.synthesize.answers import Rejected
from curate.synthesize.config import SynthesizeConfig
from curate.synthesize.evolve import evolve
from curate.synthesize.made import (
    FATES,
    FATES_SCHEMA,
    Dropped,
    Fate,
    InputRow,
    Made,
    schema_of,
    to_fate,
    to_rows,
)
from curate.synthesize.stages import Maker

T = TypeVar("T")
R = TypeVar("R")
# More rows than requests may be in flight, so that one that is slow holds up no other.
_WINDOW = 4
_AT_ONCE = 500  # rows that are written together


def window_of(means: Means, names: Sequence[str]) -> int:
    """How many rows are on their way at once: what the endpoints may have in flight, or in a batch, several times."""
    endpoints = [means.endpoints[name] for name in names]
    return max(each.batch_rows if each.batch else _WINDOW * each.in_flight for each in endpoints)


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


async def row_fate(maker: Maker, config: SynthesizeConfig, row: InputRow) -> Fate:
    """All samples of a row, and what became of it: a row is accepted if one of its samples is, unless one was skipped.

    Raises:
        RunError: the run stops.
    """
    results = await asyncio.gather(
        *(_sample(maker, config, row, sample) for sample in range(config.samples)), return_exceptions=True
    )
    made: list[tuple[int, Made]] = []
    dropped: list[Dropped] = []
    rejected: list[Rejected] = []
    failed: list[GivenUp] = []
    skipped = False
    for sample, result in enumerate(results):
        if isinstance(result, Skipped):
            skipped = True
        elif isinstance(result, Rejected):
            rejected.append(result)
        elif isinstance(result, GivenUp):
            failed.append(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            made += [(sample, each) for each in result[0]]
            dropped += result[1]
    if skipped:
        return Fate(row, "skipped", "budget")
    if made:
        dropped += [Dropped(each.reason, each.message) for each in rejected]
        dropped += [Dropped(each.why.error, each.why.message) for each in failed]
        return Fate(row, "accepted", made=tuple(made), dropped=tuple(dropped))
    if failed:
        return Fate(row, "failed", failed[0].why.error, failed[0].why.message, dropped=tuple(dropped))
    return Fate(row, "rejected", rejected[0].reason, rejected[0].message, dropped=tuple(dropped))


async def _sample(
    maker: Maker, config: SynthesizeConfig, row: InputRow, sample: int
) -> tuple[list[Made], list[Dropped]]:
    rounds = config.recipe.rounds
    if rounds is None:
        return await maker.make(row, sample)
    return await evolve(maker, config.recipe, rounds, row, sample)


def stop_at_skipped(job: Job, stage: str, receipts: Sequence[Receipt]) -> None:
    """See that no row was skipped.

    Raises:
        RunError: some were; their shards are taken up again by the next run.
    """
    skipped = {receipt.task: receipt.counts["skipped"] for receipt in receipts if receipt.counts.get("skipped")}
    if skipped:
        job.forget(stage, list(skipped))
        raise RunError(
            f"step {job.step.name}: the budget is used up, and {sum(skipped.values()):,} rows are skipped"
            f" ({FATES}/ in {files.shown(job.folder)} lists them). Raise a cap and run the same command again: what"
            " was answered is not asked again"
        )


@dataclass(frozen=True)
class Done:
    """What became of some rows: the shard of made rows, how many rows there were and were accepted, and counts."""

    shard: Shard
    rows: int
    accepted: int
    counts: Mapping[str, int]


async def make_rows(
    config: SynthesizeConfig, access: Access, ledger: str, rows: Iterable[InputRow], made: str, fates: str
) -> Done:
    """Take rows through the recipe of a step.

    Args:
        config: of the step.
        access: to models.
        ledger: the name of the rows' ledger.
        rows: in order.
        made: where the shard of made rows is written.
        fates: where the shard of fates is.
    """
    recipe, means = config.recipe, access.means
    names = sorted(set(config.endpoints().values()))
    schema = schema_of(recipe.kind, recipe.columns, logprobs=recipe.logprobs, check=config.cascade is not None)
    tally = Tally()
    async with access.session(ledger, names) as ask:
        counted = Counted(ask)
        maker = Maker(recipe, answerer(counted, means, config.model, config.cascade), config.seed)
        found = in_order(rows, functools.partial(row_fate, maker, config), window_of(means, names))
        with ShardWriter(made, schema) as out, ShardWriter(fates, FATES_SCHEMA) as told:
            async for some in chunks(found, _AT_ONCE):
                lines = [row for fate in some for row in to_rows(fate, recipe.name)]
                out.write(pa.RecordBatch.from_pylist(lines, schema=schema))
                told.write(pa.RecordBatch.from_pylist(list(map(to_fate, some)), schema=FATES_SCHEMA))
                for fate in some:
                    tally.add(fate)
    return Done(out.shard, tally.rows, tally.accepted, {**tally.counts, **counted.counts})


class Tally:
    """Counts of the fates of rows."""

    def __init__(self) -> None:
        self.rows = self.accepted = 0
        self._counts: Counter[str] = Counter()

    def add(self, fate: Fate) -> None:
        """Count one row: by its fate, and what was dropped of it by the reason."""
        self.rows += 1
        self.accepted += fate.state == "accepted"
        reason = fate.reason if fate.state in ("rejected", "failed") else ""
        self._counts[f"{fate.state}:{reason}" if reason else fate.state] += 1
        for each in fate.dropped:
            self._counts[f"filtered:{each.reason}"] += 1

    @property
    def counts(self) -> dict[str, int]:
        """By name, in order."""
        return dict(sorted(self._counts.items()))


class Counted:
    """`Generate` that counts what it was answered: the same on every run, whatever was paid for it."""

    def __init__(self, ask: Generate) -> None:
        self._ask = ask
        self._counts: Counter[str] = Counter()

    async def __call__(self, request: Request) -> Completion:
        """See `Generate`."""
        completion = await self._ask(request)
        self._counts["answers"] += 1
        self._counts["prompt-tokens"] += completion.usage.prompt
        self._counts["answer-tokens"] += completion.usage.completion
        return completion

    @property
    def counts(self) -> dict[str, int]:
        """Answers, and the tokens that they are billed for."""
        return dict(sorted(self._counts.items()))
