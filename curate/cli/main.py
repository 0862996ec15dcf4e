"""The `curate` command.

    curate run configs/quickstart/pipeline.yaml

Exit codes: 0 done, 1 the run failed, 2 the command or config was wrong, 130 interrupted.

A command imports what it needs when it is called, so that `--help` shows at once.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from curate.cli import frontier, models
from curate.core import bits as modes
from curate.core import files
from curate.core.errors import CurateError

if TYPE_CHECKING:
    from curate.core.engine import Engine
    from curate.core.progress import Event
    from curate.pipeline import Pipeline

LOG = "events.jsonl"

app = typer.Typer(
    name="curate",
    help="Score, filter, select, synthesise and release training data: reproducible Parquet, on a laptop or on Ray.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


class Where(str, Enum):
    """Where the work is done."""

    local = "local"
    ray = "ray"


class Show(str, Enum):
    """How progress is shown."""

    auto = "auto"
    plain = "plain"
    json = "json"
    quiet = "quiet"


ConfigArgument = Annotated[str, typer.Argument(help="The pipeline, a YAML file.", metavar="CONFIG")]
RootOption = Annotated[str, typer.Option("--root", help="Where runs are kept: a folder or an fsspec URL.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the config: `--set steps.docs.read.path=data/*.jsonl`.",
    ),
]


def _print(text: str) -> None:
    Console(highlight=False, soft_wrap=True).print(text, markup=False)


@app.command()
def run(
    config: ConfigArgument,
    on: Annotated[Where, typer.Option("--on", help="This machine, or a Ray cluster.")] = Where.local,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes or actors; all cores by default.")] = None,
    gpus: Annotated[
        float, typer.Option(min=0, help="GPUs that an actor on Ray gets, for neural models; 0.5 lets two share one.")
    ] = 0,
    root: RootOption = "runs",
    set_: SetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    keep_going: Annotated[bool, typer.Option(help="List a shard that fails for good and go on.")] = False,
    retries: Annotated[int, typer.Option(min=0, help="How often a shard is tried again after a crash.")] = 2,
    timeout: Annotated[float | None, typer.Option(min=0.1, help="Seconds that one shard may take.")] = None,
    progress: Annotated[Show, typer.Option(help="Bars, plain lines, JSON lines, or nothing.")] = Show.auto,
    address: Annotated[
        str | None, typer.Option(help="The Ray cluster; RAY_ADDRESS or this machine by default.")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Ask no model: recorded answers alone, and no network.")
    ] = False,
    bits: Annotated[
        modes.Mode | None,
        typer.Option(
            help="Neural models give the same bits on one kind of processor, or on any x86-64 with AVX2 (slower)."
        ),
    ] = None,
) -> None:
    """Run a pipeline, or go on with one that was stopped.

    What is done is never done twice: outputs are named by a digest of their step, its config and its inputs.
    """
    from curate.core.engine import Resources
    from curate.core.progress import Progress
    from curate.pipeline import REPORT, Pipeline
    from curate.report.summary import summary_lines

    modes.restart_if_needed(bits)
    pipeline = Pipeline.load(config, set_ or [])
    if dry_run:
        _show_plan(pipeline, root)
        return
    folder = pipeline.folder(root)
    files.make_folder(folder)
    resources = Resources(
        workers=workers, gpus=gpus, retries=retries, timeout=timeout, keep_going=keep_going, bits=bits
    )
    with _log(folder) as log, _engine(on, address) as engine, Progress(progress.value, log) as shown:
        outputs = pipeline.run(root, engine, resources, shown, replay=replay)
        for line in summary_lines(outputs):
            shown.line(line)
        shown.line(f"report       {files.shown(files.join(folder, REPORT))}")


@app.command()
def plan(config: ConfigArgument, root: RootOption = "runs", set_: SetOption = None) -> None:
    """Show the steps in order, what is done, what a run would do, and what models would cost.

    The cost is estimated from a sample of rows, once the steps that the rows come from are done.
    """
    from curate.pipeline import Pipeline

    _show_plan(Pipeline.load(config, set_ or []), root)


def _show_plan(pipeline: Pipeline, root: str) -> None:
    from curate.generate.prices import dollars

    _print(f"{pipeline.name}: {len(pipeline.nodes)} steps in {files.shown(pipeline.folder(root))}")
    for planned in pipeline.plan(pipeline.folder(root)):
        rows = f", {planned.rows:,} rows" if planned.rows else ""
        state = f"done{rows}" if planned.done else "to do"
        reads = f"  <- {', '.join(planned.needs)}" if planned.needs else ""
        digest = planned.digest[:8] if planned.digest else "after its inputs"
        _print(f"  {planned.node.name:<14} {planned.node.kind:<11} {digest:<17} {state}{reads}")
        if planned.cost is not None:
            cost = planned.cost
            money = f"; about {dollars(cost.likely)}, {dollars(cost.worst)} at most" if cost.worst else ""
            _print(
                f"  {'':<14} {cost.rows:,} rows, about {cost.requests:,} requests, {cost.prompt_tokens:,} tokens in,"
                f" {cost.answer_tokens:,} out at most{money}"
            )


@app.command()
def status(
    run: Annotated[str, typer.Argument(help="The folder of a run, as runs/pretrain.", metavar="RUN")],
) -> None:
    """Show how far a run is: its steps, their rows, and what was quarantined."""
    from curate.pipeline import look, open_run
    from curate.report.summary import summary_lines

    for each in look(run):
        if each.dataset is not None:
            state = f"done   {each.dataset.rows:>10,} rows" if each.dataset.rows else "done"
        else:
            state = f"at work, {each.tasks:,} tasks done" if each.tasks else "to do"
        _print(f"  {each.step:<14} {each.kind:<11} {state}")
    for line in summary_lines(open_run(run)):
        _print(line)


@app.command()
def report(run: Annotated[str, typer.Argument(help="The folder of a run.", metavar="RUN")]) -> None:
    """Write the report of a run again: one HTML file that needs no network."""
    from curate.pipeline import open_run, write_report

    _print(write_report(run, open_run(run)))


@app.command()
def inspect(
    dataset: Annotated[str, typer.Argument(help="The folder of a dataset.", metavar="DATASET")],
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 3,
) -> None:
    """Show what a dataset holds: its step, columns, shards and first rows."""
    import orjson

    from curate.core.dataset import Dataset

    opened = Dataset.open(dataset)
    manifest = opened.manifest
    _print(
        f"{manifest.step} ({manifest.kind}), {manifest.rows:,} rows in {len(opened.shards)} shards, "
        f"digest {manifest.digest[:8]}"
    )
    if manifest.quarantined:
        _print(f"{manifest.quarantined:,} rows in quarantine")
    for each in manifest.bits:
        _print(f"  models computed on {each}")
    for name, count in manifest.counts.items():
        _print(f"  {name}: {count:,}")
    if not opened.shards:
        return
    for each in opened.schema():
        _print(f"  {each.name:<32} {each.type}")
    for row in next(iter(opened.read(opened.shards[0]))).slice(0, rows).to_pylist():
        _print(orjson.dumps({k: _short(v) for k, v in row.items()}, default=str, option=orjson.OPT_INDENT_2).decode())


def _short(value: object) -> object:
    if isinstance(value, list):
        return [_short(each) for each in value]
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return value[:200] + "..." if isinstance(value, str) and len(value) > 200 else value


@app.command()
def explain(
    run: Annotated[str, typer.Argument(help="The folder of a run.", metavar="RUN")],
    row: Annotated[str, typer.Argument(help="A row's id, or its beginning.", metavar="ROW")],
) -> None:
    """Say where a row came from, what every step found, and why it was kept or dropped."""
    from curate.explain.row import explain_row
    from curate.pipeline import RESOLVED, open_run

    for line in explain_row(list(open_run(run).values()), row, files.join(run, RESOLVED)):
        _print(line)


@app.command()
def verify(
    release: Annotated[str, typer.Argument(help="The folder of a release, or with --against of a run.")],
    against: Annotated[
        str | None, typer.Option(help="Another release, or for a run another run, to compare it with.", metavar="OTHER")
    ] = None,
) -> None:
    """Recompute everything that the manifest of a release says, and name what differs.

    With `--against`, see whether another release or run holds the same, value by value. Numbers of neural models may
    differ in their last bits where they were computed on another kind of processor: that is said, and is no failure.
    Shards whose digests agree are not read again.
    """
    if against is not None:
        compared = importlib.import_module("curate.cli.compare").compare(release, against)
        for line in compared.lines:
            _print(line)
        raise typer.Exit(0 if compared.same else 1)
    from curate.steps.release.verify import verify as verify_release

    problems = verify_release(release)
    for problem in problems:
        _print(problem)
    if problems:
        raise typer.Exit(1)
    _print(f"{release}: every file and row is as its manifest says")


app.command()(models.recipes)
app.command()(frontier.frontier)
app.add_typer(models.ledger, name="ledger")


@contextlib.contextmanager
def _engine(on: Where, address: str | None) -> Iterator[Engine]:
    from curate.core.engine.local import LocalEngine, spare_pandas

    spare_pandas()
    if on is Where.local:
        yield LocalEngine()
        return
    engine = importlib.import_module("curate.core.engine.ray").RayEngine(address)
    try:
        yield engine
    finally:
        engine.close()


@contextlib.contextmanager
def _log(folder: str) -> Iterator[Callable[[Event], None] | None]:
    """Events of this and earlier runs, with times; beside the outputs, never part of them."""
    if files.is_remote(folder):
        yield None
        return
    import orjson

    with open(files.join(folder, LOG), "ab") as stream:

        def log(event: Event) -> None:
            stream.write(orjson.dumps(event) + b"\n")
            stream.flush()

        yield log


def main() -> None:
    """The entry point: errors that a person can mend in one line, others with their traceback."""
    try:
        app()
    except CurateError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"curate: {error}", markup=False)
        sys.exit(error.exit_code)
