"""The report of a run: one HTML page without scripts or anything from the network.

    html = build_report("pretrain", {"docs": docs, "scores": scores, "kept": kept, "out": out})

Documents are hostile input: everything goes through the template's escaping, and the page forbids scripts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from curate.dataset import Dataset
from curate.digest import Plain
from curate.report.charts import histogram_svg, number
from curate.report.columns import (
    Column,
    Histogram,
    Label,
    Place,
    histogram,
    label_columns,
    labels,
    nearest,
    numeric_columns,
    read_column,
)
from curate.report.samples import Row, fetch
from curate.report.story import Stage, Story, problems
from curate.report.verdicts import ABSENT, KEPT, Codes, Verdicts, rules_of

NEAR = 3  # documents on each side of a threshold
EACH = 2  # samples of each rule

_SIGNS = {"at_least": "≥", "at_most": "≤", "above": ">", "below": "<", "top": "≥", "bottom": "≤"}
_WORDS = {"equals": "is", "one_of": "is one of", "top": "highest, down to", "bottom": "lowest, up to"}


@dataclass(frozen=True)
class Card:
    """One score column."""

    step: str
    column: str
    figure: Histogram
    svg: Markup
    rules: tuple[str, ...]
    every: int


@dataclass(frozen=True)
class Labels:
    """One column of text or flags."""

    step: str
    column: str
    values: Sequence[Label]
    most: int


@dataclass(frozen=True)
class Shown:
    """A document with its score and what became of it."""

    row: Row
    value: str
    verdict: str


@dataclass(frozen=True)
class Edge:
    """The documents on both sides of a threshold."""

    rule: str
    says: str
    failed: tuple[Shown, ...]
    passed: tuple[Shown, ...]


@dataclass(frozen=True)
class Samples:
    """Documents that a rule dropped."""

    rule: str
    first: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class _Near:
    rule: dict[str, Plain]
    failed: tuple[tuple[Place, float, int], ...]
    passed: tuple[tuple[Place, float, int], ...]


def build_report(name: str, outputs: Mapping[str, Dataset]) -> str:
    """The page of a run.

    Args:
        name: of the run.
        outputs: the finished steps by name, in the order of the config.

    Raises:
        CurateError: a dataset is damaged, or one that another was made from is gone.
    """
    story = Story.of(outputs)
    cards: list[Card] = []
    lists: list[Labels] = []
    edges: list[Edge] = []
    samples: list[Samples] = []
    rules: list[dict[str, Plain]] = []
    if story is not None:
        judge = story.judge
        verdicts = Verdicts.of(judge) if judge is not None else None
        rules = rules_of(judge) if judge is not None else []
        near: list[_Near] = []
        for dataset in _scored(story, outputs):
            made = set(_of_inputs(dataset, outputs))
            codes = verdicts.beside(dataset) if verdicts else _all_kept(dataset)
            for column_name, integers in numeric_columns(dataset, ["id", *made]):
                about = [rule for rule in rules if rule["column"] == column_name]
                column = read_column(dataset, column_name, codes, integers=integers)
                card = _card(column, about)
                if card is not None:
                    cards.append(card)
                    near += _near(column, about, verdicts)
            for label_name in label_columns(dataset, ["id", "text", "source", *made]):
                found = labels(dataset, label_name, codes)
                most = max((each.kept + each.dropped for each in found), default=1)
                lists.append(Labels(dataset.manifest.step, label_name, found, most))
        edges, samples = _examples(story, verdicts, near, outputs)
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters.update(count=lambda n: f"{n:,}", number=number, percent=_percent, plain=_plain)
    page.tests["mapping_of_values"] = lambda value: isinstance(value, dict)
    template = page.from_string((resources.files("curate.report") / "template.html").read_text("utf-8"))
    stages = story.stages() if story else []
    return template.render(
        name=name,
        sentence=_sentence(story, stages) if story else "Nothing but models was made.",
        funnel=story.funnel if story else None,
        stages=stages,
        cards=cards,
        lists=lists,
        edges=edges,
        samples=samples,
        rules=[{**rule, "says": _says(rule)} for rule in rules],
        problems=problems(list(outputs.values())),
        models=[(n, d.manifest) for n, d in outputs.items() if d.manifest.kind == "train"],
        steps=[(n, d.manifest) for n, d in outputs.items()],
        release=story.result.manifest if story and story.result.manifest.kind == "release" else None,
    )


def _scored(story: Story, outputs: Mapping[str, Dataset]) -> list[Dataset]:
    """The score columns that belong to the documents of the story: those of a training set do not."""
    parts = {each.manifest.digest for each in story.chain}
    return [
        d for d in outputs.values() if d.manifest.kind in ("score", "clean") and d.manifest.digest in parts
    ]


def _of_inputs(dataset: Dataset, outputs: Mapping[str, Dataset]) -> Iterator[str]:
    """The columns that a step got and passed on: a cleaner adds its counts to the documents' own."""
    given = set(dataset.manifest.inputs.values())
    for each in outputs.values():
        if each.manifest.digest in given and each.shards:
            yield from each.schema().names


def _all_kept(dataset: Dataset) -> dict[str, Codes]:
    return {shard.name: np.full(shard.rows, KEPT, np.uint16) for shard in dataset.shards}


