"""Compare what every pick of a quickstart run took with the truth that the generator wrote beside every row.

python configs/quickstart/check_selection.py runs/quickstart-selection arithmetic
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from curate.core.dataset import Dataset
from curate.core.errors import CurateError
from curate.pipeline import open_run


def main(run: str, task: str) -> None:
    """Print for the pool and for every pick how many rows are of the target's task, and how many are flawed."""
    outputs = open_run(run)
    pool = outputs["pool"]
    truth = {row["id"]: (row["task"] == task, row["flaw"] is not None) for row in rows(pool, ["id", "task", "flaw"])}
    if not any(wanted for wanted, _ in truth.values()):
        sys.exit(f"check: no row of the pool is of the task {task!r}")
    print(f"\nagainst the truth         rows  of {task:<12} flawed  both right")
    tell("the pool", list(truth.values()))
    for name, dataset in outputs.items():
        if dataset.manifest.kind == "select":
            taken = [truth[row["id"]] for row in rows(dataset, ["id", "keep"]) if row["keep"]]
            tell(f"{name}, by {dataset.manifest.details['selector']}", taken)


def rows(dataset: Dataset, columns: list[str]) -> Iterator[dict[str, object]]:
    """The rows of all shards."""
    for shard in dataset.shards:
        for batch in dataset.read(shard, columns):
            yield from batch.to_pylist()


def tell(name: str, found: list[tuple[bool, bool]]) -> None:
    """A line of the table: rows, and the shares of them."""
    wanted, flawed = (sum(row[i] for row in found) / len(found) for i in (0, 1))
    both = sum(on and not flaw for on, flaw in found) / len(found)
    print(f"  {name:<24} {len(found):>4}  {wanted:>15.0%}  {flawed:>6.0%}  {both:>10.0%}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python configs/quickstart/check_selection.py RUN TASK")
    try:
        main(sys.argv[1], sys.argv[2])
    except CurateError as error:
        sys.exit(f"check: {error}")
