"""The `select` step: which conversations fill the budget best, by one selector; every other row has a reason.

    picks: {select: {from: [pool, scores, kept], budget: 0.05, random: {seed: 1}}}

The output lies beside the conversations as a filter's does: `id`, `keep` and `reason`, and for every row its
`score`, for a pick its `rank` (1 is the first), and with targets the `target` and the `nearest` example of it.
The manifest's details say what was taken, what was `spent` of a budget by sum, how many of each group of a quota,
and where the cut is: the `last` row taken and the best row that was not, `next`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from curate.core import files
from curate.core.config import BadValue, Path, validate
from curate.core.digest import Plain
from curate.core.errors import ConfigError, RunError, nearest
from curate.core.shards import ShardWriter
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.core.table import Table
from curate.steps.select.features import check_conversations
from curate.steps.select.filling import Budget, Filling, Quota, Sum
from curate.steps.select.pool import Objects, Pool
from curate.steps.select.selector import Selector, Verdict, best_first

VERSION = 1

SELECTORS: Table[type[Selector]] = Table(
    {
        "balanced": "curate.steps.select.balanced:Balanced",
        "bm25": "curate.steps.select.bm25:Bm25",
        "coverage": "curate.steps.select.coverage:Coverage",
        "deita": "curate.steps.select.deita:Deita",
        "facility_location": "curate.steps.select.facility_location:FacilityLocation",
        "k_center": "curate.steps.select.k_center:KCenter",
        "less": "curate.steps.select.less:Less",
        "random": "curate.steps.select.random:Random",
        "rds": "curate.steps.select.rds:Rds",
        "self_influence": "curate.steps.select.self_influence:SelfInfluence",
        "similarity": "curate.steps.select.similarity:Similarity",
        "top": "curate.steps.select.top:Top",
        "union": "curate.steps.select.union:Union",
    }
)

NOT_SELECTED = "not selected"
# The quota of the row's group was used up.
OVER_QUOTA = "over quota"
_BUDGET: TypeAdapter[Budget] = TypeAdapter(Budget)
_FIXED = ("from", "budget", "quota")

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("keep", pa.bool_()),
        ("reason", pa.string()),
        ("rank", pa.int64()),
        ("score", pa.float64()),
        ("target", pa.string()),
        ("nearest", pa.string()),
    ]
)


class SelectConfig(StepConfig):
    """The pool with its attributes, the budget with its quotas, and one selector."""

    source: list[str]
    budget: Budget | None
    quota: Quota | None
    name: str
    selector: Selector

    def inputs(self) -> dict[str, str]:
        """The pool and the datasets beside it, and what the selector reads."""
        return {**{f"from[{i}]": name for i, name in enumerate(self.source)}, **self.selector.inputs()}

    def models(self) -> dict[str, str]:
        """The model files of the selector."""
        return self.selector.models()

    def check(self, inputs: Mapping[str, StepConfig], path: Path) -> None:
        """See that the selector fits what it reads."""
        self.selector.check(inputs, (*path, self.name))

    def identity(self) -> dict[str, Plain]:
        """The budget, the quotas, the selector and its arguments."""
        quota = None if self.quota is None else self.quota.model_dump(mode="json")
        budget: Plain = None if self.budget is None else _BUDGET.dump_python(self.budget, mode="json")
        return {"budget": budget, "quota": quota, self.name: self.selector.identity()}


def parse(value: Plain, path: Path) -> SelectConfig:
    """The config of the step from plain values.

    Raises:
        BadValue: a key is missing or wrong, with the nearest valid name.
    """
    if not isinstance(value, dict):
        raise BadValue(path, "expected `from:`, `budget:` and a selector")
    source = value.get("from")
    names = [source] if isinstance(source, str) else source
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BadValue((*path, "from"), "expected the step of the pool, or a list that begins with it")
    rest = {key: each for key, each in value.items() if key not in _FIXED}
    unknown = [key for key in rest if key not in SELECTORS]
    if len(rest) > 1 and unknown:
        raise BadValue((*path, unknown[0]), f"no such key; {nearest(unknown[0], [*_FIXED, *SELECTORS])}")
    if len(rest) != 1:
        raise BadValue(path, f"expected one selector beside `from` and `budget`: {', '.join(SELECTORS)}")
    ((name, args),) = rest.items()
    if name not in SELECTORS:
        raise BadValue((*path, name), f"no selector {name!r}; {nearest(name, SELECTORS)}")
    selector = validate(SELECTORS[name], args, (*path, name))
    if "budget" not in value and not selector.open_ended:
        raise BadValue(path, "the key 'budget' is missing")
    return SelectConfig.model_construct(
        source=[str(each) for each in names],
        budget=_budget(value["budget"], (*path, "budget")) if "budget" in value else None,
        quota=validate(Quota, value["quota"], (*path, "quota")) if "quota" in value else None,
        name=name,
        selector=selector,
    )


def _budget(value: Plain, path: Path) -> Budget:
    try:
        return _BUDGET.validate_python(value, strict=True)
    except ValidationError:
        raise BadValue(
            path, f"expected a count from 1, a fraction up to 1.0, or {{sum: COLUMN, limit: N}}, found {value!r}"
        ) from None


def run(job: Job, config: SelectConfig) -> Result:
    """Fill the budget, then write the verdict of every row.

    Raises:
        BadValue: the inputs hold no conversations, or the budget or an argument does not fit the pool.
        RunError: nothing can be taken.
    """
    datasets = [data for role, data in job.inputs.items() if role.startswith("from[")]
    with _at(("steps", job.step.name, job.step.kind)):
        check_conversations(datasets[0])
        pool = Pool.of(datasets)
        config.selector.exclude(job, pool)
        if not pool.open.any():
            raise RunError(
                f"step {job.step.name}: no row may be taken; {_most(pool.reasons)}; loosen what drops them, and see"
                " that `from` names steps of one pool"
            )
        budget = int(pool.open.sum()) if config.budget is None else config.budget
        filling = Filling.of(budget, pool, config.quota)
        verdict = config.selector.select(job, pool, filling)
    _check(job, filling, verdict)
    _write_verdicts(job, pool, filling, verdict)
    starts = np.cumsum([0, *pool.sizes]).tolist()
    tasks = [
        _Task(shard.name, rows, start)
        for shard, rows, start in zip(datasets[0].shards, pool.sizes, starts[:-1], strict=True)
    ]
    receipts = job.map("", functools.partial(_WriteShard, job.folder, job.scratch), tasks)
    return Result(receipts, {**_details(config, pool, filling, verdict), **verdict.details})


@contextlib.contextmanager
def _at(path: Path) -> Iterator[None]:
    """Give the errors of a config the place of the step."""
    try:
        yield
    except BadValue:
        raise
    except ConfigError as error:
        raise BadValue(path, str(error)) from None


def _check(job: Job, filling: Filling, verdict: Verdict) -> None:
    """See that a selector kept what every selector promises."""
    taken = filling.taken
    if not taken:
        raise RunError(f"step {job.step.name}: nothing was taken; raise the budget or the quota")
    if not np.isfinite(verdict.scores[taken]).all():
        raise RunError(f"step {job.step.name}: a row whose score is not finite was taken; please report this")


def _details(config: SelectConfig, pool: Pool, filling: Filling, verdict: Verdict) -> dict[str, Plain]:
    """What was asked, what was taken, and where the cut is: the last row taken and the best one that was not."""
    last = filling.taken[-1]
    left = pool.open.copy()
    left[filling.taken] = False
    first = best_first(verdict.scores, pool, left)[:1]
    details: dict[str, Plain] = {
        "selector": config.name,
        "budget": None if config.budget is None else _BUDGET.dump_python(config.budget, mode="json"),
        "open": int(pool.open.sum()),
        "taken": len(filling.taken),
        "last": {"id": str(pool.ids[last]), "score": float(verdict.scores[last])},
        "next": {"id": str(pool.ids[first[0]]), "score": float(verdict.scores[first[0]])} if first else None,
    }
    if isinstance(config.budget, Sum):
        details["spent"] = filling.spent
    if config.quota is not None:
        details["by_group"] = dict(filling.by_group())
    return details


def _most(reasons: Objects) -> str:
    if not len(reasons):
        return "the pool is empty"
    names, counts = np.unique(reasons.astype(str), return_counts=True)
    commonest = sorted(zip(counts.tolist(), names.tolist(), strict=True), reverse=True)[:3]
    return "most have the reason " + ", ".join(f"{name} ({count:,})" for count, name in commonest)


def _write_verdicts(job: Job, pool: Pool, filling: Filling, verdict: Verdict) -> None:
    """The verdicts of the whole pool, for the tasks that write its shards."""
    ranks = np.zeros(len(pool), np.int64)
    ranks[filling.taken] = np.arange(1, len(filling.taken) + 1)
    keep = ranks > 0
    reasons = pool.reasons.copy()
    left = pool.open & ~keep
    reasons[left] = NOT_SELECTED
    reasons[left & filling.crowded] = OVER_QUOTA
    scores = verdict.scores
    columns = [
        pa.array(pool.ids, pa.string()),
        pa.array(keep),
        pa.array(reasons, pa.string()),
        pc.if_else(pa.array(keep), pa.array(ranks), pa.scalar(None, pa.int64())),
        pc.if_else(pa.array(np.isfinite(scores)), pa.array(scores), pa.scalar(None, pa.float64())),
        *(
            pa.nulls(len(pool), pa.string()) if each is None else pa.array(each, pa.string())
            for each in (verdict.targets, verdict.nearest)
        ),
    ]
    table = pa.Table.from_arrays(columns, schema=_SCHEMA)
    with files.atomic_output(files.join(job.scratch, "verdicts.parquet")) as out:
        pq.write_table(table, out)


@dataclass(frozen=True)
class _Task:
    name: str
    rows: int
    start: int


class _WriteShard:
    def __init__(self, folder: str, scratch: str) -> None:
        with files.open_input(files.join(scratch, "verdicts.parquet")) as stream:
            self._table = pq.read_table(stream)
        self._folder = folder

    def __call__(self, task: _Task) -> Receipt:
        rows = self._table.slice(task.start, task.rows).combine_chunks()
        with ShardWriter(files.join(self._folder, task.name), _SCHEMA) as writer:
            for batch in rows.to_batches():
                writer.write(batch)
        counts = {"kept": int(pc.sum(rows.column("keep")).as_py() or 0)}
        for pair in pc.value_counts(rows.column("reason").drop_null()).to_pylist():
            counts[f"first:{pair['values']}"] = pair["counts"]
        return Receipt(task.name, task.rows, (writer.shard,), counts=dict(sorted(counts.items())))
