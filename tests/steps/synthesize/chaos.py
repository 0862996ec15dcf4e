"""A run that is killed again and again, against a server with every fault on: what it costs, and what comes of it.

python -m tests.steps.synthesize.chaos --rows 2000 --kills 20
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.core.shards import read_shard
from curate.generate.prices import DOLLAR
from curate.generate.recorded import find_ledgers
from curate.pipeline import open_run
from tests.helpers import ROOT
from tests.llm.faults import BILLED, Faults
from tests.llm.server import Billed, Server, serve

PRICE = ("0.15", "0.60")
IN_FLIGHT = 16
CONFIG = """
name: chaos
endpoints:
  large: {{url: "{url}", model: m, in_flight: {in_flight}, timeout: 2, tries: 12, patience: 60}}
budget: {{usd: {usd}}}
prices: {prices}
steps:
  seeds: {{read: {{path: {seeds}, shard_bytes: {shard_bytes}}}}}
  made: {{synthesize: {{from: seeds, recipe: paraphrase, model: large}}}}
"""


@dataclass(frozen=True)
class Traces:
    """What is left of a run: its outcomes, rows, bill and ledger."""

    kills: int
    outcomes: Counter[str]
    ids: list[str]
    rows: list[str]
    bill: list[Billed]
    attempts: dict[str, tuple[int, str]]  # id -> money, state
    keys: Counter[str]  # how many answers each request has

    @property
    def repeated(self) -> int:
        """How often a question was billed that had been billed before."""
        return sum(count - 1 for count in Counter(each.digest for each in self.bill).values())


def answer(body: dict[str, object]) -> str:
    """Three rewordings, which follow from the prompt."""
    prompt = str(body["messages"][-1]["content"])  # type: ignore[index]
    number = prompt.split("row ")[1].split(" ")[0]
    return "\n".join(
        f"{i + 1}. The {word} thing of row {number} again." for i, word in enumerate(("red", "old", "odd"))
    )


def write_input(folder: Path, rows: int, url: str, usd: float, shards: int = 8) -> Path:
    """The seeds, prices and config of a run."""
    lines = [json.dumps({"text": f"This is row {i} of the seeds, with a few words to reword."}) for i in range(rows)]
    (folder / "seeds.jsonl").write_text("\n".join(lines))
    (folder / "prices.yaml").write_text(f"m: {{input: {PRICE[0]}, output: {PRICE[1]}}}\n")
    config = folder / "chaos.yaml"
    size = sum(map(len, lines)) // shards
    config.write_text(
        CONFIG.format(
            url=url, in_flight=IN_FLIGHT, usd=usd, prices=folder / "prices.yaml", seeds=folder / "seeds.jsonl",
            shard_bytes=size,
        )
    )  # fmt: skip
    return config


def start(config: Path, root: Path, workers: int, *more: str) -> subprocess.Popen[bytes]:
    """`curate run` in a process group of its own."""
    command = [sys.executable, "-m", "curate", "run", str(config), "--root", str(root), "--workers", str(workers)]
    return subprocess.Popen(
        [*command, "--retries", "30", "--progress", "plain", *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill_some(server: Server, process: subprocess.Popen[bytes], chance: random.Random, wanted: int) -> int:
    """Wait until requests of this run came, then a while, then kill a worker or everything; how many it killed."""
    before = int(server.stats()["requests"])  # type: ignore[call-overload]
    while process.poll() is None and server.stats()["requests"] == before:
        time.sleep(0.02)
    kills = 0
    while kills < wanted and process.poll() is None:
        time.sleep(chance.uniform(0.05, 1.2))
        workers = children(process.pid)
        if workers and chance.random() < 0.5:
            os.kill(chance.choice(workers), signal.SIGKILL)
            kills += 1
            continue
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        break
    return kills


def children(parent: int) -> list[int]:
    """The workers of a process: those it spawned that run Python's multiprocessing."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(status[1]) == parent and b"spawn_main" in command:
            found.append(int(folder.name))
    return sorted(found)


