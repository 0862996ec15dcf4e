"""Rows that go into a recipe, the rows that come out of it, and what became of each.

    made_id(row, "paraphrase", "5f3a...", sample=0, place=0)         # 32 hex digits, the same on any machine

A synthetic row says where it comes from: the ids of its parents, the recipe, the model, the key of the request in the
ledger, and which sample it is. Of every input row `fates/` says what became of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import xxhash

from curate.core.chat.messages import MESSAGES, Turn
from curate.core.digest import canonical
from curate.generate.request import TokenLogprob

# accepted: rows were made. rejected: none was, for a reason. failed: an endpoint had no answer. skipped: no money.
State = Literal["accepted", "rejected", "failed", "skipped"]
OUTCOMES = "fates"

_TOP = pa.list_(pa.struct([("token", pa.string()), ("logprob", pa.float64())]))
LOGPROBS = pa.list_(pa.struct([("token", pa.string()), ("logprob", pa.float64()), ("top", _TOP)]))
OUTCOMES_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("fate", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("rows", pa.int32()),
        ("dropped", pa.list_(pa.struct([("reason", pa.string()), ("text", pa.large_string())]))),
    ]
)
# What every synthetic row has; its content stands between id and source, what a recipe adds at the end.
_LINEAGE = (
    ("source", pa.string()),
    ("parents", pa.list_(pa.string())),
    ("recipe", pa.string()),
    ("model", pa.string()),
    ("request", pa.string()),
    ("sample", pa.int32()),
    ("finish", pa.string()),
)
TAKEN = frozenset({"id", "text", "messages", "logprobs", "check", *(name for name, _ in _LINEAGE)})


@dataclass(frozen=True)
class InputRow:
    """A row that goes into a recipe.

    Attributes:
        id: of the row.
        source: where it comes from.
        columns: what templates may read.
        parents: ids of the rows whose content is shown: this one's, if it has any, then examples and passages.
        number: of rows without seed rows, which say the same: each is to be answered for itself.
    """

    id: str
    source: str
    columns: Mapping[str, object]
    parents: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True)
class SyntheticRow:
    """A row that was made, before it has an id.

    Attributes:
        text, messages: what it says; one of them.
        columns: what the recipe adds.
        model, request: who answered, and the key of that in the ledger.
        finish: why the model stopped.
        prompt: the turn that was answered.
        logprobs: of the answer's tokens, where they were asked for.
        check: what a cascade's check found of the answer; None without one.
        row: what it was made from.
    """

    text: str | None
    messages: tuple[Turn, ...] | None
    columns: Mapping[str, str]
    model: str
    request: str
    finish: str
    prompt: str
    logprobs: tuple[TokenLogprob, ...]
    check: float | None
    row: InputRow


@dataclass(frozen=True)
class Dropped:
    """A synthetic row that a filter dropped, or an answer of several that could not be read."""

    reason: str
    text: str


def content(made: SyntheticRow) -> str:
    """What a synthetic row says, as text: of turns, those after the first."""
    if made.text is not None:
        return made.text
    turns = made.messages or ()
    return "\n\n".join(turn.content for turn in (turns[1:] or turns))


@dataclass(frozen=True)
class RowOutcome:
    """What became of an input row: `state`, a reason to count, a message, and what was dropped of it."""

    row: InputRow
    state: State
    reason: str = ""
    message: str = ""
    made: tuple[tuple[int, SyntheticRow], ...] = ()
    dropped: tuple[Dropped, ...] = ()


def schema_of(kind: str, columns: Sequence[str], *, logprobs: bool, check: bool) -> pa.Schema:
    """The columns of synthetic rows.

    Args:
        kind: `documents` or `conversations`.
        columns: what the recipe adds.
        logprobs: whether tokens' log probabilities are kept.
        check: whether a cascade's check is.
    """
    first = ("text", pa.large_string()) if kind == "documents" else ("messages", MESSAGES)
    fields = [("id", pa.string()), first, *_LINEAGE, *((name, pa.large_string()) for name in columns)]
    fields += [("check", pa.float64())] if check else []
    fields += [("logprobs", LOGPROBS)] if logprobs else []
    return pa.schema(fields)


def synthetic_id(row: InputRow, recipe: str, request: str, *, sample: int, place: int) -> str:
    """The id of a synthetic row.

    Args:
        row: what it was made from.
        recipe: its name.
        request: the key of the answer that it stands in.
        sample: which draw.
        place: which of the rows of that draw.
    """
    return xxhash.xxh3_128_hexdigest(canonical([row.id, list(row.parents), recipe, request, sample, place]))


def to_rows(outcome: RowOutcome, recipe: str) -> list[dict[str, object]]:
    """The synthetic rows of an input row, as `schema_of` has them; what the schema lacks is left out by Arrow."""
    rows: list[dict[str, object]] = []
    places: Counter[int] = Counter()
    for sample, made in outcome.made:
        rows.append(
            {
                "id": synthetic_id(made.row, recipe, made.request, sample=sample, place=places[sample]),
                "text": made.text,
                "messages": None if made.messages is None else [turn._asdict() for turn in made.messages],
                "source": made.row.source,
                "parents": list(made.row.parents),
                "recipe": recipe,
                "model": made.model,
                "request": made.request,
                "sample": sample,
                "finish": made.finish,
                **made.columns,
                "check": made.check,
                "logprobs": [_token(each) for each in made.logprobs],
            }
        )
        places[sample] += 1
    return rows


def _token(each: TokenLogprob) -> Mapping[str, object]:
    top = [{"token": token, "logprob": logprob} for token, logprob in each.top]
    return {"token": each.token, "logprob": each.logprob, "top": top}


def outcome_row(outcome: RowOutcome) -> dict[str, object]:
    """The row of `fates/`."""
    return {
        "id": outcome.row.id,
        "fate": outcome.state,
        "reason": outcome.reason or None,
        "message": outcome.message or None,
        "rows": len(outcome.made),
        "dropped": [{"reason": each.reason, "text": each.text} for each in outcome.dropped],
    }
