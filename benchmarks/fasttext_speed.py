"""fastText models scored here and by the library: speed on the same texts, in turns, and memory of a worker.

    taskset -c 0 python benchmarks/fasttext_speed.py ../shared

Trains two classifiers of two labels with bigrams, with DCLM's settings (100 dimensions, 2 million buckets) and smaller
(32, 200,000), on prose against web pages, and takes lid.176.ftz as it is. Each is timed on the 7.7 MB of
`web_wet_trafilatura.dev`: the library's `predict` of the list of lines, which are made beforehand, against `predict` of
the batch. The time is the processor's, the best of several turns. The memory is what a fresh process grows by.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import fasttext
import numpy as np
import orjson
import zstandard

from curate.models.fasttext.file import read_model
from curate.models.fasttext.linear import linear_model
from curate.models.fasttext.train import train_fasttext
from curate.text.batch import TextBatch

TURNS = 7
_GROWTH = """
import re, sys
import fasttext
from curate.models.fasttext.file import read_model
from curate.models.fasttext.linear import linear_model
from curate.text.batch import TextBatch
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
_, who, model, small, labels = sys.argv
linear_model(read_model(small)).predict(TextBatch.of(["a word"]))  # the kernels are loaded before
before = resident()
if who == "library":
    loaded = fasttext.load_model(model)
    loaded.predict(["a word"])
else:
    loaded = linear_model(read_model(model), labels.split(",") if labels else None)
    loaded.predict(TextBatch.of(["a word"]))
print(resident() - before)
"""


def texts(folder: Path, name: str) -> list[str]:
    with zstandard.open(folder / "data" / f"{name}.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        return [orjson.loads(line)["text"] for line in stream]


def turns(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """The best processor time of each, in seconds."""
    best = [float("inf"), float("inf")]
    for _ in range(TURNS):
        for i, call in enumerate((one, other)):
            started = time.thread_time()
            call()
            best[i] = min(best[i], time.thread_time() - started)
    return best[0], best[1]


def growth(who: str, model: str, small: str, wanted: list[str] | None) -> float:
    """Megabytes by which a process grows when it loads a model and scores a text."""
    command = [sys.executable, "-c", _GROWTH, who, model, small, ",".join(wanted or [])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(folder: Path) -> None:
    pages = texts(folder, "web_wet_trafilatura")
    prose = texts(folder, "hq_text")
    size = sum(len(page.encode()) for page in pages) / 1e6
    lines = [" ".join(page.strip().splitlines()) for page in pages]
    batch = TextBatch.of(pages)
    lid = str(folder / "data" / "lid.176.ftz")
    print(f"{len(pages)} pages, {size:.1f} MB; MB/s of one core, and MB of memory\n")
    print("| model | library | here | ratio | largest difference | memory, library | memory, here |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as place:
        classes = sorted(set(prose) - set(pages)), sorted(set(pages) - set(prose))
        dclm = train_fasttext(*classes, f"{place}/dclm").model
        small = train_fasttext(*classes, f"{place}/small", dim=32, bucket=200_000).model
        for name, model, wanted in (
            ("2 labels, bigrams, dim 100, 2M buckets", dclm, ["__label__hq"]),
            ("2 labels, bigrams, dim 32, 200k buckets", small, ["__label__hq"]),
            ("lid.176.ftz", lid, None),
        ):
            library, here = fasttext.load_model(model), linear_model(read_model(model), wanted)
            k = -1 if wanted else 1
            names, values = library.predict(lines, k=k)
            chosen = wanted[0] if wanted else None
            found = [dict(zip(n, v, strict=True)) for n, v in zip(names, values, strict=True)]
            expected = [each.get(chosen, 0.0) if chosen else max(each.values()) for each in found]
            _, scores = here.predict(batch)
            difference = np.abs(np.clip(np.array(expected) - 1e-5, 0, 1) - scores).max()
            slow, fast = turns(
                lambda library=library, k=k: library.predict(lines, k=k), lambda here=here: here.predict(batch)
            )
            memory = [growth(who, model, small, wanted) for who in ("library", "here")]
            print(
                f"| {name} | {size / slow:.1f} | {size / fast:.1f} | {slow / fast:.1f} | {difference:.1e}"
                f" | {memory[0]:.0f} | {memory[1]:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
