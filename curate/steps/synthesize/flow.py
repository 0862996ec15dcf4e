"""Many rows at once, their outcomes in order.

    done = await make_rows(config, access, "made/part-00000", rows, "part-00000.parquet", "fates/part-00000.parquet")
    done.counts                                  # {"accepted": 96, "rejected:empty": 4, ...}

However the answers come in, the outcomes come out in the order of the rows, and no more rows are held than the window.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from curate.core.shards import Shard, ShardWriter
from curate.generate.access import Access
from curate.generate.ask import Generate, GivenUp, Skipped
from curate.generate.flow import chunks, in_order, window_of
from curate.generate.request import Completion, Request
from curate.steps.synthesize.answerers import answerer
from curate.steps.synthesize.answers import Rejected
from curate.steps.synthesize.config import SynthesizeConfig
from curate.steps.synthesize.evolve import evolve
from curate.steps.synthesize.stages import Maker
from curate.steps.synthesize.synthetic import (
    OUTCOMES_SCHEMA,
    Dropped,
    InputRow,
    RowOutcome,
    SyntheticRow,
    outcome_row,
    schema_of,
    to_rows,
)

_AT_ONCE = 500  # rows that are written together


async def row_outcome(maker: Maker, config: SynthesizeConfig, row: InputRow) -> RowOutcome:
    """All samples of a row, and what became of it: a row is accepted if one of its samples is, unless one was skipped.

    Raises:
        RunError: the run stops.
    """
    results = await asyncio.gather(
        *(_sample(maker, config, row, sample) for sample in range(config.samples)), return_exceptions=True
    )
    made: list[tuple[int, SyntheticRow]] = []
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
        return RowOutcome(row, "skipped", "budget")
    if made:
        dropped += [Dropped(each.reason, each.message) for each in rejected]
        dropped += [Dropped(each.why.error, each.why.message) for each in failed]
        return RowOutcome(row, "accepted", made=tuple(made), dropped=tuple(dropped))
    if failed:
        return RowOutcome(row, "failed", failed[0].why.error, failed[0].why.message, dropped=tuple(dropped))
    return RowOutcome(row, "rejected", rejected[0].reason, rejected[0].message, dropped=tuple(dropped))


async def _sample(
    maker: Maker, config: SynthesizeConfig, row: InputRow, sample: int
) -> tuple[list[SyntheticRow], list[Dropped]]:
    rounds = config.recipe.rounds
    if rounds is None:
        return await maker.make(row, sample)
    return await evolve(maker, config.recipe, rounds, row, sample)


@dataclass(frozen=True)
class Done:
    """What became of some rows: the shard of synthetic rows, how many rows there were and were accepted, and counts."""

    shard: Shard
    rows: int
    accepted: int
    counts: Mapping[str, int]


async def make_rows(
    config: SynthesizeConfig, access: Access, ledger: str, rows: Iterable[InputRow], made: str, outcomes: str
) -> Done:
    """Take rows through the recipe of a step.

    Args:
        config: of the step.
        access: to models.
        ledger: the name of the rows' ledger.
        rows: in order.
        made: where the shard of synthetic rows is written.
        outcomes: where the shard of outcomes is.
    """
    recipe, endpoints = config.recipe, access.endpoints
    names = sorted(set(config.endpoints().values()))
    schema = schema_of(recipe.kind, recipe.columns, logprobs=recipe.logprobs, check=config.cascade is not None)
    tally = Tally()
    async with access.session(ledger, names) as ask:
        counted = Counted(ask)
        maker = Maker(recipe, answerer(counted, endpoints, config.model, config.cascade), config.seed)
        found = in_order(rows, functools.partial(row_outcome, maker, config), window_of(endpoints, names))
        with ShardWriter(made, schema) as out, ShardWriter(outcomes, OUTCOMES_SCHEMA) as states:
            async for some in chunks(found, _AT_ONCE):
                lines = [row for outcome in some for row in to_rows(outcome, recipe.name)]
                out.write(pa.RecordBatch.from_pylist(lines, schema=schema))
                states.write(pa.RecordBatch.from_pylist(list(map(outcome_row, some)), schema=OUTCOMES_SCHEMA))
                for outcome in some:
                    tally.add(outcome)
    return Done(out.shard, tally.rows, tally.accepted, {**tally.counts, **counted.counts})


class Tally:
    """Counts of the outcomes of rows."""

    def __init__(self) -> None:
        self.rows = self.accepted = 0
        self._counts: Counter[str] = Counter()

    def add(self, outcome: RowOutcome) -> None:
        """Count one row: by its outcome, and what was dropped of it by the reason."""
        self.rows += 1
        self.accepted += outcome.state == "accepted"
        reason = outcome.reason if outcome.state in ("rejected", "failed") else ""
        self._counts[f"{outcome.state}:{reason}" if reason else outcome.state] += 1
        for each in outcome.dropped:
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
