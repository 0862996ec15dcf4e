"""Running a `select` step on datasets at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from curate.core.dataset import Dataset
from curate.core.engine import Engine, Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.core.step import Step, execute
from curate.steps.select.step import VERSION, parse, run
from tests.helpers import rows


def selected(
    tmp_path: Path,
    source: Sequence[Dataset],
    others: Mapping[str, Dataset] | None = None,
    *,
    engine: Engine | None = None,
    resources: Resources | None = None,
    **config: object,
) -> Dataset:
    """The output of a `select` step over a pool with its attributes; `others` are what the selector names."""
    known = {**{f"beside{i}": data for i, data in enumerate(source)}, **(others or {})}
    parsed = parse({"from": [f"beside{i}" for i in range(len(source))], **config}, ("steps", "picks", "select"))
    roles = {role: known[name] for role, name in parsed.inputs().items()}
    step = Step("picks", "select", VERSION, parsed.identity(), roles, {}, lambda job: run(job, parsed))
    return execute(
        step, str(tmp_path / "run"), engine or LocalEngine(), resources or Resources(workers=1), Progress("quiet")
    )


def taken(data: Dataset) -> list[str]:
    """The ids of the rows taken, the first first."""
    kept = [row for row in rows(data) if row["keep"]]
    return [str(row["id"]) for row in sorted(kept, key=lambda row: row["rank"])]  # type: ignore[arg-type,return-value]
