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
from curate.report.charts import histogram_svg
from curate.report.columns import (
    Column,
    Histogram,
    Label,
    histogram,
    label_columns,
    labels,
    numeric_columns,
    read_column,
)
from curate.report.examples import Edge, Near, Samples, examples, near_thresholds
from curate.report.story import Stage, Story, problems
from curate.report.verdicts import KEPT, Codes, Verdicts
from curate.report.words import SIGNS, number, plain, says, short, threshold_of


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
        rules = judge.manifest.rules if judge is not None else []
        near: list[Near] = []
        for dataset in _scored(story, outputs):
            made = set(_of_inputs(dataset, outputs))
            codes = verdicts.beside(dataset) if verdicts else _all_kept(dataset)
            for column_name, integers in numeric_columns(dataset, ["id", *made]):
                about = [rule for rule in rules if rule["column"] == column_name]
                column = read_column(dataset, column_name, codes, integers=integers)
                card = _card(column, about)
                if card is not None:
                    cards.append(card)
                    if verdicts is not None:
                        near += near_thresholds(column, about, verdicts)
            for label_name in label_columns(dataset, ["id", "text", "source", *made]):
                found = labels(dataset, label_name, codes)
                most = max((each.kept + each.dropped for each in found), default=1)
                lists.append(Labels(dataset.manifest.step, label_name, found, most))
        if verdicts is not None and story.documents is not None:
            known = {each.manifest.digest: each for each in (*outputs.values(), *story.chain)}
            edges, samples = examples(story.documents, verdicts, near, known)
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters.update(count=lambda n: f"{n:,}", number=number, percent=_percent, plain=plain)
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
        rules=[{**rule, "says": says(rule)} for rule in rules],
        problems=problems(list(outputs.values())),
        models=[(n, d.manifest) for n, d in outputs.items() if d.manifest.kind == "train"],
        steps=[(n, d.manifest) for n, d in outputs.items()],
        release=story.result.manifest if story and story.result.manifest.kind == "release" else None,
    )


def _scored(story: Story, outputs: Mapping[str, Dataset]) -> list[Dataset]:
    """The score columns that belong to the documents of the story: those of a training set do not."""
    parts = {each.manifest.digest for each in story.chain}
    return [d for d in outputs.values() if d.manifest.kind in ("score", "clean") and d.manifest.digest in parts]


def _of_inputs(dataset: Dataset, outputs: Mapping[str, Dataset]) -> Iterator[str]:
    """The columns that a step got and passed on: a cleaner adds its counts to the documents' own."""
    given = set(dataset.manifest.inputs.values())
    for each in outputs.values():
        if each.manifest.digest in given and each.shards:
            yield from each.schema().names


def _all_kept(dataset: Dataset) -> dict[str, Codes]:
    return {shard.name: np.full(shard.rows, KEPT, np.uint16) for shard in dataset.shards}


def _card(column: Column, rules: Sequence[Mapping[str, Plain]]) -> Card | None:
    lines = [(value, str(rule["comparison"])) for rule in rules if (value := threshold_of(rule)) is not None]
    figure = histogram(column, [value for value, _ in lines])
    if figure is None:
        return None
    svg = histogram_svg(figure, [(value, f"{SIGNS[sign]} {number(value)}") for value, sign in lines])
    said = tuple(f"{short(rule)}: {rule['first']:,} dropped" for rule in rules)
    return Card(column.dataset.manifest.step, column.name, figure, svg, said, column.step)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"


def _sentence(story: Story, stages: Sequence[Stage]) -> str:
    """The run in a sentence."""
    records, kept = story.funnel.records, story.funnel.kept
    lost = {kind: [stage for stage in stages if stage.kind == kind] for kind in ("quarantined", "duplicate", "dropped")}
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
