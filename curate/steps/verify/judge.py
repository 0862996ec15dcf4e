"""The `judge` step: a large model rates rows by a rubric, or says which of two answers is better.

    rated: {judge: {from: made, model: large, rubric: "Is the answer right and complete?", least: 1, most: 5}}
    duels: {judge: {from: rows, model: large, rubric: "Which answer helps more?", pair: [small, large]}}

Feedback first, then an integer: a judge that explains itself before it rates agrees more with people (Prometheus, Kim
et al. 2023). What cannot be read is null, never a number. Pairs are shown in both orders, as judges prefer a place
(Zheng et al. 2023); only where both orders agree there is a winner.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pydantic import Field, model_validator

from curate.core import files
from curate.core.dataset import Dataset, align
from curate.core.digest import Plain, digest_of
from curate.core.map_shard import ShardTask, shard_tasks
from curate.core.shards import ShardWriter
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.generate.access import Access, ledger_name
from curate.generate.ask import Generate, GivenUp, Skipped
from curate.generate.endpoints import Endpoint
from curate.generate.flow import SKIPPED, chunks, in_order, stop_at_skipped, window_of
from curate.generate.request import CHAT, Request
from curate.steps.verify.batch import VerifyBatch

VERSION = 1
_AT_ONCE = 500
_SCORE = re.compile(r"score\W{0,4}\s*(-?\d+)\s*(?:/\s*\d+)?\W*$", re.I)
_WINNER = re.compile(r"(?:better|winner|verdict|answer)\W{0,4}\s*\(?(a|b|tie|equal)\)?\W*$", re.I)
RATED = pa.schema(
    [("id", pa.string()), ("score", pa.int32()), ("feedback", pa.large_string()), ("reason", pa.string())]
)
PAIRED = pa.schema(
    [
        ("id", pa.string()),
        ("winner", pa.string()),
        ("first", pa.string()),
        ("second", pa.string()),
        ("agree", pa.bool_()),
        ("reason", pa.string()),
    ]
)


class JudgeConfig(StepConfig):
    """Who judges what, by which rubric.

    Attributes:
        source: the rows, and attribute datasets, whose columns may be read: rows with `keep = false` are not judged.
        model: the endpoint.
        rubric: what a good answer is.
        question, answer: columns; `question`, `answer` and `text` are also made of conversations.
        least, most: the scale.
        pair: two columns to compare, in place of `answer`.
        max_tokens: of feedback and score.
        temperature: of the judge.
    """

    source: str | list[str] = Field(alias="from")
    model: str
    rubric: str = Field(min_length=1)
    question: str | None = None
    answer: str = "text"
    least: int = 1
    most: int = 5
    pair: list[str] | None = Field(None, min_length=2, max_length=2)
    max_tokens: int = Field(400, ge=8)
    temperature: float = Field(0.0, ge=0, le=2)

    @model_validator(mode="after")
    def _scale(self) -> JudgeConfig:
        if self.least >= self.most:
            raise ValueError(f"the scale from {self.least} to {self.most} has no two steps")
        return self

    def inputs(self) -> dict[str, str]:
        """The rows and their attributes."""
        names = [self.source] if isinstance(self.source, str) else self.source
        return {f"from[{i}]": name for i, name in enumerate(names)}

    def endpoints(self) -> dict[str, str]:
        """Who judges."""
        return {"model": self.model}

    def identity(self) -> dict[str, Plain]:
        """Everything but the names of the inputs."""
        dumped: dict[str, Plain] = self.model_dump(mode="json", exclude={"source"})
        return dumped


def ask(job: Job, config: JudgeConfig, access: Access) -> Result:
    """Judge every shard.

    Raises:
        RunError: the budget is used up, or the endpoint stopped the run.
    """
    inputs = digest_of({role: each.manifest.digest for role, each in job.inputs.items()})
    make = functools.partial(_Judge, config, access, list(job.inputs.values()), job.step.name, job.folder, inputs)
    receipts = job.map("", make, shard_tasks(next(iter(job.inputs.values()))))
    stop_at_skipped(job, "", receipts)
    return Result(receipts)


@dataclass(frozen=True)
class _Case:
    """A row to judge: its id, question, and one answer or two; `left` why it is not judged."""

    id: str
    question: str | None
    answers: tuple[str, ...]
    left: str | None


@dataclass(frozen=True)
class _Verdict:
    """The columns of one row; `skipped` where the budget left it out."""

    columns: dict[str, object]
    skipped: bool = False


class _Judge:
    def __init__(
        self,
        config: JudgeConfig,
        access: Access,
        datasets: Sequence[Dataset],
        step: str,
        folder: str,
        inputs: str,
    ) -> None:
        self._config, self._access, self._datasets = config, access, datasets
        self._step, self._folder, self._inputs = step, folder, inputs

    def __call__(self, task: ShardTask) -> Receipt:
        return asyncio.run(self._run(task))

    async def _run(self, task: ShardTask) -> Receipt:
        config, endpoints = self._config, self._access.endpoints
        columns = {i: [name for name in each.schema().names if name != "id"] for i, each in enumerate(self._datasets)}
        table, absent = align(self._datasets, task.name, columns)
        schema = PAIRED if config.pair else RATED
        counts: Counter[str] = Counter()
        async with self._access.session(ledger_name(self._step, self._inputs, task.name), [config.model]) as ask:
            work = functools.partial(_verdict, ask, config, endpoints.by_name[config.model])
            found = in_order(self._cases(table), work, window_of(endpoints, [config.model]))
            with ShardWriter(files.join(self._folder, task.name), schema) as out:
                async for some in chunks(found, _AT_ONCE):
                    out.write(pa.RecordBatch.from_pylist([each.columns for each in some], schema=schema))
                    for each in some:
                        reason = each.columns["reason"]
                        counts[SKIPPED if each.skipped else "judged" if reason is None else f"refused:{reason}"] += 1
        return Receipt(task.name, task.rows, (out.shard,), absent=absent, counts=dict(sorted(counts.items())))

    def _cases(self, table: pa.Table) -> Iterator[_Case]:
        for batch in table.to_batches(max_chunksize=_AT_ONCE):
            rows = VerifyBatch(batch, {})
            ids = batch.column("id").to_pylist()
            kept = batch.column("keep").to_pylist() if "keep" in batch.schema.names else [True] * len(ids)
            questions = [None] * len(ids) if self._config.question is None else rows.texts(self._config.question)
            answers = [rows.texts(name) for name in self._config.pair or [self._config.answer]]
            for i, key in enumerate(ids):
                said = tuple(each[i] or "" for each in answers)
                left = "not-kept" if not kept[i] else "empty" if not all(each.strip() for each in said) else None
                yield _Case(key, questions[i], said, left)


async def _verdict(ask: Generate, config: JudgeConfig, endpoint: Endpoint, case: _Case) -> _Verdict:
    blank: dict[str, object] = {"id": case.id, "reason": case.left}
    if case.left is not None:
        return _Verdict(blank)
    try:
        if config.pair is None:
            said = await ask(_request(config, endpoint, case, case.answers))
            score = read_score(said.text, config.least, config.most)
            feedback = said.text.strip()
            return _Verdict({**blank, "score": score, "feedback": feedback, "reason": _unread(score)})
        a, b = case.answers
        both = await asyncio.gather(
            ask(_request(config, endpoint, case, (a, b))), ask(_request(config, endpoint, case, (b, a)))
        )
        first, second = read_winner(both[0].text), _turned(read_winner(both[1].text))
        agree = None if first is None or second is None else first == second
        winner = first if agree else "tie" if agree is False else None
        judged = {"winner": winner, "first": first, "second": second, "agree": agree, "reason": _unread(winner)}
        return _Verdict({**blank, **judged})
    except Skipped:
        return _Verdict({**blank, "reason": "budget"}, skipped=True)
    except GivenUp as error:
        return _Verdict({**blank, "reason": error.why.error})


def _unread(value: object) -> str | None:
    return "unreadable" if value is None else None


def _request(config: JudgeConfig, endpoint: Endpoint, case: _Case, answers: Sequence[str]) -> Request:
    parts = [] if case.question is None else [f"### Question\n{case.question}"]
    names = ["Answer"] if len(answers) == 1 else ["Answer A", "Answer B"]
    parts += [f"### {name}\n{text}" for name, text in zip(names, answers, strict=True)]
    parts.append(f"### Rubric\n{config.rubric}")
    if len(answers) == 1:
        ask = f"a line `Score: N`, where N is a whole number from {config.least} (worst) to {config.most} (best)"
    else:
        ask = "a line `Better: A`, `Better: B` or `Better: tie`"
    parts.append(f"Judge by the rubric alone. Give your reasons in a few sentences. Then end with {ask}.")
    body: dict[str, Plain] = {
        "messages": [{"role": "user", "content": "\n\n".join(parts)}],
        "temperature": config.temperature,
        endpoint.limit: config.max_tokens,
        **endpoint.extra,
    }
    return Request(config.model, endpoint.model, endpoint.revision, CHAT, body, 0, config.max_tokens)


def read_score(text: str, least: int, most: int) -> int | None:
    r"""The integer after the feedback; None where there is none on the scale.

    >>> read_score("Clear and right.\nScore: 4", 1, 5), read_score("A 4, maybe a 5.", 1, 5)
    (4, None)
    """
    found = _SCORE.search(text.strip())
    score = int(found[1]) if found else None
    return score if score is not None and least <= score <= most else None


def read_winner(text: str) -> str | None:
    """`a`, `b` or `tie`; None where the judge does not say."""
    found = _WINNER.search(text.strip())
    if found is None:
        return None
    word = found[1].lower()
    return "tie" if word == "equal" else word


def _turned(winner: str | None) -> str | None:
    """The winner as seen from the other order."""
    return {"a": "b", "b": "a"}.get(winner, winner) if winner is not None else None
