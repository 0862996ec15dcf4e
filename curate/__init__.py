"""Curate: training data for small models, scored, filtered and released so that anyone can rebuild it.

    from curate import Pipeline, Progress, Resources
    from curate.core.engine.local import LocalEngine

    pipeline = Pipeline.load("configs/pretrain.yaml")
    with Progress() as progress:
        outputs = pipeline.run("runs", LocalEngine(), Resources(workers=4), progress)
    outputs["out"].rows

Scorers are plain functions that need no pipeline:

    from curate.steps.score import SCORERS
    from curate.text.batch import TextBatch

    SCORERS["gopher_quality"]()(TextBatch.of(["Some text."]))["words"]
"""

from __future__ import annotations

import importlib

_HOME = {
    "ConfigError": "curate.core.errors",
    "CurateError": "curate.core.errors",
    "Dataset": "curate.core.dataset",
    "ModelError": "curate.core.errors",
    "Pipeline": "curate.pipeline",
    "Progress": "curate.core.progress",
    "Resources": "curate.core.engine",
    "RunError": "curate.core.errors",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """The public names, imported when they are asked for: scoring alone needs no pipeline."""
    if name not in _HOME:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
