"""Running a pipeline that is given as text."""

from __future__ import annotations

from pathlib import Path

from curate.core.config import parse
from curate.core.dataset import Dataset
from curate.core.engine import Engine, Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.pipeline import Pipeline


def run_yaml(
    folder: Path,
    text: str,
    *,
    root: str | None = None,
    engine: Engine | None = None,
    resources: Resources | None = None,
    replay: bool = False,
) -> dict[str, Dataset]:
    """Run a pipeline given as text, under `folder`, or under `root` where that is a URL."""
    pipeline = Pipeline.of(parse(text, "test.yaml"))
    return pipeline.run(
        root or str(folder),
        engine or LocalEngine(),
        resources or Resources(workers=1),
        Progress("quiet"),
        replay=replay,
    )
