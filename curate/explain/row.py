"""Why a row is where it is: its source, what every step found of it, and the verdict.

for line in explain_row(list(outputs.values()), "1f0c22aa", "runs/pretrain/config.yaml"):
print(line)

Beneath the score of a fastText model stand the words and n-grams that moved it most, beneath the verdict of a
selection the rows beside it (`curate.explain.selection`), beneath a synthetic row what made it
(`curate.explain.synthetic`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.core import config as configuration
from curate.core import files
from curate.core.chat.messages import MESSAGES, PARTS, ChatBatch
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.draw import sample_keys
from curate.core.errors import ConfigError, ModelError
from curate.core.shards import QUARANTINE
from curate.explain.selection import explain_pick
from curate.explain.synthetic import (
    KIND,
    SUMMARISED,
    RowOutcome,
    explain_outcome,
    explain_synthetic,
    find_outcomes,
    ledgers_of,
)
from curate.models.fasttext.explain import moved_by
from curate.steps.score.step import TEXT, ScoreConfig, parse

# What a selection says of a row beside its verdict.
_TOP = 10
_WIDTH = 60
_SAME = 1e-5


def explain_row(datasets: Sequence[Dataset], row: str, config: str | None = None) -> Iterator[str]:
    """Lines that tell the story of a row, by its id or the beginning of it.

    Args:
        datasets: the outputs of a run.
        row: the id.
        config: the run's resolved config, which names the models; without it nothing is said of scores' words.

    Raises:
        ConfigError: no row, or several, have such an id.
    """
    ids: set[str] = set()
    found = []
    outcomes: list[tuple[Dataset, RowOutcome]] = []
    for dataset in datasets:
        if dataset.manifest.kind in ("train", "release"):
            continue
        values = _find(dataset, row)
        if values is not None:
            ids.add(str(values["id"]))
            found.append((dataset, values))
        if dataset.manifest.kind == KIND:
            outcomes += [(dataset, outcome) for outcome in find_outcomes(dataset, row)]
    ids.update(outcome.id for _, outcome in outcomes)
    if not ids:
        raise ConfigError(f"no row has an id that begins with {row!r}; ids stand in the column `id` of every dataset")
    if len(ids) > 1:
        raise ConfigError(f"several rows begin with {row!r}: {', '.join(sorted(ids)[:3])}; give more of the id")
    yield f"row {ids.pop()}"
    scorers = _scorers(config)
    for dataset, values in found:
        head = f"{dataset.manifest.step} ({dataset.manifest.kind})"
        if "error" in values:
            yield f"{head}: quarantined: {values['error']}: {values['message']}"
            continue
        if "source" in values:
            yield f"{head}: from {values['source']}"
        elif "keep" not in values:
            yield head
        if "keep" in values:
            copy = f", a copy of {values['duplicate_of']}" if values.get("duplicate_of") else ""
            yield f"{head}: {'kept' if values['keep'] else 'dropped: ' + str(values['reason'])}{copy}"
            yield from _verdicts(dataset, found, str(values["reason"]))
            if dataset.manifest.kind == "select":
                yield from explain_pick(dataset, values, datasets)
            continue
        for name, value in values.items():
            if name == "messages" and isinstance(value, list) and "text" not in values:
                yield from (f"    {turn['role']:<36} {_line(turn['content'])}" for turn in value)
            elif name not in ("id", "source", *(SUMMARISED if dataset.manifest.kind == KIND else ())):
                yield f"    {name:<36} {_line(value)}"
                if dataset.manifest.step in scorers:
                    yield from _moved(scorers[dataset.manifest.step], name, values, found, datasets)
        if dataset.manifest.kind == KIND:
            yield from explain_synthetic(dataset, values, datasets, _ledgers(dataset, config))
    for dataset, outcome in outcomes:
        yield from explain_outcome(dataset, outcome)


def _ledgers(made: Dataset, config: str | None) -> list[str]:
    """The ledgers of a run, and those that its config names."""
    named = configuration.load(config).data.get("ledgers") if config else None
    paths = named if isinstance(named, list) else [] if named is None else [named]
    return ledgers_of(os.path.dirname(made.folder.rstrip("/")), [str(path) for path in paths])


def _line(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())[:160]


def _find(dataset: Dataset, row: str) -> dict[str, object] | None:
    for shard in dataset.shards:
        start = 0
        for batch in dataset.read(shard, ["id"]):
            hits = pc.indices_nonzero(pc.starts_with(batch.column("id"), row))
            if len(hits) > 1:
                ids = batch.column("id").take(hits).to_pylist()
                raise ConfigError(f"several rows begin with {row!r}: {', '.join(ids[:3])}; give more of the id")
            if len(hits):
                table = pa.Table.from_batches(list(dataset.read(shard)))
                values: dict[str, object] = table.slice(start + hits[0].as_py(), 1).to_pylist()[0]
                return values
            start += batch.num_rows
    for table in dataset.quarantine():
        hits = pc.indices_nonzero(pc.starts_with(table.column("id"), row))
        if len(hits):
            values = table.slice(hits[0].as_py(), 1).to_pylist()[0]
            return {**values, "step": QUARANTINE}
    return None


def _verdicts(filter_: Dataset, found: Sequence[tuple[Dataset, dict[str, object]]], reason: str) -> Iterator[str]:
    """Every rule of a filter with the row's value beside its threshold; the one that dropped it is pointed at."""
    values = {name: value for _, row in found for name, value in row.items()}
    for rule in filter_.manifest.rules:
        if rule["column"] in values and rule["column"] != "keep":
            value = values[str(rule["column"])]
            mark = "   <- dropped here" if rule["name"] == reason else ""
            must = f"must be {rule['comparison']} {rule['value']}"
            if rule["comparison"] == "sample" and isinstance(value, int | float):
                value, must = _sampled(rule, value, str(values["id"]))
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            yield f"    {rule['name']!s:<44} {shown:>12}  {must}{mark}"


