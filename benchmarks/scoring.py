"""MB/s of each scorer and of all together on one core, beside datatrove's filters on the same file, in turn.

    python benchmarks/scoring.py [--data ../shared/data] [--megabytes 8] [--scaling]

datatrove runs in a virtual environment of its own (build/datatrove), made on the first call. MB are 10^6 bytes of
UTF-8. Each figure is the best of three passes over all texts; ratios are of passes made in turn on the same core.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import zstandard

BUILD = Path("build")
PEER = BUILD / "datatrove"
PEER_PACKAGES = ["datatrove[processing]==0.10.1", "spacy==3.8.18"]


def read_texts(path: Path, megabytes: float) -> list[str]:
    with zstandard.open(path, "rt", encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for line in stream]
    size, taken = 0, []
    for text in texts:
        if size > megabytes * 1e6:
            break
        taken.append(text)
        size += len(text.encode())
    return taken


def best(function: Callable[[], object], passes: int = 3) -> float:
    times = []
    for _ in range(passes):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def peer(path: Path, megabytes: float) -> None:
    """Runs in the other environment: seconds of each of datatrove's filters over all texts, as JSON."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    texts = read_texts(path, megabytes)
    filters = {
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "c4": C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": FineWebQualityFilter(),
    }
    seconds = {}
    for name, each in filters.items():
        each.filter(Document(text="Hello there. This is it.", id="0"))
        start = time.perf_counter()
        for i, text in enumerate(texts):
            each.filter(Document(text=text, id=str(i)))
        seconds[name] = time.perf_counter() - start
    print(json.dumps(seconds))


def peer_seconds(path: Path, megabytes: float) -> dict[str, float]:
    python = PEER / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES, "zstandard"], check=True)
    command = [str(python), __file__, "--peer", str(path), "--megabytes", str(megabytes)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return dict(
        json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout.splitlines()[-1])
    )


def models(data: Path) -> tuple[str, str]:
    """A two-label bigram classifier and a 5-gram model of the prose in `data`, trained once."""
    from curate.text.normalise import TextForm
    from curate.train import count_shard, fit_ngram, train_fasttext

    folder = BUILD / "bench-models"
    if not (folder / "model.arpa").exists():
        prose = read_texts(data / "hq_text.dev.jsonl.zst", 6)
        chat = read_texts(data / "lowq_webtext_nltk.dev.jsonl.zst", 6)
        train_fasttext(prose, chat, str(folder), bucket=200_000)
        count_shard(prose, str(folder / "counts.parquet"), order=5, form=TextForm("ccnet_spaced", "punct"))
        fit_ngram([str(folder / "counts.parquet")], str(folder / "model.arpa"))
    return str(folder / "model.bin"), str(folder / "model.arpa")


def speed(data: Path, megabytes: float) -> None:
    import pyarrow as pa

    from curate.score import SCORERS
    from curate.text.batch import TextBatch

    path = data / "web_wet_trafilatura.dev.jsonl.zst"
    texts = read_texts(path, megabytes)
    size = sum(len(text.encode()) for text in texts) / 1e6
    array = pa.array(texts, pa.large_string())
    classifier, arpa = models(data)
    families = {  # as datatrove defines them, and its C4 as FineWeb sets it, like the filters above
        "gopher_quality": SCORERS["gopher_quality"](variant="datatrove"),
        "gopher_repetition": SCORERS["gopher_repetition"](variant="datatrove"),
        "c4": SCORERS["c4"](variant="paper", terminal_punctuation=False),
        "fineweb": SCORERS["fineweb"](),
    }
    others = {
        "language": SCORERS["language"](model=str(data / "lid.176.ftz")),
        "quality": SCORERS["quality"](model=classifier, label="hq"),
        "perplexity": SCORERS["perplexity"](model=arpa),
    }

    def run(*names: str) -> Callable[[], None]:
        def go() -> None:
            batch = TextBatch(array)
            for name in names:
                ({**families, **others})[name](batch)

        return go

    for name in {**families, **others}:
        run(name)()  # compiled and loaded before anything is timed
    theirs = peer_seconds(path, megabytes)
    print(f"{len(texts)} pages, {size:.1f} MB, one core of {platform.machine()}, load {os.getloadavg()[0]:.1f}")
    print(f"\n{'':<34}{'curate MB/s':>12}{'datatrove MB/s':>16}{'ratio':>8}")
    for name in families:
        ours = best(run(name))
        print(f"{name:<34}{size / ours:>12.1f}{size / theirs[name]:>16.2f}{theirs[name] / ours:>8.0f}")
    ours = best(run(*families))
    total = sum(theirs.values())
    print(f"{'the four together':<34}{size / ours:>12.1f}{size / total:>16.2f}{total / ours:>8.0f}")
    for name in others:
        print(f"{name:<34}{size / best(run(name)):>12.1f}")
    print(f"{'all seven together':<34}{size / best(run(*families, *others)):>12.1f}")


def scaling(data: Path) -> None:
    """Seconds of a score step for one and two workers, and the memory of a worker as the shards grow in number."""
    from curate.engine import Resources
    from curate.engine.local import LocalEngine
    from curate.pipeline import Pipeline
    from curate.progress import Progress

    classifier, arpa = (os.path.abspath(model) for model in models(data))
    texts = read_texts(data / "web_wet_trafilatura.dev.jsonl.zst", 8)

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
      quality: {{model: {classifier}, label: hq}}
      perplexity: {{model: {arpa}}}
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
                # As many cores as workers: Arrow's own threads would lend a lone worker the second core.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of test data")
    parser.add_argument("--megabytes", type=float, default=8, help="how much text to take")
    parser.add_argument("--scaling", action="store_true", help="instead: one against two workers, and memory")
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        peer(args.peer, args.megabytes)
        return
    if args.scaling:
        scaling(args.data)
        return
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    speed(args.data, args.megabytes)


if __name__ == "__main__":
    main()
