"""Seconds of the processor for commands that compute nothing, and from a worker's start to its first scored batch.

    python configs/quickstart/generate.py build/quickstart
    python benchmarks/start.py

The machine code is on disk, and so is Python's of all modules (not so where PYTHONDONTWRITEBYTECODE is set).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

COMMANDS = (["--help"], ["plan", "configs/quickstart/pipeline.yaml"])

WORKER = """
import time
begin, cpu = time.perf_counter(), time.process_time()
import functools
import pyarrow as pa
from curate.steps.score import SCORERS
from curate.steps.score.step import score_batch
from curate.text.columns import names
imported = time.perf_counter()
families = ("gopher_quality", "gopher_repetition", "c4", "fineweb")
scorers = {name: functools.partial(SCORERS[name])() for name in families}
texts = names(["A line of text, which is short.\\nAnother one.", "Grüße – „so“, it's [1] said."])
score_batch(scorers, pa.RecordBatch.from_arrays([names(["a", "b"]), texts], ["id", "text"]))
end = time.perf_counter()
print(f"imports {imported - begin:.2f} s, first batch {end - imported:.2f} s, together {end - begin:.2f} s", end=", ")
print(f"of the processor {time.process_time() - cpu:.2f} s")
"""


def spent(arguments: list[str]) -> float:
    """Seconds of the processor, user and system, for one command."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "curate", *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


if __name__ == "__main__":
    for arguments in COMMANDS:
        spent(arguments)
        seconds = [spent(arguments) for _ in range(5)]
        summary = f"median {statistics.median(seconds):.2f} s of the processor, of 5 from {min(seconds):.2f} s"
        print(f"curate {' '.join(arguments)}: {summary}")
    subprocess.run([sys.executable, "-m", "curate.warm"], check=True)
    for _ in range(5):
        subprocess.run([sys.executable, "-c", WORKER], check=True)
