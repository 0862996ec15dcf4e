"""How fast models are asked on record and within a budget, how fast answers are replayed, and in how much memory.

    python benchmarks/synthesis.py [--requests 4000] [--peers]

The server is the tests' loopback server in a process of its own. Every figure is of a process of its own, and the ways
take turns, so that what else the machine does meets them all. No prompt comes twice: the ledger answers nothing. With
`--peers` distilabel and Bespoke Curator run too, in virtual environments below build/, made on the first call.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from synthesis_worker import MODEL, PRICES, prompts

BUILD = Path("build")
WORKER = str(Path(__file__).with_name("synthesis_worker.py"))
PEERS = {
    "distilabel": ["distilabel[openai]==1.5.3", "requests"],  # which it imports and does not ask for
    "curator": ["bespokelabs-curator==0.1.31"],
}
QUIET = {  # no network but loopback, and a cache of one run alone
    "TELEMETRY_ENABLED": "0",
    "BESPOKE_CURATOR_TRACKER_DISABLED": "1",
    "CURATOR_VIEWER": "0",
    "CURATOR_DISABLE_CACHE": "1",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "HF_HUB_OFFLINE": "1",
    "OPENAI_API_KEY": "none",
}
LATENCY = 0.05
IN_FLIGHT = (64, 512)
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "aiohttp and orjson alone": ("aiohttp", {}),
    "`openai`, over httpx": ("openai", {"transport": "httpx"}),
    "`openai`, over aiohttp": ("openai", {"transport": "aiohttp"}),
    "Curate, ledger and budget": ("curate", {}),
    "distilabel, OpenAILLM": ("distilabel", {}),
    "Bespoke Curator, LLM": ("curator", {}),
}
BASE = "`openai`, over aiohttp"
Took = dict[str, float]


def python_of(way: str) -> str | None:
    """The interpreter that a way runs with; None where it does not install."""
    if way not in PEERS:
        return sys.executable
    folder = BUILD / way
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        if subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS[way]]).returncode:
            print(f"{way} does not install here and is left out", file=sys.stderr)
            return None
        done.touch()
    return str(python)


@contextlib.contextmanager
def serving(latency: float) -> Iterator[str]:
    """The url of the loopback server while the block lasts."""
    command = [sys.executable, WORKER, "server", json.dumps({"latency": latency})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment("server")) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def environment(way: str, folder: str = "") -> dict[str, str]:
    """Of a process: Curate's own finds the tests' server; a peer finds nothing of Curate and tells nobody."""
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if way not in PEERS:
        return {**own, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    # Bespoke Curator counts tokens with tiktoken, which would fetch its table; litellm has brought one along.
    tables = [str(each.resolve()) for each in (BUILD / way).glob("lib/python*/site-packages/litellm/*/tokenizers")]
    return {**own, **QUIET, "CURATOR_CACHE_DIR": f"{folder}/{way}", "TIKTOKEN_CACHE_DIR": "".join(tables)}


def measure(way: str, python: str, *, folder: str = "", **args: object) -> Took | str:
    """What a way took, or the last line of what it said instead."""
    command = [python, WORKER, way, json.dumps({**args, "folder": folder})]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=environment(way, folder))
    except subprocess.TimeoutExpired:
        return "no end after 20 minutes"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no word"])[-1][:200]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def asking(url: str, folder: str, requests: int, rounds: int, peers: bool) -> None:
    """The table of requests a second."""
    failed: dict[str, str] = {}
    pythons: dict[str, str] = {}
    for way, _ in WAYS.values():
        if (peers or way not in PEERS) and (python := python_of(way)):
            pythons[way] = python
    print(f"{requests:,} requests a round, {rounds} rounds in turn; the server answers after {LATENCY * 1000:.0f} ms\n")
    print("| | in flight | requests a second, best | median | of the bare client's, best | median | CPU ms a request |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for at_once in IN_FLIGHT:
        found: dict[str, list[Took]] = {}
        for turn in range(rounds):
            for name, (way, more) in WAYS.items():
                if way not in pythons or name in failed:
                    continue
                seed = f"{way} {more.get('transport', '')} {at_once} {turn}"
                args = {"url": url, "seed": seed, "in_flight": at_once, "requests": requests, **more}
                took = measure(way, pythons[way], folder=folder, **args)
                if isinstance(took, str):
                    failed[name] = took
                else:
                    found.setdefault(name, []).append(took)
        rates = {name: [requests / each["seconds"] for each in tooks] for name, tooks in found.items()}
        for name, tooks in found.items():
            best, median = max(rates[name]), statistics.median(rates[name])
            shares = [f"{of(rates[name]) / of(rates[BASE]):.2f}" for of in (max, statistics.median)]
            cpu = min(each["cpu"] for each in tooks) / requests * 1000
            print(f"| {name} | {at_once} | {best:.0f} | {median:.0f} | {shares[0]} | {shares[1]} | {cpu:.2f} |")
    for name, why in failed.items():
        print(f"\n{name}: failed ({why})")


def pipeline(url: str, folder: Path, rows: int) -> Callable[..., Took]:
    """Runs of a pipeline that paraphrases so many rows of one shard; its last step counts."""
    folder.mkdir(parents=True)
    with open(folder / "rows.jsonl", "w") as out:
        out.writelines(json.dumps({"text": text}) + "\n" for text in prompts(f"rows {rows}", rows))
    (folder / "prices.yaml").write_text(f"{MODEL}: {{input: {PRICES[0]}, output: {PRICES[1]}}}\n")
    before = f"""
