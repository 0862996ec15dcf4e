"""Seconds of a score step with one and two workers, and the memory of a worker as the shards grow in number.

Called by `python benchmarks/scoring.py --scaling`.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from scoring_worker import read_texts

from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.pipeline import Pipeline


def scaling(data: Path, models: Mapping[str, str]) -> None:
    """Seconds of a score step for one and two workers, and the memory of a worker as the shards grow in number."""
    texts = read_texts(str(data / "web_wet_trafilatura.dev.jsonl.zst"), 8)

    def prepare(folder: Path, copies: int) -> Pipeline:
        (folder / "in").mkdir(parents=True)
        for i in range(copies):
            with open(folder / "in" / f"{i:03d}.jsonl", "w") as out:
                out.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        config = folder / "config.yaml"
        config.write_text(f"""
name: scaling
steps:
  docs: {{read: {{path: {folder}/in, shard_bytes: 8000000}}}}
  scores:
    score:
      from: docs
      gopher_quality: {{}}
      gopher_repetition: {{}}
      c4: {{}}
      fineweb: {{}}
      quality: {{model: {models["quality"]}, label: hq}}
      perplexity: {{model: {models["ngram"]}}}
""")
        return Pipeline.load(str(config))

    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder) / "time", 30)
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(2):
            for workers in (1, 2):
                root = Path(folder) / f"runs-{turn}-{workers}"
                command = [sys.executable, "-m", "curate", "run", str(Path(folder) / "time" / "config.yaml")]
                command += ["--root", str(root), "--workers", str(workers), "--progress", "json"]
                # As many cores as workers: Arrow's own threads would give a lone worker the second core.
                cores = set(sorted(os.sched_getaffinity(0))[:workers])
                done = subprocess.run(
                    command,
                    check=True,
                    capture_output=True,
                    text=True,
                    preexec_fn=functools.partial(os.sched_setaffinity, 0, cores),
                )
                events = [json.loads(line) for line in done.stdout.splitlines()]
                seconds[workers].append(
                    next(e["seconds"] for e in events if e["event"] == "step-done" and e["step"] == "scores")
                )
        one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
        print("\nscore step over 231 MB in 30 shards, workers and cores:")
        print(f"one {one:.1f} s, two {two:.1f} s, ratio {one / two:.2f}")
        for copies in (2, 8, 32):
            pipeline = prepare(Path(folder) / f"memory-{copies}", copies)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with Progress("quiet") as quiet:
                pipeline.run(str(Path(folder) / "m"), LocalEngine(), Resources(workers=1), quiet)
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"peak memory after {copies} shards of 8 MB: {after / 1024:.0f} MB (before: {before / 1024:.0f})")
