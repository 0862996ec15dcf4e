"""Whether a selection by gradients does what it promises, on a small language model: prints the figures of the docs.

    python -m benchmarks.selection_proofs ../shared

From the root of the repository, with the extra `neural`. The settings are those of `tests/steps/select/influence.py`,
in full: steps of training against predicted changes of loss; wrong answers found by self-influence; planted rows found
by `less`, with each optimizer's mode and kind of store; and 100 trainings on random halves of a pool. About five
minutes on one core.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from tests.steps.select import influence
from tests.steps.select.influence import Planted

# Optimizer, kind of store, and how many pools.
PLANTED = [("less", "int8", 10), ("adam", "int8", 5), ("none", "int8", 5), ("less", "float16", 5), ("less", "sign", 5)]
T = TypeVar("T")


def inside(setting: Callable[..., T], shared: Path, base: str, **arguments: object) -> T:
    """What a setting finds in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return setting(shared, base, Path(folder), **arguments)


def summary(mode: str, kind: str, found: list[Planted]) -> str:
    """A row of the table."""
    precision = [each.precision for each in found]
    wins = sum(each.loss < each.random for each in found)
    means = (np.mean([getattr(each, name) for each in found]) for name in ("loss", "random", "untrained"))
    noise = np.mean([each.inside_noise for each in found])
    return (
        f"| {mode} | {kind} | {np.mean(precision):.2f} ({min(precision):.2f} to {max(precision):.2f}) | "
        + " | ".join(f"{each:.3f}" for each in means)
        + f" | {wins} of {len(found)} | {noise:.0%} |"
    )


def main(shared: Path) -> None:
    """Print every figure as it comes."""
    with tempfile.TemporaryDirectory() as folder:
        base = influence.train_base(shared, Path(folder))
        steps = inside(influence.take_steps, shared, base, rows=100)
        slope = np.polyfit(steps.predicted, steps.changes, 1)[0]
        print(f"steps: Pearson {steps.pearson:.4f}, slope {slope:.3f} over {len(steps.changes)} rows", flush=True)
        for seed in range(3):
            found = inside(influence.find_mislabelled, shared, base, rows=200, seed=seed)
            print(f"mislabelled, seed {seed}: AUROC {found:.3f}", flush=True)
        print("| optimizer | store | on target | loss, picks | loss, random | untrained | better | inside the noise |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for optimizer, kind, pools in PLANTED:
            planted = [
                inside(influence.find_planted, shared, base, seed=seed, optimizer=optimizer, kind=kind)
                for seed in range(pools)
            ]
            print(summary(optimizer, kind, planted), flush=True)
        halves = inside(
            influence.retrain_on_halves,
            shared,
            base,
            subsets=100,
            rows=20,
            held=16,
            tasks=(*influence.TASKS, "gsm8k"),
        )
        print(f"linear datamodelling score {halves.score:.3f}, p {halves.p:.4f}, by chance ±{halves.chance.std():.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
