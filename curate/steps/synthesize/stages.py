"""One row through the stages of a recipe: what is asked, what comes of it.

    maker = Maker(recipe, roles, ask=ask, seed=0)
    made, dropped = await maker.make(row, sample=0)

Raises what keeps a row from being made: `Rejected` with a reason, `GivenUp` where the endpoint has no answer, `Skipped`
where the budget has no money.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import xxhash

from curate.core.chat.messages import Turn
from curate.core.digest import Plain, canonical
from curate.generate.ask import Generate
from curate.generate.endpoints import Endpoint
from curate.generate.request import CHAT, COMPLETIONS, Completion, Kind, Request
from curate.steps.synthesize.answers import Parser, Rejected, check
from curate.steps.synthesize.filters import Filters
from curate.steps.synthesize.functions import functions
from curate.steps.synthesize.recipe_model import Message, Recipe, Rows, Stage
from curate.steps.synthesize.synthetic import Dropped, InputRow, SyntheticRow
from curate.steps.synthesize.template import CannotRender, Expression, Template, plain

# Requests for one row, at most: what asks for more is a mistake in a recipe.
MOST_REQUESTS = 1000
# Between the sample numbers of an answer and of the next try for it, of an item and of the same one come again, and of
# rows that say the same because they say nothing.
_TRIES_APART = 1000
_DRAWS_APART = 10_000
_ROWS_APART = 100_000_000


@dataclass(frozen=True)
class Answered:
    """An answer that was read: its value, and the completion and request that it came from."""

    value: Plain
    completion: Completion
    request: Request
    prompt: str
    score: float | None = None

    @property
    def summary(self) -> dict[str, Plain]:
        """What templates may know of it besides its value, as `of.STAGE`."""
        return {
            "reasoning": self.completion.reasoning,
            "finish": self.completion.finish,
            "model": self.request.model,
            "request": self.request.key,
            "text": self.completion.text,
            "score": self.score,
        }


class Answerer(Protocol):
    """How a stage's prompt is answered: by one model, or by several in turn."""

    async def __call__(self, question: Question) -> Answered:
        """The answer that is taken.

        Raises:
            Rejected: none is.
        """
        ...


@dataclass(frozen=True)
class Question:
    """A stage's prompt for a row, rendered: ready to be asked of any endpoint.

    Attributes:
        kind: chat or completions.
        body: messages or prompt, and the parameters of sampling but the limit of tokens.
        most: that limit.
        schema: of the answer, for endpoints that take one.
        seed: of the draw.
        sample: which draw.
        prompt: the last turn, as text.
        stage, parse, row: whose it is, and what reads its answer.
    """

    kind: Kind
    body: Mapping[str, Plain]
    most: int
    schema: Mapping[str, Plain] | None
    seed: int
    sample: int
    prompt: str
    stage: Stage
    parse: Parser
    row: InputRow

    def request(self, name: str, endpoint: Endpoint, *, sample: int | None = None) -> Request:
        """As a request to an endpoint; another `sample` is another draw."""
        sample = self.sample if sample is None else sample
        body: dict[str, Plain] = {**self.body, endpoint.limit: self.most, **endpoint.extra}
        if self.schema is not None and endpoint.structured:
            named = {"name": self.stage.name, "schema": dict(self.schema), "strict": False}
            body["response_format"] = {"type": "json_schema", "json_schema": cast(Plain, named)}
        if endpoint.seed:
            drawn = xxhash.xxh3_64_intdigest(canonical(body), self.seed)
            body["seed"] = (drawn + sample) & 0x7FFFFFFF
        return Request(name, endpoint.model, endpoint.revision, self.kind, body, sample, self.most)


class OneModel:
    """Answers by one endpoint; an answer that cannot be read is asked for again, as often as the stage says."""

    def __init__(self, ask: Generate, name: str, endpoint: Endpoint) -> None:
        self._ask, self._name, self._endpoint = ask, name, endpoint

    async def __call__(self, question: Question) -> Answered:
        """See `Answerer`."""
        stage = question.stage
        for attempt in range(stage.tries):
            request = question.request(self._name, self._endpoint, sample=question.sample + attempt * _TRIES_APART)
            completion = await self._ask(request)
            try:
                value = read(question, completion)
            except Rejected:
                if attempt + 1 == stage.tries:
                    raise
                continue
            return Answered(value, completion, request, question.prompt)
        raise AssertionError("a stage is tried once at least")


