"""The speed and the quality of what selects instructions; each part prints its own table.

    python benchmarks/selection.py [gradients store projection scale] [--shared ../shared]

One thread; nothing else should run. Seconds are of the processor, of the fastest of several turns, so that other work
on the machine changes them little.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

from selection_gradients import gradients, projection, store
from selection_scale import scale

PARTS: dict[str, Callable[[Path], None]] = {
    "gradients": gradients,
    "projection": projection,
    "store": store,
    "scale": scale,
}


def main() -> None:
    """Run the parts that are asked for, or all."""
    parser = argparse.ArgumentParser(description="Time and measure selection.")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], help="which; all by default")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder of the test data")
    arguments = parser.parse_args()
    for part in arguments.parts or PARTS:
        PARTS[part](arguments.shared)


if __name__ == "__main__":
    main()
