"""The command `curate frontier`: what other thresholds of a cascade would cost and give, at no new cost.

curate frontier runs/demo answers --reference answer
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from curate.cli.table import aligned
from curate.core import files
from curate.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from curate.core.dataset import Dataset
    from curate.steps.route.curves import Curve
    from curate.steps.route.frontier import Seen
    from curate.steps.synthesize.config import SynthesizeConfig


class Compared(str, Enum):
    """How an answer is compared with the reference."""

    exact = "exact"
    contains = "contains"


def frontier(
    run: Annotated[str, typer.Argument(help="The folder of a run, as runs/demo.", metavar="RUN")],
    step: Annotated[str, typer.Argument(help="A `synthesize` step with a cascade.", metavar="STEP")],
    reference: Annotated[str, typer.Option(help="The column of the right answer, in what the step reads.")],
    quality: Annotated[
        Compared, typer.Option(help="The same text or number, or whether the answer contains the reference.")
    ] = Compared.exact,
    csv_: Annotated[str | None, typer.Option("--csv", help="Write every point to this file.", metavar="FILE")] = None,
) -> None:
    """Show cost against quality for every way of sharing the work between a small and a large model.

    Everything is read from the run's ledger: no model is asked, nothing is paid. The step must have run with
    `explore: true` in its cascade, on a sample if all rows are too dear.
    """
    from curate.core.lock import lock
    from curate.generate.access import open_access
    from curate.pipeline import LEDGER, RESOLVED, Pipeline, open_run
    from curate.steps.route.curves import costs_at_quality
    from curate.steps.route.frontier import curves_of
    from curate.steps.route.replay import Source, has_prices, look
    from curate.steps.synthesize.config import SynthesizeConfig

    pipeline = Pipeline.load(files.join(run, RESOLVED))
    done = open_run(run)
    node = next((each for each in pipeline.nodes if each.name == step), None)
    if node is None:
        raise ConfigError(f"{run}: no step {step!r}; {nearest(step, [each.name for each in pipeline.nodes])}")
    config = node.config
    if not isinstance(config, SynthesizeConfig):
        raise ConfigError(f"{run}: {step} is a {node.kind} step; name a synthesize step with a `cascade:`")
    source = Source(step, _inputs(config, done, run), _models(config, done))
    with (
        lock(files.absolute(run)),
        open_access(
            pipeline.endpoints, files.join(files.absolute(run), LEDGER), replay=True, host="127.0.0.1"
        ) as access,
    ):
        seen, left = look(config, source, access, reference=reference, quality=quality.value)
    pairs, curves = curves_of(seen)
    if csv_ is not None:
        with files.atomic_output(csv_) as out:
            out.write(_points(curves).encode())
    out_lines = [*_counts(seen, left), *_lines(config, seen, curves, dollars=has_prices(config, pipeline.endpoints))]
    console = Console(highlight=False, soft_wrap=True)
    console.print("\n".join([*out_lines, "", aligned(costs_at_quality(curves, pairs))]), markup=False)


def _inputs(config: SynthesizeConfig, done: dict[str, Dataset], run: str) -> dict[str, Dataset]:
    for name in config.inputs().values():
        if name not in done:
            raise ConfigError(f"{run}: the step {name} is not done; run the pipeline first")
    return {role: done[name] for role, name in config.inputs().items()}


def _models(config: SynthesizeConfig, done: dict[str, Dataset]) -> dict[str, str]:
    """Where models lie: those of a step that trains one are in its folder."""
    trained = {name: each for name, each in done.items() if each.manifest.kind == "train"}
    return {
        key: files.join(trained[value].folder, str(trained[value].manifest.details["model"]))
        if value in trained
        else files.absolute(value)
        for key, value in config.models().items()
    }


def _counts(seen: Sequence[Seen], left: dict[str, int]) -> list[str]:
    out = ", ".join(f"{count:,} {why}" for why, count in sorted(left.items()))
    return [f"{len(seen):,} answers of both models on record" + (f"; left out: {out}" if left else "")]


def _lines(config: SynthesizeConfig, seen: Sequence[Seen], curves: Sequence[Curve], *, dollars: bool) -> list[str]:
    """Each model alone, and the step as it is set: quality, and the cost of a thousand rows."""
    from curate.steps.route.frontier import as_set

    assert config.cascade is not None
    band = f"keep {config.cascade.keep:g}, drop {config.cascade.drop:g}"
    points = [(each.name, float(each.cost[0]), float(each.quality[0])) for each in curves if len(each.cost) == 1]
    points.append((f"as it is set ({band})", *as_set(seen, config.cascade)))
    width = max(len(name) for name, _, _ in points)
    unit = "${:,.4g}" if dollars else "{:,.0f} tokens"
    return [
        f"{name.ljust(width)}  quality {quality:.3f}, {unit.format(1000 * cost)} a thousand rows"
        for name, cost, quality in points
    ]


def _points(curves: Sequence[Curve]) -> str:
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["policy", "cost", "quality", "share_to_large", "low", "high"])
    for curve in curves:
        for values in zip(curve.cost, curve.quality, curve.share, curve.low, curve.high, strict=True):
            lines.writerow([curve.name, *(repr(float(each)) for each in values)])
    return out.getvalue()