def read(question: Question, completion: Completion) -> Plain:
    """The value of an answer.

    Raises:
        Rejected: it is of another form.
    """
    text = check(completion, whole=question.stage.whole)
    try:
        return question.parse(text)
    except Rejected as error:
        if completion.finish == "length":
            raise Rejected("cut-off", error.reason) from None
        raise


@dataclass
class _State:
    """A row on its way: what templates see, and the last answer."""

    row: InputRow
    sample: int
    context: dict[str, object]
    of: dict[str, Plain] = field(default_factory=dict)
    last: Answered | None = None
    by_request: dict[str, Answered] = field(default_factory=dict)
    requests: int = 0


class Maker:
    """Takes rows through a recipe.

    Args:
        recipe: with its params set.
        answer: how prompts are answered.
        seed: of all draws.
    """

    def __init__(self, recipe: Recipe, answer: Answerer, seed: int) -> None:
        self._recipe, self._answer, self._seed = recipe, answer, seed
        self._filters = Filters(recipe.keep)
        self._parsers = {stage.name: stage.answer.parser() for stage in recipe.stages}

    async def make(self, row: InputRow, sample: int) -> tuple[list[SyntheticRow], list[Dropped]]:
        """The rows that are made of one, and what was dropped on the way.

        Raises:
            Rejected: no row is made, for this reason.
            GivenUp: an endpoint has no answer.
            Skipped: the budget has nothing left.
            RunError: the run stops.
        """
        seed = f"{self._seed}|{row.id}|{sample}"
        context = {**self._recipe.params, **row.columns, **functions(seed), "sample": sample}
        state = _State(row, sample, context)
        context["of"] = state.of
        dropped: list[Dropped] = []
        try:
            for stage in self._recipe.stages:
                await self._stage(stage, state, dropped)
            made = [each for rows in self._recipe.rows for each in self._rows(rows, state)]
        except CannotRender as error:
            raise Rejected("cannot-render", str(error)) from None
        if not made:
            raise Rejected(dropped[0].reason if dropped else "no-case", "no stage made a row")
        kept, lost = self._filters.kept(made, context)
        dropped += lost
        if not kept:
            raise Rejected(dropped[-1].reason, dropped[-1].text)
        return kept, dropped

    async def _stage(self, stage: Stage, state: _State, dropped: list[Dropped]) -> None:
        context = state.context
        if stage.when is not None and not Expression(stage.when).value(context):
            context[stage.name] = None
            return
        if stage.each is None:
            answered = await self._ask(stage, state, context, 0)
            context[stage.name], state.of[stage.name], state.last = answered.value, answered.summary, answered
            return
        items = _list_of(stage.each, context)
        draws = _draws(items)
        tasks = [
            self._ask(stage, state, {**context, "item": item}, draw) for item, draw in zip(items, draws, strict=True)
        ]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        value: list[Plain] = []
        for item, result in zip(items, results, strict=True):
            if isinstance(result, Rejected):
                dropped.append(Dropped(result.reason, result.message))
            elif isinstance(result, BaseException):
                raise result
            else:
                value.append({"item": plain(item), "answer": result.value, "request": result.request.key})
                state.last = result
        context[stage.name] = value

    async def _ask(self, stage: Stage, state: _State, context: Mapping[str, object], draw: int) -> Answered:
        state.requests += 1
        if state.requests > MOST_REQUESTS:
            raise Rejected("too-many-requests", f"{MOST_REQUESTS:,} for one row are the most; mend the recipe")
        sample = state.sample + draw * _DRAWS_APART + state.row.number * _ROWS_APART
        answered = await self._answer(self.question(stage, state.row, context, sample))
        state.by_request[answered.request.key] = answered
        return answered

    def question(self, stage: Stage, row: InputRow, context: Mapping[str, object], sample: int) -> Question:
        """A stage's prompt for a row.

        Raises:
            CannotRender: the row lacks what the templates need.
            Rejected: the row has no question to ask.
        """
        body: dict[str, Plain] = {}
        for name in ("temperature", "top_p", "stop"):
            value = getattr(stage.sampling, name)
            if value is not None:
                body[name] = value
        kind: Kind = CHAT
        if stage.raw is not None:
            kind, prompt = COMPLETIONS, Template(stage.raw).render(context)
            body["prompt"] = prompt
            if stage.sampling.logprobs is not None:
                body["logprobs"] = stage.sampling.logprobs
        else:
            messages = _turns(stage, context)
            prompt = messages[-1].content
            body["messages"] = [{"role": turn.role, "content": turn.content} for turn in messages]
            if stage.sampling.logprobs is not None:
                body.update(logprobs=True, top_logprobs=stage.sampling.logprobs)
        schema = stage.answer.json_schema
        parse = self._parsers[stage.name]
        return Question(kind, body, stage.sampling.max_tokens, schema, self._seed, sample, prompt, stage, parse, row)

    def _rows(self, rows: Rows, state: _State) -> list[SyntheticRow]:
        context = state.context
        if rows.when is not None and not Expression(rows.when).value(context):
            return []
        if rows.each is None:
            return [self._row(rows, context, state, None)]
        items = _list_of(rows.each, context)
        return [self._row(rows, {**context, "item": item}, state, item) for item in items]

    def _row(self, rows: Rows, context: Mapping[str, object], state: _State, item: object) -> SyntheticRow:
        request = item.get("request") if isinstance(item, Mapping) else None
        answered = state.by_request.get(str(request), state.last)
        if answered is None:
            raise Rejected("no-case", "no stage was asked")
        messages = _render(rows.messages, context) if rows.messages is not None else None
        if rows.turns is not None:
            messages = _turns_of(Expression(rows.turns).value(context), rows.turns)
        return SyntheticRow(
            text=None if rows.text is None else Template(rows.text).render(context).strip(),
            messages=messages,
            columns={name: Template(text).render(context).strip() for name, text in rows.columns.items()},
            model=answered.request.model,
            request=answered.request.key,
            finish=answered.completion.finish,
            prompt=answered.prompt,
            logprobs=answered.completion.logprobs,
            check=answered.score,
            row=state.row,
        )


