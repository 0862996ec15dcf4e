"""What a `synthesize` step will ask and cost, from a sample of its rows, before anything is spent.

    found = estimate(config, inputs, models, endpoints)
    found.requests, found.worst                  # 1200, pico-dollars at most

Every prompt of the sample is rendered, and answers are imagined that have the form which the recipe asks for, so that
later prompts can be rendered too. A prompt's tokens are its bytes over four; an answer has at most the tokens that it
may have, and half of them are taken to be likely.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.generate.endpoints import Endpoints
from curate.generate.request import Completion, Usage
from curate.steps.synthesize.answers import Answer, Rejected
from curate.steps.synthesize.config import SynthesizeConfig
from curate.steps.synthesize.functions import BYTES_A_TOKEN
from curate.steps.synthesize.inputs import Rows, reads_of, tasks_of
from curate.steps.synthesize.stages import Answered, Maker, Question
from curate.steps.synthesize.synthetic import InputRow

_SAMPLE = 32
_ITEMS = 3  # of an imagined list
_FEWER = 0.5  # of the most tokens, that an answer is likely to have


@dataclass(frozen=True)
class Estimate:
    """Of a whole step.

    Attributes:
        rows: that go in.
        requests: about.
        prompt_tokens: about.
        answer_tokens: at most.
        likely, worst: in pico-dollars; 0 where the model has no price.
    """

    rows: int
    requests: int
    prompt_tokens: int
    answer_tokens: int
    likely: int
    worst: int


@dataclass
class _Imagined:
    """Answers that nobody gave, in the form that is asked for; counts what was asked."""

    name: str
    endpoints: Endpoints
    requests: int = 0
    prompt: int = 0
    most: int = 0
    seen: list[str] = field(default_factory=list)

    async def __call__(self, question: Question) -> Answered:
        """See `curate.steps.synthesize.stages.Answerer`."""
        request = question.request(self.name, self.endpoints.by_name[self.name])
        self.requests += 1
        self.prompt += len(request.canonical) // BYTES_A_TOKEN
        self.most += question.most
        text = "word " * max(1, int(question.most * _FEWER) // _ITEMS)
        value = _value(question.stage.answer, text)
        completion = Completion(text, "stop", "", "", (), Usage())
        return Answered(value, completion, request, question.prompt)


def _value(answer: Answer, text: str) -> Plain:
    if answer.json_schema is not None:
        return _of_schema(answer.json_schema, text)
    if answer.tags is not None:
        return dict.fromkeys(answer.tags, text)
    if answer.items is not None:
        return [text] * max(_ITEMS, answer.items.least)
    if answer.pairs is not None:
        return [dict.fromkeys(answer.pairs.names, text) for _ in range(max(_ITEMS, answer.pairs.least))]
    return text


def _of_schema(schema: Mapping[str, Plain], text: str) -> Plain:
    """A value that fits the plain part of a schema: types, required keys, items, choices."""
    choices, kind = schema.get("enum"), schema.get("type")
    if isinstance(choices, list) and choices:
        return choices[0]
    if kind == "object":
        properties = schema.get("properties")
        fields = properties if isinstance(properties, dict) else {}
        return {name: _of_schema(each, text) for name, each in fields.items() if isinstance(each, dict)}
    if kind == "array":
        items, least = schema.get("items"), schema.get("minItems")
        count = max(_ITEMS, least if isinstance(least, int) else 0)
        return [_of_schema(items if isinstance(items, dict) else {}, text) for _ in range(count)]
    return {"integer": 1, "number": 1.0, "boolean": True, "null": None}.get(str(kind), text)


def estimate(
    config: SynthesizeConfig, inputs: Mapping[str, Dataset], models: Mapping[str, str], endpoints: Endpoints
) -> Estimate:
    """What a step is likely to ask, and what that costs at most.

    Raises:
        BadValue: the rows lack a column that the recipe reads.
    """
    recipe = config.recipe
    datasets = [dataset for role, dataset in inputs.items() if role.startswith("from[")]
    sample = _pool_sample(config) if recipe.pool is not None else _sample(config, inputs, models, datasets)
    imagined = _Imagined(config.model, endpoints)
    maker = Maker(recipe.model_copy(update={"keep": type(recipe.keep)(prompt=True)}), imagined, config.seed)
    asyncio.run(_imagine(maker, sample))
    if recipe.pool is not None:
        total = -(-(config.count or 0) // _ITEMS)
    else:
        total = sum(task.rows for task in tasks_of(config, datasets))
    times = config.samples * (recipe.rounds.count if recipe.rounds is not None else 1) * total / max(1, len(sample))
    requests, prompt, most = (round(each * times) for each in (imagined.requests, imagined.prompt, imagined.most))
    price = endpoints.price(config.model)
    return Estimate(total, requests, prompt, most, price.worst(prompt, int(most * _FEWER)), price.worst(prompt, most))


async def _imagine(maker: Maker, sample: Sequence[InputRow]) -> None:
    for row in sample:
        try:
            await maker.make(row, 0)
        except Rejected:
            continue


def _sample(
    config: SynthesizeConfig, inputs: Mapping[str, Dataset], models: Mapping[str, str], datasets: Sequence[Dataset]
) -> list[InputRow]:
    reads = reads_of(config, datasets, ("from",))
    rows = Rows(config.model_copy(update={"retrieve": None}), config.recipe, inputs, models, reads)

    def every() -> Iterator[InputRow]:
        for task in tasks_of(config, datasets):
            yield from rows.read(task)[1]

    return list(itertools.islice(every(), _SAMPLE))


def _pool_sample(config: SynthesizeConfig) -> list[InputRow]:
    pool = config.recipe.pool
    shown = 0 if pool is None else pool.seeds + pool.made
    columns: dict[str, object] = {"found": [], "shots": [{"text": "word " * 20}] * shown}
    return [InputRow("0" * 32, "", {**dict.fromkeys(config.recipe.optional), **columns})]