def _sampled(rule: Mapping[str, Plain], score: float, row: str) -> tuple[float, str]:
    """What the draw of a row came to, and what was needed."""
    temperature, seed = float(str(rule["temperature"])), int(str(rule["seed"]))
    keys = sample_keys(np.array([score], dtype=np.float64), [row], temperature=temperature, seed=seed)
    return float(keys[0]), f"(score / {temperature:g} + noise) must be at least {float(str(rule['value'])):.6g}"


def _scorers(config: str | None) -> dict[str, ScoreConfig]:
    """The score steps of a resolved config."""
    if config is None:
        return {}
    steps = configuration.load(config).data["steps"]
    assert isinstance(steps, dict)
    return {
        name: parse(step["score"], ("steps", name, "score"))
        for name, step in steps.items()
        if isinstance(step, dict) and "score" in step
    }


def _scored(row: Mapping[str, object], column: str) -> object:
    """What a scorer read of a row: its column, or the part of its conversation that is called so."""
    turns, which = row.get("messages"), next((each for each in PARTS if each == column), None)
    if which is None or not isinstance(turns, list) or (column == TEXT and TEXT in row):
        return row.get(column)
    return ChatBatch(pa.array([turns], MESSAGES)).parts(which)[0]


def _moved(
    config: ScoreConfig,
    column: str,
    values: Mapping[str, object],
    found: Sequence[tuple[Dataset, dict[str, object]]],
    datasets: Sequence[Dataset],
) -> Iterator[str]:
    """What moved the score in a column, if a fastText model gave it: the logit's parts, the largest first."""
    scorer = column.removesuffix("_score")
    entry = config.entries.get(column) or config.entries.get(scorer)
    if entry is None:
        return
    text = next((_scored(row, entry.column) for data, row in found if data.manifest.step == config.source), None)
    score = values[column]
    if not isinstance(text, str) or not isinstance(score, float):
        return
    if entry.scorer == "quality" and column in config.entries:
        label = dict(entry.args)["label"]
    elif entry.scorer == "language" and column != scorer and values[scorer]:
        label = str(values[scorer])
    else:
        return
    model = configuration.model_files(entry.args)["model"]
    trained = next(
        (data for data in datasets if data.manifest.step == model and "model" in data.manifest.details), None
    )
    path = files.join(trained.folder, str(trained.manifest.details["model"])) if trained else files.absolute(model)
    try:
        moved = moved_by(path, label, text)
    except ModelError as error:
        yield f"        what moved it is not known: {error}"
        return
    if abs(moved.score - score) > _SAME:
        yield f"        what moved it is not known: the model at {path} has changed, it now gives {moved.score:.6g}"
        return
    parts = sorted(moved.contributions, key=lambda part: (-abs(part.value), part.text))
    yield f"        {moved.meaning} of {moved.label}: {moved.logit:+.4f}, of which"
    for part in parts[:_TOP]:
        times = f" x{part.count}" if part.count > 1 else ""
        shown = part.text if len(part.text) <= _WIDTH else f"{part.text[:_WIDTH]}..."
        yield f"        {part.value:+.4f}  {orjson.dumps(shown).decode()}{times}"
    if parts[_TOP:]:
        rest = math.fsum(part.value for part in parts[_TOP:])
        yield f"        {rest:+.4f}  from {len(parts) - _TOP:,} other words and n-grams"
