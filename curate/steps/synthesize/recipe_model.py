"""What a recipe is made of: stages, the rows that are made of their answers, and the filters of those.

    Stage.model_validate({"name": "write", "prompt": "Reword: {{ text }}"}).answer.is_text        # True

Every key of a recipe's YAML is a field here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curate.core.config import Model
from curate.core.digest import Plain
from curate.steps.synthesize.answers import Answer


class Sampling(Model):
    """How answers are drawn; what is not set is left to the endpoint.

    Attributes:
        logprobs: how many top logprobs are kept at each place.
    """

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)
    stop: list[str] | None = None
    logprobs: int | None = Field(None, ge=0, le=20)


class Message(Model):
    """A turn as templates."""

    role: str
    content: str


class Stage(Model):
    """One prompt, and what is done with its answer.

    Attributes:
        name: by which later templates call the answer.
        when: an expression; where it is false the stage is left out, and its answer is null.
        each: an expression whose value is a list: the prompt is asked for each `item` of it, and the stage's value is a
            list of `{item, answer}`.
        system, prompt: the system's and the user's turn; or
        messages: all turns; or
        turns: the name of a column of turns, which are asked up to their last question, after `system`.
        raw: a bare prompt of a completions endpoint, in place of turns.
        answer: its form.
        whole: whether an answer that the limit of tokens cut off is rejected.
        tries: how often an answer that cannot be read is asked for again.
        sampling: see `Sampling`.
    """

    name: str
    when: str | None = None
    each: str | None = None
    system: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    turns: str | None = None
    raw: str | None = None
    answer: Answer = Answer.model_validate({"text": {}})
    whole: bool = True
    tries: int = Field(1, ge=1, le=10)
    sampling: Sampling = Sampling()

    @property
    def templates(self) -> dict[str, str]:
        """Every template of the stage, by its key."""
        found = {key: value for key in ("system", "prompt", "raw") if (value := getattr(self, key)) is not None}
        for i, message in enumerate(self.messages or ()):
            found[f"messages.{i}.content"] = message.content
        return found

    @property
    def expressions(self) -> dict[str, str]:
        """Every expression of the stage, by its key."""
        return {key: value for key in ("when", "each") if (value := getattr(self, key)) is not None}


class Rows(Model):
    """The rows that are made of an input row and the answers: one, or one for each item of a list.

    Attributes:
        each: an expression whose value is a list; templates call one of it `item`.
        when: an expression; where it is false no row is made.
        text: of a document; or
        messages: of a conversation, each turn a template; or
        turns: of one with any number of turns, an expression whose value is a list of `{role, content}`.
        columns: further columns, strings.
    """

    each: str | None = None
    when: str | None = None
    text: str | None = None
    messages: list[Message] | None = None
    turns: str | None = None
    columns: dict[str, str] = {}

    @property
    def templates(self) -> dict[str, str]:
        """Every template, by its key."""
        found = {f"columns.{name}": text for name, text in self.columns.items()}
        if self.text is not None:
            found["text"] = self.text
        for i, message in enumerate(self.messages or ()):
            found[f"messages.{i}.content"] = message.content
        return found

    @property
    def expressions(self) -> dict[str, str]:
        """Every expression, by its key."""
        return {key: value for key in ("when", "each", "turns") if (value := getattr(self, key)) is not None}


class Words(Model):
    """A row's words, between these numbers."""

    least: int = 0
    most: int | None = None


class Overlap(Model):
    """ROUGE-L F1 with a text of the input row, between these."""

    to: str = "text"
    least: float = 0.0
    most: float = 1.0


class Distinct(Model):
    """ROUGE-L F1 with every row that was made of the same input row before, at most."""

    most: float


class Quoted(Model):
    """A column of the synthetic row that must stand in a text of the input row, word for word."""

    column: str
    document: str = "text"


class OneOf(Model):
    """A column of the synthetic row that must be one of the values of an expression."""

    column: str
    values: str


class NotIn(Model):
    """Words, any case, with which a synthetic row may not begin, or which it may not hold."""

    begins: list[str] = []
    holds: list[str] = []


class Keep(Model):
    """Filters of synthetic rows: the first one that a row fails is the reason it is dropped.

    Attributes:
        words: how many.
        overlap: wording that is too near to the input's, or too far.
        distinct: from the other rows of the same input.
        quoted: grounded in the input.
        one_of: a label that there is.
        without: markers and phrases that there may not be.
        only: by the reason of those that are dropped, an expression that must be true; it also reads the synthetic
            row's columns, and what it says as `made`.
        prompt: whether rows that give the prompt back are kept.
        refusals: whether rows that decline are kept.
    """

    words: Words | None = None
    overlap: Overlap | None = None
    distinct: Distinct | None = None
    quoted: Quoted | None = None
    one_of: OneOf | None = None
    without: NotIn | None = None
    only: dict[str, str] = {}
    prompt: bool = False
    refusals: bool = False


class Evolve(Model):
    """Further rounds on the rows that were made: each goes through the recipe again as an input row.

    Attributes:
        count: rounds in all.
        columns: the input's columns in the next round, as templates over the synthetic row.
    """

    count: int = Field(ge=1, le=20)
    columns: dict[str, str]


class Pool(Model):
    """Rounds over one growing pool: prompts show seeds and what was made, and what is too like the pool stays out.

    Attributes:
        column: of the seeds, which is compared.
        seeds: how many of them a prompt shows.
        made: how many of those that were made in earlier rounds.
        rouge_l: F1 with every text of the pool, at most.
        round: prompts in a round.
    """

    column: str = "text"
    seeds: int = Field(6, ge=1)
    made: int = Field(2, ge=0)
    rouge_l: float = Field(0.7, gt=0, le=1)
    round: int = Field(32, ge=1)


class Recipe(Model):
    """See the module.

    Attributes:
        about: one line: from what to what.
        version: raised when another prompt would be sent.
        needs: the columns that its templates read.
        optional: columns that they read where there are some; null elsewhere.
        params: what a pipeline may set, with defaults; null must be set.
        rounds: see `Evolve`.
        pool: see `Pool`.
    """

    name: str
    about: str
    version: int = 1
    needs: list[str] = []
    optional: list[str] = []
    params: dict[str, Plain] = {}
    stages: list[Stage]
    rows: list[Rows]
    keep: Keep = Keep()
    rounds: Evolve | None = None
    pool: Pool | None = None
    kind: Literal["documents", "conversations"] = "documents"

    @property
    def logprobs(self) -> bool:
        """Whether a stage asks for log probabilities."""
        return any(stage.sampling.logprobs is not None for stage in self.stages)

    @property
    def columns(self) -> list[str]:
        """The further columns of synthetic rows, in order."""
        return list(dict.fromkeys(name for rows in self.rows for name in rows.columns))