def _threshold(rule: Mapping[str, Plain]) -> float | None:
    """The number a rule compares with, when it is one."""
    value = rule["value"]
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if numeric and rule["comparison"] in _SIGNS else None  # type: ignore[arg-type]  # checked


def _card(column: Column, rules: Sequence[Mapping[str, Plain]]) -> Card | None:
    lines = [(value, str(rule["comparison"])) for rule in rules if (value := _threshold(rule)) is not None]
    figure = histogram(column, [value for value, _ in lines])
    if figure is None:
        return None
    svg = histogram_svg(figure, [(value, f"{_SIGNS[sign]} {number(value)}") for value, sign in lines])
    said = tuple(f"{_says(rule)} — {rule['first']:,} dropped" for rule in rules)
    return Card(column.dataset.manifest.step, column.name, figure, svg, said, column.step)


def _near(column: Column, rules: Sequence[dict[str, Plain]], verdicts: Verdicts | None) -> Iterator[_Near]:
    for rule in rules:
        threshold = _threshold(rule)
        if threshold is None or verdicts is None:
            continue
        sides = nearest(column, verdicts.reasons.index(str(rule["name"])), threshold, NEAR)
        failed, passed = (
            tuple((column.place(i), float(column.values[i]), int(column.codes[i])) for i in side)
            for side in sides
        )
        if failed or passed:
            yield _Near(rule, failed, passed)


def _examples(
    story: Story, verdicts: Verdicts | None, near: Sequence[_Near], outputs: Mapping[str, Dataset]
) -> tuple[list[Edge], list[Samples]]:
    """Documents around every threshold and of every rule; their text is read in one go."""
    if verdicts is None or story.documents is None:
        return [], []
    dropped = {i: _spread(verdicts, i) for i in range(len(verdicts.reasons))}
    places = [place for each in near for side in (each.failed, each.passed) for place, _, _ in side]
    places += [place for some in dropped.values() for place in some]
    known = {each.manifest.digest: each for each in (*outputs.values(), *story.chain)}
    rows = fetch(story.documents, known, places)

    def show(side: Sequence[tuple[Place, float, int]]) -> tuple[Shown, ...]:
        return tuple(Shown(rows[p], number(v), _verdict(verdicts, code)) for p, v, code in side if p in rows)

    order = {name: i for i, name in enumerate(verdicts.reasons)}
    ranked = sorted(near, key=lambda each: order[str(each.rule["name"])])
    edges = [
        Edge(str(each.rule["name"]), _says(each.rule), show(each.failed), show(each.passed))
        for each in ranked
    ]
    first = [
        int(sum((codes == i).sum() for codes in verdicts.codes.values()))
        for i in range(len(verdicts.reasons))
    ]
    samples = [
        Samples(name, first[i], tuple(rows[place] for place in dropped[i] if place in rows))
        for i, name in enumerate(verdicts.reasons)
        if dropped[i]
    ]
    return edges, samples


def _verdict(verdicts: Verdicts, code: int) -> str:
    return (
        "kept" if code == KEPT else "not judged" if code == ABSENT else f"dropped: {verdicts.reasons[code]}"
    )


def _spread(verdicts: Verdicts, code: int) -> list[Place]:
    """A few rows with a code, spread over the whole: the first ones tend to be from one source."""
    counts = [(shard, np.flatnonzero(codes == code)) for shard, codes in verdicts.codes.items()]
    total = sum(len(found) for _, found in counts)
    wanted = sorted(
        {total * (2 * i + 1) // (2 * EACH) for i in range(EACH)} if total > EACH else range(total)
    )
    places = []
    start = 0
    for shard, found in counts:
        places += [
            Place(verdicts.judge.manifest.digest, shard, int(found[i - start]))
            for i in wanted
            if 0 <= i - start < len(found)
        ]
        start += len(found)
    return places


def _says(rule: Mapping[str, Plain]) -> str:
    """A rule in words: what a kept row satisfies."""
    if rule["column"] == "keep":
        return "kept by an earlier step"
    comparison, value = str(rule["comparison"]), rule["value"]
    sign = _WORDS.get(comparison) or _SIGNS.get(comparison, comparison)
    return f"{rule['column']} {sign} {_plain(value)}"


def _plain(value: Plain) -> str:
    """A value of a manifest for a reader."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    return "none" if value is None else str(value)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"


def _sentence(story: Story, stages: Sequence[Stage]) -> str:
    """The run in a sentence."""
    records, kept = story.funnel.records, story.funnel.kept
    lost = {
        kind: [stage for stage in stages if stage.kind == kind]
        for kind in ("quarantined", "duplicate", "dropped")
    }
    rows = {kind: sum(stage.rows for stage in some) for kind, some in lost.items()}
    parts = []
    if rows["duplicate"]:
        parts.append(f"{rows['duplicate']:,} were duplicates")
    if rows["dropped"]:
        rules = len(lost["dropped"])
        parts.append(f"{rows['dropped']:,} were dropped by {rules} rule{'s' * (rules > 1)}")
    if rows["quarantined"]:
        parts.append(f"{rows['quarantined']:,} could not be processed")
    text = f"Of {records:,} records, {kept:,} ({_percent(kept, records)}) were kept"
    if not parts:
        return text + "."
    rest = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{text}; {rest}."
