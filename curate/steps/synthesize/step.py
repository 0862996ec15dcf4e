"""The `synthesize` step: rows through a recipe, to synthetic rows and to the outcome of every row that went in.

    made: {synthesize: {from: seeds, recipe: paraphrase, model: large, samples: 2}}

The shards of synthetic rows have the names of the input's. `fates/` has a row for each row that went in: accepted,
rejected with a reason, failed with the endpoint's error, or skipped where the budget had nothing left. A step with
skipped rows is not done: the run stops, and goes on from there when the cap is raised.
"""

from __future__ import annotations

import asyncio
import functools

from curate.core import files
from curate.core.digest import digest_of
from curate.core.errors import ConfigError
from curate.core.step import Job, Receipt, Result
from curate.generate.access import Access, ledger_name
from curate.generate.flow import stop_at_skipped
from curate.steps.synthesize.config import SynthesizeConfig, parse
from curate.steps.synthesize.estimate import estimate
from curate.steps.synthesize.flow import make_rows
from curate.steps.synthesize.inputs import Rows, RowsTask, reads_of, tasks_of
from curate.steps.synthesize.pool import run_pool
from curate.steps.synthesize.synthetic import OUTCOMES, TAKEN

VERSION = 1
# What curate/kinds.py looks for here.
__all__ = ["VERSION", "ask", "estimate", "parse"]


def ask(job: Job, config: SynthesizeConfig, access: Access) -> Result:
    """Take every shard through the recipe.

    Raises:
        BadValue: the rows lack a column that the recipe reads.
        RunError: rows were skipped, or an endpoint stopped the run; what was answered is on record.
    """
    recipe = config.recipe
    clash = TAKEN.intersection(recipe.columns)
    if clash:
        raise ConfigError(f"recipe {recipe.name}: the column {min(clash)!r} is every made row's; name it otherwise")
    if recipe.pool is not None:
        return run_pool(job, config, access)
    datasets = [dataset for role, dataset in job.inputs.items() if role.startswith("from[")]
    reads = reads_of(config, datasets, ("steps", job.step.name, job.step.kind))
    inputs = digest_of({role: each.manifest.digest for role, each in job.inputs.items()})
    rows = functools.partial(Rows, config, recipe, job.inputs, job.models, reads)
    make = functools.partial(_MakeShard, config, access, rows, job.step.name, job.folder, inputs)
    tasks = tasks_of(config, datasets)
    receipts = job.map("", make, tasks)
    stop_at_skipped(job, "", receipts)
    done = [f"{OUTCOMES}/{receipt.task}" for receipt in receipts]
    return Result(receipts, files={name: files.content_hash(files.join(job.folder, name)) for name in done})


class _MakeShard:
    """Takes one shard through the recipe, many rows at once; they are written in their order."""

    def __init__(
        self,
        config: SynthesizeConfig,
        access: Access,
        rows: functools.partial[Rows],
        step: str,
        folder: str,
        inputs: str,
    ) -> None:
        self._config, self._access, self._rows = config, access, rows()
        self._step, self._folder, self._inputs = step, folder, inputs

    def __call__(self, task: RowsTask) -> Receipt:
        return asyncio.run(self._run(task))

    async def _run(self, task: RowsTask) -> Receipt:
        absent, rows = self._rows.read(task)
        ledger = ledger_name(self._step, self._inputs, task.name)
        outcomes = files.join(self._folder, OUTCOMES, task.name)
        done = await make_rows(self._config, self._access, ledger, rows, files.join(self._folder, task.name), outcomes)
        return Receipt(
            task.name,
            task.rows,
            (done.shard,),
            absent=absent,
            dropped=done.rows - done.accepted,
            added=done.shard.rows - done.accepted,
            counts=dict(done.counts),
        )