name: benchmark
endpoints: {{large: {{url: "{url}", model: {MODEL}}}}}
budget: {{usd: 1000}}
prices: {folder}/prices.yaml
LEDGERS
steps:
  seeds: {{read: {{path: {folder}/rows.jsonl, shard_bytes: 1000000000}}}}
"""
    last = "  made: {synthesize: {from: seeds, recipe: paraphrase, model: large}}\n"

    def run(root: str, *, replay: bool, ledgers: str = "") -> Took:
        text = before.replace("LEDGERS", f"ledgers: {ledgers}" if ledgers else "")
        took = measure("pipeline", sys.executable, root=str(folder / root), before=text, last=last, replay=replay)
        if isinstance(took, str):
            raise SystemExit(f"the pipeline failed: {took}")
        return took

    return run


def replaying(url: str, folder: Path, sizes: list[int]) -> None:
    """The table of rows a second and memory, asked and replayed."""
    print("\n| paraphrase, one shard, one worker, 0 ms | rows | rows a second | CPU ms a row | peak MB | before it |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for rows in sizes:
        run = pipeline(url, folder / str(rows), rows)
        first = run("first", replay=False)
        again = run("again", replay=True, ledgers=str(folder / str(rows) / "first" / "benchmark" / "ledger"))
        assert first["rows"] == again["rows"] > 0
        for name, took in (("asked", first), ("replayed", again)):
            speed, cpu = rows / took["seconds"], took["cpu"] / rows * 1000
            peak = f"{took['peak']:.0f} | {took['before']:.0f}"
            print(f"| {name} | {rows:,} | {speed:.0f} | {cpu:.2f} | {peak} |")


def recording(folder: str, rounds: int) -> None:
    """The table of the ledger alone."""
    print("\n| ledger alone: begun, then settled with an answer | answers a second, best | median | CPU ms an answer |")
    print("| --- | ---: | ---: | ---: |")
    for at_once in (1, *IN_FLIGHT):
        count = 1000 if at_once == 1 else 20_000
        found: list[Took] = []
        for turn in range(rounds):
            seed = f"ledger {at_once} {turn}"
            took = measure("ledger", sys.executable, folder=folder, seed=seed, in_flight=at_once, requests=count)
            if isinstance(took, str):
                raise SystemExit(f"the ledger failed: {took}")
            found.append(took)
        rates = [count / each["seconds"] for each in found]
        name = "one at a time, two commits each" if at_once == 1 else f"{at_once} at once, commits shared"
        cpu = min(each["cpu"] for each in found) / count * 1000
        print(f"| {name} | {max(rates):.0f} | {statistics.median(rates):.0f} | {cpu:.2f} |")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000, help="requests a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds")
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 5000, 8000, 32_000], help="rows of the pipelines")
    parser.add_argument("--peers", action="store_true", help="distilabel and Bespoke Curator too")
    args = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {datetime.date.today()}, load {os.getloadavg()[0]:.1f};")
    # Not in /tmp, which may be in memory: the ledger's syncs are to reach a disk.
    with tempfile.TemporaryDirectory(dir=BUILD.resolve()) as folder:
        with serving(LATENCY) as url:
            asking(url, folder, args.requests, args.rounds, args.peers)
        recording(folder, args.rounds)
        with serving(0.0) as url:
            replaying(url, Path(folder) / "pipelines", args.rows)


if __name__ == "__main__":
    main()
