"""The `filter` step: `keep` and the first failing rule as `reason` for every row, and the count of every rule.

    kept: {filter: {from: [scores, dups], rules: [{preset: gopher-quality}, {column: quality, top: 0.10}]}}

Of an input that has a `keep` column (a dedup step, another filter) rows with `keep = false` are skipped before the
first rule.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.core import files
from curate.core.config import BadValue, Path, validate
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.errors import ConfigError
from curate.core.map_shard import ShardTask, shard_tasks
from curate.core.rows.aligned import Inputs, numbers
from curate.core.shards import ShardWriter
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.steps.filter.presets import check_name, check_scores, expand, scorers_of
from curate.steps.filter.rules import Budget, Condition, Quantile, Rule, Sample, Value, cut, quantile

VERSION = 1


class FilterConfig(StepConfig):
    """Which datasets to look at, and the rules in order."""

    source: str | list[str] = Field(alias="from")
    rules: list[Rule]

    def inputs(self) -> dict[str, str]:
        """The datasets whose columns the rules name."""
        names = [self.source] if isinstance(self.source, str) else self.source
        return {f"from[{i}]": name for i, name in enumerate(names)}

    def identity(self) -> dict[str, Plain]:
        """The rules, presets spelt out."""
        spelt: list[Plain] = []
        for rule in self.rules:
            parts: list[Plain] = [each.model_dump(mode="json", exclude_none=True) for each in expand(rule)]
            # Comparisons of one rule are not the same as rules one after the other.
            spelt += [parts] if rule.preset is None and len(parts) > 1 else parts
        return {"rules": spelt}

    def check(self, inputs: Mapping[str, StepConfig], path: Path) -> None:
        """See that the presets fit the scores, as far as the configs of the inputs tell."""
        made = scorers_of(each.identity() for each in inputs.values())
        for i, rule in enumerate(self.rules):
            if rule.preset is not None:
                check_scores(rule.preset, rule.of, made, (*path, "rules", i, "preset"))


def parse(value: Plain, path: Path) -> FilterConfig:
    """The config of the step from plain values.

    Raises:
        BadValue: an unknown preset or a rule of the wrong shape.
    """
    config = validate(FilterConfig, value, path)
    for i, rule in enumerate(config.rules):
        check_name(rule, (*path, "rules", i))
    seen: set[str] = set()
    for i, rule in enumerate(config.rules):
        names = [str(each.name) for each in expand(rule)]
        for name in names:
            if name in seen or names.count(name) > 1:
                raise BadValue((*path, "rules", i), f"two rules are called {name!r}; give one another `name`")
        seen.update(names)
    return config


def run(job: Job, config: FilterConfig) -> Result:
    """Find the thresholds, then judge every shard."""
    inputs = Inputs(list(job.inputs.values()))
    for rule in config.rules:
        for each in expand(rule):
            inputs.check(str(each.column), rule.preset)
    conditions: list[Condition] = []
    for rule in config.rules:
        # The comparisons of one rule see the same rows, so that two quantiles of one column cut out a window; the
        # rules of a preset come one after the other.
        before = tuple(conditions)
        for each in expand(rule):
            conditions.append(_resolve(each, conditions if rule.preset else before, inputs))
    make = functools.partial(_Judge, tuple(job.inputs.values()), tuple(conditions), job.folder)
    receipts = job.map("", make, shard_tasks(inputs.datasets[0]))
    return Result(receipts, _details(conditions, receipts))


def _resolve(rule: Rule, before: Sequence[Condition], inputs: Inputs) -> Condition:
    """The rule with its threshold: read off the rows that passed the conditions before it."""
    ((kind, value),) = rule.comparisons()
    name, column = str(rule.name), str(rule.column)
    if isinstance(value, Quantile):
        scores = np.concatenate([v for v, _, _ in _passing(column, None, before, inputs)] or [np.empty(0)])
        return Condition(name, column, kind, _threshold(quantile(scores, value.quantile)))
    if kind in ("top", "bottom", "sample"):
        draw = value if isinstance(value, Sample) else None
        share = cast("int | float | Budget", value) if draw is None else draw.share
        weigh = share.sum if isinstance(share, Budget) else None
        if weigh is not None:
            inputs.check(weigh)
        parts = list(_passing(column, weigh, before, inputs))
        scores = np.concatenate([v for v, _, _ in parts] or [np.empty(0)])
        ids = np.concatenate([i for _, i, _ in parts] or [np.empty(0, np.object_)])
        weights = np.concatenate([w for _, _, w in parts]) if weigh is not None and parts else None
        keys = scores if draw is None else draw.keys(scores, ids)
        last, last_id = cut(keys, ids, share, weights, highest=kind != "bottom")
        return Condition(name, column, kind, last, last_id, draw)
    return Condition(name, column, kind, cast(Value, value))


def _threshold(value: float) -> float:
    if math.isnan(value):
        raise ConfigError("a quantile of no rows: every row was dropped by the rules before it; loosen those")
    return value


def _passing(
    column: str, weigh: str | None, before: Sequence[Condition], inputs: Inputs
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.object_], npt.NDArray[np.float64]]]:
    """Scores, ids and weights of the rows of each shard that pass every condition so far; NaN and null are out."""
    needed = sorted({column, *(c.column for c in before), *([weigh] if weigh else [])})
    for shard in inputs.datasets[0].shards:
        table, reason, _ = inputs.read(shard.name, needed)
        alive = reason.is_null().to_numpy()
        for condition in before:
            alive &= condition.holds(table)
        scores = numbers(table, column)
        alive = alive & np.isfinite(scores)
        weights = np.zeros(0)
        if weigh is not None:
            weights = np.nan_to_num(numbers(table, weigh))[alive]
            if (weights < 0).any():
                raise ConfigError(f"the column {weigh} holds {weights.min():g}; what is summed is 0 or more")
        yield scores[alive], table.column("id").to_numpy()[alive], weights


class _Judge:
    def __init__(self, datasets: Sequence[Dataset], conditions: Sequence[Condition], folder: str) -> None:
        self._inputs, self._conditions, self._folder = Inputs(datasets), conditions, folder

    def __call__(self, task: ShardTask) -> Receipt:
        columns = sorted({condition.column for condition in self._conditions})
        table, reason, absent = self._inputs.read(task.name, columns)
        counts: dict[str, int] = {}
        for name, count in _value_counts(reason):
            counts[f"first:{name}"] = counts[f"all:{name}"] = count
        alive = np.array(reason.is_null().to_numpy())
        reasons = reason.to_numpy(zero_copy_only=False).astype(object)
        for condition in self._conditions:
            failed = ~condition.holds(table)
            first = alive & failed
            reasons[first] = condition.name
            counts[f"first:{condition.name}"] = int(first.sum())
            counts[f"all:{condition.name}"] = int(failed.sum())
            alive &= ~failed
        counts["kept"] = int(alive.sum())
        schema = pa.schema([("id", pa.string()), ("keep", pa.bool_()), ("reason", pa.string())])
        with ShardWriter(files.join(self._folder, task.name), schema) as writer:
            data = [table.column("id").combine_chunks(), pa.array(alive), pa.array(reasons, pa.string())]
            writer.write(pa.RecordBatch.from_arrays([_flat(column) for column in data], schema=schema))
        return Receipt(task.name, table.num_rows + absent, (writer.shard,), absent=absent, counts=counts)


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _value_counts(reason: pa.ChunkedArray) -> list[tuple[str, int]]:
    pairs = pc.value_counts(reason.drop_null()).to_pylist()
    return sorted((pair["values"], pair["counts"]) for pair in pairs)


def _details(conditions: Sequence[Condition], receipts: Sequence[Receipt]) -> Mapping[str, Plain]:
    rules: list[Plain] = []
    names = {condition.name for condition in conditions}
    obeyed = sorted({c[6:] for r in receipts for c in r.counts if c.startswith("first:") and c[6:] not in names})
    for name in obeyed:
        rules.append({"name": name, "column": "keep", "comparison": "equals", "value": True})
    for c in conditions:
        rule: dict[str, Plain] = {"name": c.name, "column": c.column, "comparison": c.comparison}
        rule["value"] = list(c.value) if isinstance(c.value, list) else _plain(c.value)
        if c.last_id:
            rule["last_id"] = c.last_id
        if c.draw is not None:
            rule["temperature"], rule["seed"] = c.draw.temperature, c.draw.seed
        rules.append(rule)
    for rule_ in rules:
        assert isinstance(rule_, dict)
        for kind in ("first", "all"):
            rule_[kind] = sum(r.counts.get(f"{kind}:{rule_['name']}", 0) for r in receipts)
    return {"rules": rules}


def _plain(value: str | bool | int | float) -> Plain:
    """Infinite thresholds, of a budget that nothing fits, have no JSON number."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
