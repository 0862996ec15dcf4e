"""Who answers: one model, or a small one first and a large one where the small one's answer does not pass a check.

    answer = answerer(ask, endpoints, "large", cascade)
    answered = await answer(question)
    answered.request.model, answered.score

A cascade (FrugalGPT, Chen et al. 2023; AutoMix, Aggarwal et al. 2023): the small model answers, a check gives the
answer a score, and a band decides. From `keep` on the small answer stays; below `drop` both are taken to fail, and the
row is rejected: its score is below the drop threshold; between them the large model is asked. A small answer that
cannot be read has no score, and the large model is asked too.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable
from dataclasses import dataclass, replace

from pydantic import Field, model_validator

from curate.core.config import Model
from curate.core.digest import Plain
from curate.generate.ask import Generate, GivenUp
from curate.generate.endpoints import Endpoints
from curate.generate.request import CHAT, Completion
from curate.steps.synthesize.answers import Rejected
from curate.steps.synthesize.stages import Answered, Answerer, OneModel, Question

_YES = "yes"
# Draws of a check stand beyond those of all answers to the same question.
_CHECKS = 100_000_000


class SelfVerify(Model):
    """The small model is asked whether its answer is right; the score is the share of yes.

    Attributes:
        samples: how often it is asked.
        temperature: of those.
    """

    samples: int = Field(5, ge=1, le=50)
    temperature: float = Field(1.0, ge=0, le=2)


class Logprob(Model):
    """The score is the mean probability of the answer's tokens: exp of their mean log probability."""


class Agreement(Model):
    """The score is the share of further draws whose answer is the same.

    Attributes:
        samples: how many further draws.
    """

    samples: int = Field(4, ge=1, le=50)


class Check(Model):
    """How a small model's answer is scored: one of these, from 0 to 1."""

    self_verify: SelfVerify | None = None
    logprob: Logprob | None = None
    agreement: Agreement | None = None

    @model_validator(mode="after")
    def _one(self) -> Check:
        if sum(getattr(self, name) is not None for name in type(self).model_fields) != 1:
            raise ValueError("expected one of self_verify, logprob, agreement")
        return self


class Cascade(Model):
    """A small model that is asked first.

    Attributes:
        model: the name of its endpoint.
        check: see `Check`.
        keep: scores from it on keep the small answer.
        drop: scores below it drop the row.
        explore: ask the large model of every row, so that `curate frontier` can tell what other bands would give; the
            band still decides what is taken.
    """

    model: str
    check: Check
    keep: float = Field(ge=0, le=1)
    drop: float = Field(0.0, ge=0, le=1)
    explore: bool = False

    @model_validator(mode="after")
    def _band(self) -> Cascade:
        if self.drop > self.keep:
            raise ValueError(f"drop ({self.drop}) is above keep ({self.keep}); the band between them is escalated")
        return self


def answerer(ask: Generate, endpoints: Endpoints, name: str, cascade: Cascade | None) -> Answerer:
    """Who answers the prompts of a step: the endpoint `name`, or a cascade that ends with it."""
    large = OneModel(ask, name, endpoints.by_name[name])
    if cascade is None:
        return large
    return Cascaded(ask, endpoints, cascade, large)


@dataclass(frozen=True)
class Cascaded:
    """Answers as a cascade does; its parts are there to be asked one by one."""

    ask: Generate
    endpoints: Endpoints
    cascade: Cascade
    large: OneModel

    async def __call__(self, question: Question) -> Answered:
        """See `Answerer`."""
        small: Answered | None = None
        score = 0.0
        with contextlib.suppress(Rejected):
            small = await self.small(question)
            score = await self.score(question, small)
        tried = await _outcome(self.large(question)) if self.cascade.explore else None
        if small is not None and score >= self.cascade.keep:
            return replace(small, score=score)
        if small is not None and score < self.cascade.drop:
            raise Rejected("hopeless", f"the check gives the small model's answer {score:.3f}")
        large = await _outcome(self.large(question)) if tried is None else tried
        if not isinstance(large, Answered):
            raise large
        return large if small is None else replace(large, score=score)

    async def small(self, question: Question) -> Answered:
        """The small model's answer.

        Raises:
            Rejected: it cannot be read.
        """
        name = self.cascade.model
        asked = question if self.cascade.check.logprob is None else _with_logprobs(question)
        return await OneModel(self.ask, name, self.endpoints.by_name[name])(asked)

    async def score(self, question: Question, small: Answered) -> float:
        """What the check gives the small model's answer, from 0 to 1."""
        check = self.cascade.check
        if check.self_verify is not None:
            return await self._self_verify(question, small, check.self_verify)
        if check.agreement is not None:
            return await self._agreement(question, small, check.agreement)
        return confidence(small.completion)

    async def _self_verify(self, question: Question, small: Answered, how: SelfVerify) -> float:
        text = (
            f"{question.prompt}\n\nProposed answer:\n{small.completion.text}\n\n"
            "Is the proposed answer right and complete? Say yes or no."
        )
        body: dict[str, Plain] = {"messages": [{"role": "user", "content": text}], "temperature": how.temperature}
        asked = replace(question, kind=CHAT, body=body, most=4, schema=None)
        said = await self._draws(asked, how.samples)
        return sum(each.text.strip().lower().startswith(_YES) for each in said) / how.samples

    async def _agreement(self, question: Question, small: Answered, how: Agreement) -> float:
        said = await self._draws(question, how.samples)
        own = normalised(small.completion.text)
        return sum(normalised(each.text) == own for each in said) / how.samples

    async def _draws(self, question: Question, count: int) -> list[Completion]:
        endpoint = self.endpoints.by_name[self.cascade.model]
        numbers = [question.sample + _CHECKS * (1 + i) for i in range(count)]
        asked = [question.request(self.cascade.model, endpoint, sample=number) for number in numbers]
        return list(await asyncio.gather(*map(self.ask, asked)))


async def _outcome(asked: Awaitable[Answered]) -> Answered | Rejected | GivenUp:
    """The answer, or why there is none: that of a model whose answer may not be needed."""
    try:
        return await asked
    except (Rejected, GivenUp) as error:
        return error


def confidence(completion: Completion) -> float:
    """The mean probability of an answer's tokens; 0 where the endpoint tells none."""
    if not completion.logprobs:
        return 0.0
    return math.exp(math.fsum(each.logprob for each in completion.logprobs) / len(completion.logprobs))


def _with_logprobs(question: Question) -> Question:
    asked_for: dict[str, Plain] = {"logprobs": True, "top_logprobs": 0} if question.kind == CHAT else {"logprobs": 0}
    return replace(question, body={**asked_for, **question.body})


def normalised(text: str) -> str:
    """An answer as it is compared: its words, in small letters, without the marks around them."""
    return " ".join(text.lower().split()).strip(" .!")
