"""What every `synthesize` step made of what: the figures of the report's synthesis section.

    found = synthesis(outputs)
    found[0].outcomes.accepted, found[0].families[0].made[0].text

Of the synthetic rows only ids, lengths and labels are read, and the text of the few that are shown. Which ones these
are follows from their ids, which are hashes: the smallest ones are a sample of all.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from curate.core import files
from curate.core.chat.messages import MESSAGES, ChatBatch, content_of
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.shards import read_shard
from curate.report.card import mapping
from curate.report.charts import beside_svg
from curate.report.columns import Column, Histogram, histogram
from curate.report.coverage import LABEL, Covered, coverage
from curate.report.labels import Labels, label_columns, labels
from curate.report.picks import Floats
from curate.report.samples import Row, by_id, snippet
from curate.report.summary import Outcomes
from curate.report.verdicts import KEPT, Codes
from curate.report.words import number

_OUTCOMES = "fates"
FAMILIES, EACH = 3, 2  # parents that are shown, and rows made of each
_PARENTS = 3  # of a synthetic row
_REASONS = 8  # of which examples are shown
_IN = 0  # the code of a row that went in, beside KEPT of one that was made


@dataclass(frozen=True)
class Line:
    """One line of the bar of outcomes: `rows` left here, `left` are still in after it."""

    kind: str
    label: str
    rows: int
    left: int


@dataclass(frozen=True)
class Family:
    """Rows that were made of the same row, beside it and what else was shown to the model."""

    parents: tuple[Row, ...]
    more: int
    made: tuple[Row, ...]


@dataclass(frozen=True)
class Lost:
    """What was not taken, for one reason: made texts, or of rejected and failed rows the message."""

    what: str
    reason: str
    count: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Lengths:
    """Words of the synthetic rows beside those of the rows that went in; their medians."""

    svg: Markup
    figure: Histogram
    made: float
    given: float


@dataclass(frozen=True)
class Synthesized:
    """One synthesize step for the page.

    Attributes:
        model: the endpoints that answer, and their models.
        lines: the outcomes, so that they add up.
        labels, answered: rows by label, and by model where several answer; None without.
    """

    name: str
    recipe: str
    model: str
    outcomes: Outcomes
    lines: tuple[Line, ...]
    facts: tuple[tuple[str, str], ...]
    labels: Labels | None
    answered: Labels | None
    coverage: tuple[Covered, ...]
    lengths: Lengths | None
    families: tuple[Family, ...]
    lost: tuple[Lost, ...]


def synthesis(outputs: Mapping[str, Dataset]) -> list[Synthesized]:
    """The synthesize steps of a run in its order.

    Raises:
        CurateError: a dataset is damaged, or one that another was made from is gone.
    """
    return [_synthesized(name, each) for name, each in outputs.items() if each.manifest.kind == "synthesize"]


def _synthesized(name: str, made: Dataset) -> Synthesized:
    known = {each.manifest.digest: each for each in made.ancestors()}
    inputs = {role: known[digest] for role, digest in sorted(made.manifest.inputs.items())}
    outcomes, details = Outcomes.of(made.manifest), _read_details(made)
    kept: dict[str, Codes] = {shard.name: np.full(shard.rows, KEPT, np.uint16) for shard in made.shards}
    text = label_columns(made, ())
    found = labels(made, LABEL, kept) if LABEL in text else None
    cascade = mapping(made.manifest.config, "cascade")
    return Synthesized(
        name,
        str(mapping(made.manifest.config, "recipe").get("name")),
        _models(made.manifest.config),
        outcomes,
        tuple(_lines(outcomes)),
        tuple(_facts(outcomes, details)),
        found,
        labels(made, "model", kept) if cascade and "model" in text else None,
        tuple(coverage(made, [each.value for each in found.values] if found else [])),
        _lengths(made, inputs.get("from[0]")),
        tuple(_families(made, list(inputs.values()))),
        tuple(_lost(outcomes, details)),
    )


def _models(config: Mapping[str, Plain]) -> str:
    endpoints = mapping(config, "endpoints")
    return ", ".join(f"{name} ({mapping(endpoints, name).get('model')})" for name in endpoints)


def _lines(outcomes: Outcomes) -> Iterator[Line]:
    left = outcomes.rows
    lost = [
        ("unselected", "left out before", outcomes.absent),
        ("quarantined", "in shards that were given up", outcomes.lost),
    ]
    lost += [("dropped", f"rejected: {reason}", rows) for reason, rows in outcomes.rejected.items()]
    lost += [("quarantined", f"failed: {error}", rows) for error, rows in outcomes.failed.items()]
    for kind, label, rows in lost:
        if rows:
            left -= rows
            yield Line(kind, label, rows, left)


@dataclass(frozen=True)
class _Details:
    """What `fates/` says: synthetic rows by how many input rows have so many, and examples of what was not taken."""

    per_row: Counter[int]
    examples: Mapping[tuple[str, str], Sequence[tuple[str, str]]]


def _read_details(made: Dataset) -> _Details:
    per_row: Counter[int] = Counter()
    examples: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for shard in made.shards:
        for batch in read_shard(files.join(made.folder, _OUTCOMES, shard.name)):
            for row in batch.to_pylist():
                if row["fate"] == "accepted":
                    per_row[row["rows"]] += 1
                    said = [("filtered", each["reason"], each["text"]) for each in row["dropped"]]
                else:
                    said = [(row["fate"], row["reason"] or "", row["message"])]
                for what, reason, text in said:
                    some = examples.setdefault((what, reason), [])
                    bisect.insort(some, (row["id"], text or ""))
                    del some[EACH:]
    return _Details(per_row, examples)


def _facts(outcomes: Outcomes, details: _Details) -> Iterator[tuple[str, str]]:
    yield "rows made", number(outcomes.made)
    # A pool admits some of the rows alone: what each prompt gave to it is not known.
    if details.per_row and sum(rows * times for rows, times in details.per_row.items()) == outcomes.made:
        counts = sorted(details.per_row)
        each = number(counts[0]) if len(counts) == 1 else f"{number(counts[0])} to {number(counts[-1])}"
        yield f"made of one {outcomes.what.removesuffix('s')}", each
    yield "answers", number(outcomes.answers)
    yield "tokens in", number(outcomes.prompt_tokens)
    yield "tokens out", number(outcomes.answer_tokens)
    if outcomes.made:
        yield "tokens out a made row", number(round(outcomes.answer_tokens / outcomes.made, 1))


def _lost(outcomes: Outcomes, details: _Details) -> Iterator[Lost]:
    """Examples of what was not taken, for the commonest reasons."""
    groups = (("filtered", outcomes.filtered), ("rejected", outcomes.rejected), ("failed", outcomes.failed))
    every = [(what, reason, count) for what, counts in groups for reason, count in counts.items()]
    for what, reason, count in sorted(every, key=lambda each: -each[2])[:_REASONS]:
        some = details.examples.get((what, reason), ())
        rows = [Row(key, "", *snippet(text.encode("utf-8", "replace"))) for key, text in some]
        if rows:
            yield Lost(what, reason, count, tuple(rows))


def _families(made: Dataset, inputs: Sequence[Dataset]) -> Iterator[Family]:
    """The rows with the smallest first parents, beside them."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for shard in made.shards:
        for batch in made.read(shard, ["id", "parents"]):
            for key, parents in zip(batch.column("id").to_pylist(), batch.column("parents").to_pylist(), strict=True):
                first = parents[0] if parents else ""
                if first not in found and len(found) == FAMILIES:
                    if first > max(found):
                        continue
                    del found[max(found)]
                bisect.insort(found.setdefault(first, []), (key, parents or []))
                del found[first][EACH:]
    texts = by_id(made, [key for some in found.values() for key, _ in some])
    # Of the rows of a family the parents of the first are shown: all have the same, but for examples and passages.
    wanted = {first: some[0][1] for first, some in found.items()}
    shown: dict[str, Row] = {}
    for each in [made, *reversed(inputs)]:
        if {"text", "messages"}.intersection(each.schema().names if each.shards else ()):
            shown.update(by_id(each, [key for keys in wanted.values() for key in keys[:_PARENTS]]))
    for first in sorted(found):
        parents = tuple(shown[key] for key in wanted[first][:_PARENTS] if key in shown)
        yield Family(parents, len(wanted[first]) - len(parents), tuple(texts[key] for key, _ in found[first]))