def chaos(
    folder: Path, rows: int, kills: int, *, seed: int = 0, workers: int = 2, usd: float = 5.0, billed: bool = True
) -> Traces:
    """Kill a run so often, then let it end; what is left of it. Without `billed` no fault bills what nobody sees."""
    chance = random.Random(seed)
    faults = Faults.all(0.02, seconds=4.0)
    if not billed:
        faults = replace(faults, **dict.fromkeys(BILLED, 0.0))
    with serve(answer=answer, faults=faults, prices={"m": PRICE}, latency=0.05) as server:
        config = write_input(folder, rows, server.url, usd)
        killed = 0
        while True:
            process = start(config, folder / "runs", workers)
            killed += kill_some(server, process, chance, kills - killed)
            out, _ = process.communicate(timeout=300)
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, out.decode()
        return traces_of(folder / "runs" / "chaos", killed, server.bill())


def traces_of(run: Path, kills: int, bill: Sequence[Billed]) -> Traces:
    """What a finished run says of itself."""
    outputs = open_run(str(run))
    made = outputs["made"]
    outcomes, ids = Counter[str](), []
    for shard in made.shards:
        for batch in read_shard(f"{made.folder}/fates/{shard.name}", ["id", "fate"]):
            outcomes.update(batch.column("fate").to_pylist())
            ids += batch.column("id").to_pylist()
    rows = [
        key for shard in made.shards for batch in made.read(shard, ["id"]) for key in batch.column("id").to_pylist()
    ]
    attempts: dict[str, tuple[int, str]] = {}
    keys = Counter[str]()
    for path in find_ledgers(str(run / "ledger")):
        with sqlite3.connect(path) as ledger:
            for key, money, state in ledger.execute("SELECT id, money, state FROM attempts"):
                attempts[key] = (money, state)
            keys.update(key.hex() for (key,) in ledger.execute("SELECT key FROM responses"))
    return Traces(kills, outcomes, ids, rows, list(bill), attempts, keys)


def check(traces: Traces, rows: int, usd: float, workers: int) -> None:
    """What must hold, whatever was killed."""
    # No row is lost or doubled, and each has one outcome.
    assert len(traces.ids) == len(set(traces.ids)) == rows == sum(traces.outcomes.values())
    assert set(traces.outcomes) <= {"accepted", "rejected", "failed"}
    assert len(traces.rows) == len(set(traces.rows))
    # What the server billed stands in the ledger, at the same price where the price is known.
    prices = {each.attempt: each.price for each in traces.bill}
    assert None not in prices and len(prices) == len(traces.bill)
    assert set(prices) <= set(traces.attempts)
    settled = {key: money for key, (money, state) in traces.attempts.items() if state == "settled"}
    assert settled == {key: prices[key] for key in settled}
    assert not [key for key, (_, state) in traces.attempts.items() if state == "free" and key in prices]
    assert not [key for key, (_, state) in traces.attempts.items() if state == "sent"]
    # Where it is not known, its worst case stands; so what may have been spent is no less than what was.
    billed, ledger = sum(prices.values()), sum(money for money, _ in traces.attempts.values())
    assert billed <= ledger <= usd * DOLLAR
    # A request has one answer at most; what was asked again had none that came back.
    assert set(traces.keys.values()) <= {1}
    answered = Counter(each.digest for each in traces.bill if traces.attempts[str(each.attempt)][1] == "settled")
    assert set(answered.values()) <= {1}
    lost = sum(state == "lost" for _, state in traces.attempts.values())
    assert lost <= traces.kills * workers * IN_FLIGHT


def report(traces: Traces) -> str:
    """The figures of a run in some lines."""
    states = Counter(state for _, state in traces.attempts.values())
    billed = sum(each.price for each in traces.bill)
    stands = sum(money for money, state in traces.attempts.values() if state in ("stands", "lost"))
    unknown = [each.price for each in traces.bill if traces.attempts[str(each.attempt)][1] != "settled"]
    settled = sum(money for money, state in traces.attempts.values() if state == "settled")
    return "\n".join(
        [
            f"kills {traces.kills}; outcomes {dict(traces.outcomes)}; rows made {len(traces.rows)}",
            f"attempts {dict(states)}; requests with an answer {len(traces.keys)}; billed again {traces.repeated}",
            f"server's bill ${billed / DOLLAR:.6f} = settled ${settled / DOLLAR:.6f}"
            f" + ${sum(unknown) / DOLLAR:.6f} of {len(unknown)} attempts whose end was not seen,"
            f" for which ${stands / DOLLAR:.6f} stands",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unbilled", action="store_true", help="leave out the faults that bill what nobody sees")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = chaos(Path(folder), args.rows, args.kills, seed=args.seed, billed=not args.unbilled)
        check(found, args.rows, 5.0, 2)
        print(report(found))


if __name__ == "__main__":
    main()
