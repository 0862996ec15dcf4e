"""Rounds over one growing pool, as Self-Instruct has them (Wang et al. 2023).

    made: {synthesize: {from: seeds, recipe: self_instruct, model: large, count: 1000}}

A round asks some prompts, each with seeds and rows of earlier rounds as examples. What they made is sorted by id and
admitted one by one, if its ROUGE-L to every text of the pool is low enough. So the pool depends on the answers alone,
not on the order in which they came.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import xxhash

from curate.core import files
from curate.core.dataset import Dataset
from curate.core.digest import digest_of
from curate.core.errors import ConfigError
from curate.core.shards import ShardWriter, read_shard
from curate.core.step import Job, Receipt, Result
from curate.generate.access import Access, ledger_name
from curate.generate.flow import stop_at_skipped
from curate.steps.synthesize.config import SynthesizeConfig
from curate.steps.synthesize.flow import make_rows
from curate.steps.synthesize.functions import shuffled
from curate.steps.synthesize.recipe_model import Pool
from curate.steps.synthesize.synthetic import OUTCOMES, OUTCOMES_SCHEMA, InputRow, schema_of
from curate.text.overlap import Admitted

# Rounds one after the other that add nothing, until the pool is taken to be as large as it gets.
_BARREN = 3
_TASK_PROMPTS = 16
SHARD = "part-00000.parquet"
TOO_NEAR = "too-near-the-pool"


@dataclass(frozen=True)
class _Text:
    id: str
    text: str


@dataclass(frozen=True)
class _Prompts:
    """Some prompts of a round: the examples that each shows."""

    name: str
    rows: int
    prompts: tuple[InputRow, ...]


def run_pool(job: Job, config: SynthesizeConfig, access: Access) -> Result:
    """Ask round after round until there are as many rows as were asked for.

    Raises:
        RunError: rows were skipped.
    """
    pool = config.recipe.pool
    assert pool is not None and config.count is not None
    seeds = _seeds(job.inputs["from[0]"], pool, job)
    admitted = Admitted(limit=pool.rouge_l)
    for seed in seeds:
        admitted.admit(seed.text)
    inputs = digest_of({role: each.manifest.digest for role, each in job.inputs.items()})
    schema = schema_of(config.recipe.kind, config.recipe.columns, logprobs=False, check=config.cascade is not None)
    made: list[_Text] = []
    receipts: list[Receipt] = []
    near = prompts = barren = 0
    with (
        ShardWriter(files.join(job.folder, SHARD), schema) as rows,
        ShardWriter(files.join(job.folder, OUTCOMES, SHARD), OUTCOMES_SCHEMA) as outcomes,
    ):
        number = 0
        while len(made) < config.count and barren < _BARREN:
            stage = f"round-{number:05d}"
            tasks = _round(pool, config, seeds, made, number)
            work = functools.partial(_Ask, config, access, job.step.name, files.join(job.scratch, stage), inputs)
            done = job.map(stage, work, tasks)
            stop_at_skipped(job, stage, done)
            receipts += done
            prompts += sum(task.rows for task in tasks)
            found = [_read(files.join(job.scratch, stage, task.name)) for task in tasks if _did(task, done)]
            before = len(made)
            for row in sorted((row for each, _ in found for row in each), key=lambda row: str(row["id"])):
                text = str(row["text"])
                if len(made) < config.count and admitted.admit(text):
                    made.append(_Text(str(row["id"]), text))
                    rows.write(pa.RecordBatch.from_pylist([row], schema=schema))
                else:
                    near += 1
            for _, some in found:
                outcomes.write(some)
            barren = 0 if len(made) > before else barren + 1
            number += 1
    counts: dict[str, int] = {}
    for receipt in receipts:
        for name, count in receipt.counts.items():
            counts[name] = counts.get(name, 0) + count
    counts[f"filtered:{TOO_NEAR}"] = near
    accepted = counts.get("accepted", 0)
    receipt = Receipt(
        SHARD,
        prompts,
        (rows.shard,),
        dropped=prompts - accepted,
        added=rows.shard.rows - accepted,
        counts=dict(sorted(counts.items())),
    )
    name = f"{OUTCOMES}/{SHARD}"
    hashes = {name: files.content_hash(files.join(job.folder, name))}
    return Result([receipt], {"rounds": number, "wanted": config.count}, hashes)


def _did(task: _Prompts, done: Sequence[Receipt]) -> bool:
    return any(receipt.task == task.name for receipt in done)


def _seeds(data: Dataset, pool: Pool, job: Job) -> list[_Text]:
    if pool.column not in data.schema().names:
        raise ConfigError(f"step {job.step.name}: the seeds have no column {pool.column!r}")
    seeds = [
        _Text(row["id"], row[pool.column])
        for shard in data.shards
        for batch in data.read(shard, ["id", pool.column])
        for row in batch.to_pylist()
        if row[pool.column]
    ]
    if len(seeds) < pool.seeds:
        raise ConfigError(f"step {job.step.name}: a prompt shows {pool.seeds} seeds, and there are {len(seeds)}")
    return seeds


def _round(
    pool: Pool, config: SynthesizeConfig, seeds: Sequence[_Text], made: Sequence[_Text], number: int
) -> list[_Prompts]:
    """The prompts of a round, some to a task: which seeds and synthetic rows each shows, shuffled."""
    prompts = []
    for i in range(pool.round):
        key = f"{config.seed}|{number}|{i}"
        shown = [seeds[each] for each in _places(len(seeds), pool.seeds, f"{key}|seeds")]
        shown += [made[each] for each in _places(len(made), pool.made, f"{key}|made")]
        order = [int(str(each)) for each in shuffled(list(range(len(shown))), f"{key}|order")]
        shown = [shown[each] for each in order]
        columns: Mapping[str, object] = {
            **dict.fromkeys(config.recipe.optional),
            "found": [],
            "shots": [{"text": each.text} for each in shown],
        }
        row = xxhash.xxh3_128_hexdigest(f"{config.recipe.name}|{key}".encode())
        parents = tuple(each.id for each in shown)
        prompts.append(InputRow(row, f"{config.recipe.name}#{number}.{i}", columns, parents))
    starts = range(0, len(prompts), _TASK_PROMPTS)
    some = [tuple(prompts[start : start + _TASK_PROMPTS]) for start in starts]
    return [_Prompts(f"part-{i:05d}.parquet", len(each), each) for i, each in enumerate(some)]


def _places(size: int, count: int, seed: str) -> list[int]:
    if size <= count:
        return list(range(size))
    found: dict[int, None] = {}
    number = 0
    while len(found) < count:
        found[xxhash.xxh3_64_intdigest(f"{seed}|{number}".encode()) % size] = None
        number += 1
    return list(found)


class _Ask:
    """Asks the prompts of a task; what was made and the outcomes go to the scratch folder."""

    def __init__(self, config: SynthesizeConfig, access: Access, step: str, folder: str, inputs: str) -> None:
        self._config, self._access, self._step, self._folder = config, access, step, folder
        self._inputs = inputs

    def __call__(self, task: _Prompts) -> Receipt:
        return asyncio.run(self._run(task))

    async def _run(self, task: _Prompts) -> Receipt:
        made = files.join(self._folder, task.name)
        ledger = ledger_name(self._step, self._inputs, task.name)
        done = await make_rows(self._config, self._access, ledger, task.prompts, made, f"{made}.{OUTCOMES}")
        return Receipt(task.name, task.rows, counts=dict(done.counts))


def _read(path: str) -> tuple[list[dict[str, object]], pa.RecordBatch]:
    rows = [row for batch in read_shard(path) for row in batch.to_pylist()]
    outcomes = pa.Table.from_batches(list(read_shard(f"{path}.{OUTCOMES}")), OUTCOMES_SCHEMA).combine_chunks()
    return rows, outcomes.to_batches()[0]