def _lengths(made: Dataset, given: Dataset | None) -> Lengths | None:
    """None where the rows were made without seed rows, or of rows that have no text, or where there are none."""
    if given is None or not given.rows or not made.rows:
        return None
    if not {"text", "messages"}.intersection(given.schema().names):
        return None
    before, after = _words(given), _words(made)
    values = np.concatenate([before, after])
    codes = np.concatenate([np.full(len(before), _IN, np.uint16), np.full(len(after), KEPT, np.uint16)])
    # The tails are cut off both, not off the larger one alone.
    ends = [float(end) for each in (before, after) for end in np.quantile(each, [0.01, 0.99])]
    figure = histogram(Column(made, "words", values, codes, np.zeros(1, np.int64), 1, integers=True), ends)
    if figure is None or figure.least == figure.most:
        return None
    return Lengths(beside_svg(figure), figure, float(np.median(after)), float(np.median(before)))


def _words(dataset: Dataset) -> Floats:
    """The words of every row, as white space parts them; of a conversation in all its turns."""
    name = content_of(dataset.schema().names)
    found = [np.empty(0)]
    for shard in dataset.shards:
        for batch in dataset.read(shard, [name]):
            texts = batch.column(name)
            if name == "messages":
                texts = pa.array(ChatBatch(texts.cast(MESSAGES)).parts("text"), pa.large_string())
            counts = pc.fill_null(pc.count_substring_regex(texts, r"\S+"), 0)
            found.append(counts.to_numpy(zero_copy_only=False).astype(np.float64))
    return np.concatenate(found)
