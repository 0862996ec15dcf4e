"""What a cascade that explored has on record of each row: the small model's answer, the check's score, the large one's.

    seen, left = look(config, source, access, reference="answer", quality="exact")
    left                                         # {"not on record": 3}

A run with `explore: true` in its cascade asks all three of every row. What they said is read from the ledger, nobody
is asked: rows of which one of the three is not on record are counted and left out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass

from curate.core.dataset import Dataset, align
from curate.core.digest import digest_of
from curate.core.errors import ConfigError, RunError, nearest
from curate.generate.access import Access, ledger_name
from curate.generate.ask import Generate, GivenUp
from curate.generate.endpoints import Endpoints
from curate.generate.prices import DOLLAR
from curate.generate.request import Completion, Request
from curate.steps.route.frontier import Quality, Seen, is_right
from curate.steps.synthesize.answerers import Cascade, Cascaded
from curate.steps.synthesize.answers import Rejected
from curate.steps.synthesize.config import SynthesizeConfig
from curate.steps.synthesize.inputs import Rows, RowsTask, reads_of, tasks_of
from curate.steps.synthesize.stages import Answered, Maker, OneModel, Question

NO_REFERENCE, NOT_ON_RECORD, NOT_ASKED = "without a reference", "not on record", "without a question"
_UNREADABLE = -1.0


@dataclass(frozen=True)
class Source:
    """The step whose rows are looked at: its name, the datasets that it reads by role, and its models by key."""

    step: str
    inputs: Mapping[str, Dataset]
    models: Mapping[str, str]


def has_prices(config: SynthesizeConfig, endpoints: Endpoints) -> bool:
    """Whether costs are in USD: both models have a price. Otherwise they are in tokens."""
    return all(endpoints.by_name[name].model in endpoints.prices for name in config.endpoints().values())


def look(
    config: SynthesizeConfig, source: Source, access: Access, *, reference: str, quality: Quality
) -> tuple[list[Seen], dict[str, int]]:
    """What is on record of the rows of a step, in order, and how many rows are left out, by why.

    Args:
        config: of the step.
        source: what it reads.
        access: to the ledgers of its run, in replay.
        reference: the column of the right answer.
        quality: how an answer is compared with it.

    Raises:
        ConfigError: the step has no cascade, a recipe of several stages, or no such column.
        RunError: nothing is on record.
    """
    datasets = [dataset for role, dataset in source.inputs.items() if role.startswith("from[")]
    given = config.cascade
    _check(config, source.step, datasets)
    assert given is not None
    names = [name for dataset in datasets for name in dataset.schema().names]
    owners = [i for i, dataset in enumerate(datasets) if reference in dataset.schema().names]
    if not owners:
        raise ConfigError(
            f"--reference {reference}: no such column in what {source.step} reads; {nearest(reference, names)}"
        )
    rows = Rows(config, config.recipe, source.inputs, source.models, reads_of(config, datasets, ("steps", source.step)))
    inputs = digest_of({role: each.manifest.digest for role, each in source.inputs.items()})
    seen: list[Seen] = []
    left: Counter[str] = Counter()

    async def one(task: RowsTask) -> None:
        table, _ = align(datasets, task.name, {owners[-1]: [reference]})
        right = dict(zip(table.column("id").to_pylist(), table.column(reference).to_pylist(), strict=True))
        async with access.session(
            ledger_name(source.step, inputs, task.name), sorted(set(config.endpoints().values()))
        ) as ask:
            explorer = _Explorer(
                ask, access.endpoints, config.model, given, dollars=has_prices(config, access.endpoints)
            )
            maker = Maker(config.recipe, explorer, config.seed)
            for row in rows.read(task)[1]:
                for sample in range(config.samples):
                    if right[row.id] is None:
                        left[NO_REFERENCE] += 1
                        continue
                    explorer.asked, reason = None, NOT_ASKED
                    try:
                        await maker.make(row, sample)
                    except Rejected:
                        pass  # by a filter, or as there is nothing to ask: what was said counts all the same
                    except (RunError, GivenUp):
                        reason = NOT_ON_RECORD
                    if explorer.asked is None:
                        left[reason] += 1
                    else:
                        seen.append(explorer.asked.against(row.id, str(right[row.id]), quality))

    for task in tasks_of(config, datasets):
        asyncio.run(one(task))
    if not seen:
        asked = ", ".join(f"{count:,} {why}" for why, count in left.items()) or "no rows"
        raise RunError(
            f"step {source.step}: no row has both models' answers on record ({asked}); set `explore: true` in its"
            " cascade and run it, on a sample if that is too dear"
        )
    return seen, dict(left)


def _check(config: SynthesizeConfig, step: str, datasets: Sequence[Dataset]) -> None:
    recipe = config.recipe
    if config.cascade is None:
        raise ConfigError(f"step {step} has no `cascade:`; name one that has, run with `explore: true`")
    if (
        len(recipe.stages) != 1
        or recipe.stages[0].each is not None
        or recipe.rounds is not None
        or recipe.pool is not None
    ):
        raise ConfigError(
            f"step {step}: the recipe {recipe.name} asks more than one question a row; no frontier is of that"
        )
    if not datasets:
        raise ConfigError(f"step {step} makes rows out of nothing, so that nothing says which answer is right")


class _Meter:
    """`Generate` that adds up what it was answered costs."""

    def __init__(self, ask: Generate, endpoints: Endpoints, *, dollars: bool) -> None:
        self._ask, self._endpoints, self._dollars = ask, endpoints, dollars
        self._spent = 0

    async def __call__(self, request: Request) -> Completion:
        """See `Generate`."""
        completion = await self._ask(request)
        usage = completion.usage
        if self._dollars:
            self._spent += self._endpoints.price(request.endpoint).cost(usage)
        else:
            self._spent += usage.prompt + usage.completion
        return completion

    def take(self) -> float:
        """What was spent since the last time."""
        spent, self._spent = self._spent, 0
        return spent / DOLLAR if self._dollars else float(spent)


@dataclass(frozen=True)
class _Asked:
    """What all three gave for a question; None is an answer that cannot be read."""

    prompt: str
    small: Answered | None
    large: Answered | None
    score: float
    costs: tuple[float, float, float]

    def against(self, row: str, reference: str, quality: Quality) -> Seen:
        """As it counts."""
        right = [
            float(each is not None and is_right(_text(each), reference, quality)) for each in (self.small, self.large)
        ]
        return Seen(row, self.prompt, right[0], right[1], self.score, *self.costs)


class _Explorer:
    """Answers with what the large model said, and keeps what all three gave."""

    def __init__(self, ask: Generate, endpoints: Endpoints, name: str, given: Cascade, *, dollars: bool) -> None:
        self._meter = _Meter(ask, endpoints, dollars=dollars)
        self._cascade = Cascaded(self._meter, endpoints, given, OneModel(self._meter, name, endpoints.by_name[name]))
        self.asked: _Asked | None = None

    async def __call__(self, question: Question) -> Answered:
        """See `Answerer`."""
        self._meter.take()
        small = await _read(self._cascade.small(question))
        small_cost = self._meter.take()
        score = _UNREADABLE if small is None else await self._cascade.score(question, small)
        check_cost = self._meter.take()
        large = await _read(self._cascade.large(question))
        self.asked = _Asked(question.prompt, small, large, score, (small_cost, check_cost, self._meter.take()))
        if large is None:
            raise Rejected("unreadable", "the large model's answer cannot be read")
        return large


async def _read(asked: Awaitable[Answered]) -> Answered | None:
    try:
        return await asked
    except Rejected:
        return None


def _text(answered: Answered) -> str:
    return answered.value if isinstance(answered.value, str) else answered.completion.text