def _list_of(expression: str, context: Mapping[str, object]) -> Sequence[object]:
    value = Expression(expression).value(context)
    if value is None:
        return []  # of a stage that was left out
    if not isinstance(value, list | tuple):
        raise CannotRender(f"each: {expression} is no list")
    return value


def _turns_of(value: object, expression: str) -> tuple[Turn, ...]:
    """The turns that an expression gives."""
    if not isinstance(value, list | tuple) or not all(
        isinstance(each, Mapping) and isinstance(each.get("role"), str) and isinstance(each.get("content"), str)
        for each in value
    ):
        raise CannotRender(f"turns: {expression} is no list of {{role, content}}")
    return tuple(Turn(each["role"], each["content"].strip()) for each in value)


def _draws(items: Sequence[object]) -> list[int]:
    """How often each item came before: the same prompt is not to get the same answer."""
    seen: Counter[bytes] = Counter()
    found = []
    for item in items:
        key = canonical(plain(item))
        found.append(seen[key])
        seen[key] += 1
    return found


def _turns(stage: Stage, context: Mapping[str, object]) -> tuple[Turn, ...]:
    if stage.messages is not None:
        return _render(stage.messages, context)
    first = () if stage.system is None else (Turn("system", Template(stage.system).render(context)),)
    if stage.turns is None:
        return (*first, Turn("user", Template(stage.prompt or "").render(context)))
    given = context.get(stage.turns)
    turns = tuple(Turn(str(each["role"]), str(each["content"])) for each in given) if isinstance(given, list) else ()
    while turns and turns[-1].role == "assistant":
        turns = turns[:-1]
    if not turns:
        raise Rejected("no-question", f"{stage.turns} has no turn to answer")
    return turns if turns[0].role == "system" else (*first, *turns)


def _render(messages: Sequence[Message], context: Mapping[str, object]) -> tuple[Turn, ...]:
    return tuple(Turn(each.role, Template(each.content).render(context)) for each in messages)
