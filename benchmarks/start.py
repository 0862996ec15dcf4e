"""Seconds from the start of a worker to its first scored batch, with the machine code on disk.

python benchmarks/start.py
"""

from __future__ import annotations

import subprocess
import sys

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

if __name__ == "__main__":
    subprocess.run([sys.executable, "-m", "curate.warm"], check=True)
    for _ in range(5):
        subprocess.run([sys.executable, "-c", WORKER], check=True)
