"""The commands about models: recipes, and the ledger of a run.

curate recipes paraphrase
curate ledger bill runs/demo
"""

from __future__ import annotations

import os
import textwrap
from typing import Annotated

import typer
from rich.console import Console

from curate.cli.table import aligned
from curate.core import files
from curate.core.errors import ConfigError

ledger = typer.Typer(no_args_is_help=True, help="What a run asked of models: its bill, and its answers as a file.")

_NAME = 18  # characters for a recipe's name
RunArgument = Annotated[str, typer.Argument(help="The folder of a run, as runs/demo.", metavar="RUN")]


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's YAML.", metavar="NAME")] = None,
) -> None:
    """List the recipes of synthesis, or show one.

    A recipe of your own is a YAML file: copy one with `curate recipes NAME > mine.yaml`, and name the file in the
    pipeline.
    """
    from curate.steps.synthesize.recipe import load_recipe, names, source

    console = Console(highlight=False, soft_wrap=True)
    if name is not None:
        load_recipe(name)
        console.print(source(name) if not name.endswith((".yaml", ".yml")) else "", markup=False, end="")
        return
    wide = max(40, min(100, console.width) - _NAME)
    for each in names():
        recipe = load_recipe(each)
        reads = ", ".join([*recipe.needs, *(f"({column})" for column in recipe.optional)]) or "nothing"
        summary = f"reads {reads}" + (f"; set {', '.join(recipe.params)}" if recipe.params else "")
        lines = [*textwrap.wrap(recipe.about, wide), *textwrap.wrap(summary, wide)]
        for i, line in enumerate(lines):
            console.print(f"{each if i == 0 else '':<{_NAME}}{line}", markup=False)


def _ledgers(run: str) -> list[str]:
    from curate.generate.recorded import find_ledgers
    from curate.pipeline import LEDGER

    found = find_ledgers(files.join(run, LEDGER)) if os.path.isdir(run) else []
    if not found:
        raise ConfigError(f"{run}: holds no ledger; name the folder of a run that asked a model")
    return found


@ledger.command()
def bill(run: RunArgument) -> None:
    """Show what a run spent, or may have: by model, and how well that is known."""
    from curate.generate.access import spent_so_far
    from curate.generate.ledger import states_in
    from curate.generate.prices import dollars
    from curate.pipeline import LEDGER

    console = Console(highlight=False)
    paths = _ledgers(run)
    spent = spent_so_far(files.join(run, LEDGER))
    if not spent:
        console.print("nothing was spent: every answer was on record before", markup=False)
        return
    attempts: dict[str, dict[str, int]] = {}
    for path in paths:
        for model, states in states_in(path).items():
            known = attempts.setdefault(model, {})
            for state, count in states.items():
                known[state] = known.get(state, 0) + count
    rows = [["model", "attempts", "requests", "tokens", "at most"]]
    for model, amount in sorted(spent.items()):
        summary = ", ".join(f"{count:,} {state}" for state, count in sorted(attempts[model].items()))
        rows.append([model, summary, f"{amount.requests:,}", f"{amount.tokens:,}", dollars(amount.money)])
    console.print(aligned(rows), markup=False, soft_wrap=True)
    console.print(
        "settled: billed as the endpoint said. free: refused, not billed. stands, lost: what became of it is not"
        " known, so that its worst case counts.",
        markup=False,
    )


@ledger.command()
def export(
    run: RunArgument,
    path: Annotated[str, typer.Argument(help="A .parquet or .jsonl file.", metavar="FILE")],
) -> None:
    """Write every recorded answer of a run to a file, which `ledgers:` in a pipeline replays."""
    from curate.generate.recorded import export as export_answers

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{export_answers(_ledgers(run), path):,} answers in {path}", markup=False)
