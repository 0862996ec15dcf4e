"""The `answer` step: what a local model answers to the last question of each conversation.

    answers: {answer: {from: [pool, good], model: tuned, max_tokens: 64}}

The output is a dataset of conversations with the ids and shards of the first input: the turns up to the last question,
and the model's answer, the most likely token after token until it ends its turn. Rows that a dataset beside them does
not keep, and those that cannot be answered, have no `messages`, and a `reason`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from curate.core import files
from curate.core.chat.messages import ANSWERS, MESSAGES, ChatBatch, Conversation, Turn
from curate.core.config import RESOURCE
from curate.core.digest import Plain
from curate.core.errors import ConfigError, nearest
from curate.core.files import ModelFile
from curate.core.rows.kept import KeptShard, find_shards, kept_ids
from curate.core.shards import ShardWriter, read_shard
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.models.device import Device
from curate.models.lm.chat_encode import TEMPLATES, Refused
from curate.models.lm.chat_model import ChatModel, load_chat_model
from curate.models.lm.decode import ends_of, greedy
from curate.models.lm.folder import Tokens

VERSION = 1
# What is answered again after a kill, at most.
PIECE_ROWS = 256
NOT_KEPT, NO_QUESTION, TOO_LONG = "not-kept", "no-question", "prompt-too-long"

_READ = pa.schema([("id", pa.string()), ("messages", MESSAGES), ("source", pa.string())])
_SCHEMA = pa.schema(
    [
        *_READ,
        ("answered", pa.bool_()),
        ("reason", pa.string()),
        ("tokens", pa.int32()),
    ]
)


class AnswerConfig(StepConfig):
    """Which conversations are answered, by which model.

    Attributes:
        source: the conversations, and attribute datasets: rows with `keep = false` are skipped.
        model: a folder of a causal language model, or a step that trains one.
        max_tokens: of an answer.
        template: a name of a chat template; null for the tokenizer's own.
        context: how many tokens a prompt and its answer have together, at most; the model's by default, 2,048 at most.
        batch_tokens: about how many tokens are held at once; another number may round to another word.
        device: `auto` takes the GPU where there is one, which may too.
    """

    source: str | list[str] = Field(alias="from")
    model: ModelFile
    max_tokens: int = Field(256, ge=1)
    template: str | None = None
    context: int | None = Field(None, ge=2)
    batch_tokens: int = Field(8192, ge=1)
    device: Annotated[Device, RESOURCE] = "auto"

    @field_validator("template")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in TEMPLATES:
            raise ValueError(f"no chat template {name!r}; {nearest(name, TEMPLATES)}")
        return name

    def inputs(self) -> dict[str, str]:
        """The conversations and their attributes."""
        names = [self.source] if isinstance(self.source, str) else self.source
        return {f"from[{i}]": name for i, name in enumerate(names)}

    def models(self) -> dict[str, str]:
        """The model that answers."""
        return {"model": self.model}

    def identity(self) -> dict[str, Plain]:
        """Everything but the inputs, the model and the device."""
        dumped: dict[str, Plain] = self.model_dump(mode="json", exclude={"source", "model", "device"})
        return dumped


@dataclass(frozen=True)
class _Piece:
    """Some rows of a shard."""

    name: str
    rows: int
    shard: KeptShard
    start: int


@dataclass(frozen=True)
class _Join:
    """A shard and the pieces of it."""

    name: str
    rows: int
    pieces: tuple[str, ...]


def run(job: Job, config: AnswerConfig, *, piece_rows: int = PIECE_ROWS) -> Result:
    """Answer every piece, then put the pieces of each shard together.

    Raises:
        ConfigError: not one dataset of conversations and its attributes.
    """
    datasets = list(job.inputs.values())
    shards = find_shards(datasets)
    if len(shards) != len(datasets[0].shards):
        raise ConfigError(f"step {job.step.name}: answers one dataset of conversations; take a step for each")
    pieces: list[_Piece] = []
    joins: list[_Join] = []
    for shard in shards:
        stem = shard.name.removesuffix(".parquet")
        some = [
            _Piece(f"{stem}-{i:05d}", min(piece_rows, shard.rows - start), shard, start)
            for i, start in enumerate(range(0, max(1, shard.rows), piece_rows))
        ]
        pieces += some
        joins.append(_Join(shard.name, shard.rows, tuple(each.name for each in some)))
    job.map("pieces", functools.partial(_Answer, config, job.models["model"], job.scratch), pieces)
    return Result(job.map("", functools.partial(_JoinShard, job.folder, job.scratch), job.whole(joins)))


class _Answer:
    def __init__(self, config: AnswerConfig, model: str, scratch: str) -> None:
        self._chat = load_chat_model(model, template=config.template, context=config.context, device=config.device)
        self._config, self._scratch = config, scratch

    def __call__(self, task: _Piece) -> Receipt:
        parts = (pa.Table.from_batches([batch]).cast(_READ) for batch in read_shard(task.shard.path, _READ.names))
        rows = pa.concat_tables([_READ.empty_table(), *parts]).slice(task.start, task.rows).combine_chunks()
        kept = pc.is_in(rows.column("id"), value_set=kept_ids(task.shard)).to_pylist()
        batch = ChatBatch(rows.column("messages").combine_chunks())
        asked = [
            question(each) if keep else Refused(NOT_KEPT, "")
            for each, keep in zip(batch.conversations, kept, strict=True)
        ]
        found = answer(self._chat, asked, max_tokens=self._config.max_tokens, batch_tokens=self._config.batch_tokens)
        out = [
            {
                "id": key,
                "messages": None if isinstance(each, Refused) else [turn._asdict() for turn in each[0]],
                "source": source,
                "answered": not isinstance(each, Refused),
                "reason": each.reason if isinstance(each, Refused) else None,
                "tokens": None if isinstance(each, Refused) else each[1],
            }
            for key, source, each in zip(
                rows.column("id").to_pylist(), rows.column("source").to_pylist(), found, strict=True
            )
        ]
        with ShardWriter(files.join(self._scratch, f"{task.name}.parquet"), _SCHEMA) as writer:
            writer.write(pa.RecordBatch.from_pylist(out, schema=_SCHEMA))
        return Receipt(task.name, task.rows)


class _JoinShard:
    def __init__(self, folder: str, scratch: str) -> None:
        self._folder, self._scratch = folder, scratch

    def __call__(self, task: _Join) -> Receipt:
        counts: Counter[str] = Counter()
        with ShardWriter(files.join(self._folder, task.name), _SCHEMA) as writer:
            for piece in task.pieces:
                for batch in read_shard(files.join(self._scratch, f"{piece}.parquet")):
                    writer.write(batch)
                    counts.update(
                        "answered" if reason is None else f"refused:{reason}"
                        for reason in batch.column("reason").to_pylist()
                    )
        return Receipt(task.name, task.rows, (writer.shard,), counts=dict(sorted(counts.items())))


def question(conversation: Conversation) -> Conversation | Refused:
    """The turns up to the last question: those before the last answer, or all where the last turn has none."""
    answers = [i for i, turn in enumerate(conversation) if turn.role == ANSWERS]
    asked = conversation if not answers or conversation[-1].role != ANSWERS else conversation[: answers[-1]]
    if not asked or asked[-1].role == ANSWERS:
        return Refused(NO_QUESTION, "no turn to answer")
    return asked


def answer(
    chat: ChatModel, asked: Sequence[Conversation | Refused], *, max_tokens: int, batch_tokens: int
) -> list[tuple[Conversation, int] | Refused]:
    """Each conversation with the model's answer to its last turn, and how many tokens that has.

    An answer may be empty, where the model ends its turn at once.

    Args:
        chat: the model.
        asked: conversations that end with a question; a refusal is passed on.
        max_tokens: of an answer.
        batch_tokens: about how many tokens are held at once.
    """
    room = chat.encode.context - max_tokens
    prompts = [each if isinstance(each, Refused) else _prompt(chat, each, room) for each in asked]
    written = iter(
        greedy(
            chat.lm,
            [each for each in prompts if not isinstance(each, Refused)],
            ends=sorted({*chat.encode.special.tolist(), *ends_of(chat.lm)}),
            max_tokens=max_tokens,
            batch_tokens=batch_tokens,
        )
    )
    return [
        prompt if isinstance(prompt, Refused) else _answered(chat, cast(Conversation, turns), next(written))
        for prompt, turns in zip(prompts, asked, strict=True)
    ]


def _answered(chat: ChatModel, asked: Conversation, tokens: Tokens) -> tuple[Conversation, int]:
    text = cast(_Decoder, chat.encode.tokenizer).decode(tokens.tolist(), skip_special_tokens=True)
    # A template may write white space around what is said; it is no part of it.
    return (*asked, Turn(ANSWERS, text.strip())), len(tokens)


def _prompt(chat: ChatModel, asked: Conversation, room: int) -> Tokens | Refused:
    prompt = chat.encode.prompt(asked)
    if not isinstance(prompt, Refused) and len(prompt) > room:
        return Refused(TOO_LONG, f"a prompt of {len(prompt)} tokens leaves no room for an answer")
    return prompt


class _Decoder(Protocol):
    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str: ...
