"""Does a model learn more from the half of a mixed pool that a scorer prefers than from a random half?

    python benchmarks/better_half.py [--data ../shared/data] [--seeds 3] [--tokens 500000]

For each seed, the documents of `hq_text` are dealt into three: some are held out, some are the reference that the
scorers learn from, some go into the pool. The pool also has web pages as they come (English and German), chat and ads,
and corrupted prose, all in pieces of a thousand characters, at most 20 of a document. Each scorer chooses half of the
pool's tokens. A 4-gram model and a small causal LM, both over the same byte-pair tokens, learn from that half, and the
table has their perplexity per token on the held-out prose: the mean over the seeds, and the mean and standard
deviation of its ratio to that of the random half. `good prose first` knows where each piece is from; no scorer can be
expected to beat it by much.

All of it is pipelines below build/better-half, so that what is done is not done again.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow.parquet as pq
from pool import make
from tokenizers import Tokenizer

BUILD = Path("build/better-half")
SMALL = (
    "vocabulary: 1024, layers: 2, width: 128, heads: 4, kv_heads: 2, context: 128,"
    " batch_tokens: 1024, lr: 0.004, held_out: 0.02"
)
SCORES = """
name: run
steps:
  pool: {read: {path: FOLDER/pool.jsonl}}
  reference: {read: {path: FOLDER/reference.jsonl}}
  labelled: {read: {path: FOLDER/labelled.jsonl}}
  classifier: {train: {fasttext: {positive: reference, negative: pool, dim: 32, bucket: 200000, epoch: 25}}}
  words: {train: {ngram: {from: reference, order: 5}}}
  proxy: {train: {causal_lm: {from: reference, SMALL, tokens: TOKENS}}}
  weights: {train: {dsir: {target: reference, raw: pool}}}
  judge: {train: {embedding: {from: labelled, label: label, encoder: proxy}}}
  scores:
    score:
      from: pool
      gopher_quality: {}
      gopher_repetition: {}
      fineweb: {}
      c4: {variant: paper}
      markup: {}
      language: {model: DATA/lid.176.ftz, languages: [en]}
      quality: {model: classifier}
      perplexity: {model: words}
      causal_lm: {model: proxy}
      dsir: {model: weights}
      embedding: {model: judge}
  rules-gopher-quality: {filter: {from: scores, rules: [{preset: gopher-quality}]}}
  rules-gopher-repetition: {filter: {from: scores, rules: [{preset: gopher-repetition}]}}
  rules-fineweb-quality: {filter: {from: scores, rules: [{preset: fineweb-quality}]}}
  rules-c4-page-paper: {filter: {from: scores, rules: [{preset: c4-page-paper}]}}
"""
LEARN = """
name: run
steps:
  half: {read: {path: HALF_TEXTS}}
  pieces: {read: {path: HALF_PIECES}}
  held: {read: {path: HELD_TEXTS}}
  held_pieces: {read: {path: HELD_PIECES}}
  ngram: {train: {ngram: {from: pieces, order: 4, normaliser: none, tokeniser: whitespace}}}
  small: {train: {causal_lm: {from: half, tokenizer: TOKENIZER, SMALL, tokens: TOKENS, seed: SEED}}}
  causal: {score: {from: held, causal_lm: {model: small}}}
  grams: {score: {from: held_pieces, perplexity: {model: ngram}}}
"""
RULES = ("gopher-quality", "gopher-repetition", "fineweb-quality", "c4-page-paper")
Numbers = npt.NDArray[np.float64]
Table = dict[str, npt.NDArray[np.generic]]


def run(folder: Path, text: str, values: Mapping[str, object]) -> Path:
    """Run a pipeline, the words in capitals replaced; the folder of its run."""
    for word, value in values.items():
        text = text.replace(word, str(value))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.yaml").write_text(text)
    command = [sys.executable, "-m", "curate", "run", str(folder / "pipeline.yaml"), "--root", str(folder)]
    subprocess.run([*command, "--progress", "quiet", "--workers", "1"], check=True, stdout=subprocess.DEVNULL)
    return folder / "run"


def columns(run: Path, step: str) -> Table:
    """The columns of a step's output, in the order of its rows."""
    (manifest,) = run.glob(f"{step}-*/manifest.json")
    table = pq.read_table(sorted(manifest.parent.glob("part-*.parquet")))
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def model(run: Path, step: str) -> str:
    """Where the model of a train step lies."""
    (manifest,) = run.glob(f"{step}-*/manifest.json")
    return str((manifest.parent / orjson.loads(manifest.read_bytes())["details"]["model"]).resolve())


def middle(values: Numbers) -> Numbers:
    """Closeness to the median."""
    return -np.abs(values - np.median(values))


def preferences(run: Path, chance: np.random.Generator) -> dict[str, Numbers]:
    """By name of the choice: a number for each piece of the pool, the higher the sooner it is taken."""
    found = columns(run, "scores")
    scores = {name: np.nan_to_num(v.astype(np.float64)) for name, v in found.items() if v.dtype.kind in "fiu"}
    rules = sum(columns(run, f"rules-{preset}")["keep"].astype(np.float64) for preset in RULES)
    english = np.where(found["language"] == "en", scores["language_score"], 0.0)
    noise = chance.gumbel(size=len(english))
    return {
        "random": np.zeros(len(english)),
        "good prose first": (columns(run, "pool")["kind"] == "good").astype(np.float64),
        "published rules passed (Gopher, C4, FineWeb)": np.asarray(rules),
        "English by lid.176": english,
        "fastText, reference against pool": scores["quality"],
        "5-gram perplexity, low": -scores["perplexity"],
        "5-gram perplexity, middle": middle(scores["perplexity"]),
        "causal LM bits per byte, low": -scores["causal_lm"],
        "causal LM bits per byte, middle": middle(scores["causal_lm"]),
        "DSIR, drawn": scores["dsir"] + noise,
        "embedding classifier": scores["embedding"],
    }


def choose(preference: Numbers, tokens: Numbers, budget: float, chance: np.random.Generator) -> list[int]:
    """The pieces taken, in the order of the pool: by preference, equals in random order, up to the budget."""
    order = np.lexsort((chance.random(len(preference)), -preference))
    return sorted(order[np.cumsum(tokens[order]) <= budget].tolist())


def write(path: Path, texts: Iterable[str]) -> Path:
    """JSON lines of texts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts))
    return path


def learn(folder: Path, texts: Sequence[str], held: Sequence[str], values: Mapping[str, object]) -> tuple[float, float]:
    """Perplexity per token of the held-out prose, for the 4-gram model and the causal LM that learnt from `texts`."""
    tokenizer = Tokenizer.from_file(f"{values['TOKENIZER']}/tokenizer.json")

    def cut(each: Sequence[str]) -> list[str]:
        found = tokenizer.encode_batch(list(each), add_special_tokens=False)
        return [" ".join(f"t{number}" for number in one.ids) for one in found]

    names = {
        "HALF_PIECES": write(folder / "pieces.jsonl", cut(texts)),
        "HALF_TEXTS": write(folder / "texts.jsonl", texts),
        "HELD_PIECES": write(folder / "held-pieces.jsonl", cut(held)),
        "HELD_TEXTS": write(folder / "held.jsonl", held),
    }
    done = run(folder, LEARN, {**names, **values})
    grams, causal = columns(done, "grams"), columns(done, "causal")
    loss = np.average(causal["causal_lm_loss"], weights=causal["causal_lm_tokens"])
    logs = np.average(np.log(grams["perplexity"]), weights=grams["perplexity_tokens"] + 1)
    return math.exp(logs), math.exp(loss)


def measure(data: Path, seed: int, tokens: int) -> dict[str, tuple[float, float]]:
    """Both perplexities for every choice."""
    folder = BUILD / f"seed-{seed}"
    make(data, folder / "data", seed)
    values: dict[str, object] = {"SMALL": SMALL, "TOKENS": tokens, "DATA": data.resolve(), "SEED": seed}
    scored = run(folder / "scores", SCORES, {"FOLDER": (folder / "data").resolve(), **values})
    texts = columns(scored, "pool")["text"].tolist()
    held = [orjson.loads(line)["text"] for line in (folder / "data" / "held.jsonl").read_bytes().splitlines()]
    sizes = np.asarray(columns(scored, "scores")["causal_lm_tokens"], np.float64)
    values["TOKENIZER"] = model(scored, "proxy")
    found = {}
    for name, preference in preferences(scored, np.random.default_rng(seed)).items():
        taken = choose(preference, sizes, sizes.sum() / 2, np.random.default_rng(seed))
        place = folder / "".join(letter if letter.isalnum() else "-" for letter in name)
        found[name] = learn(place, [texts[i] for i in taken], held, values)
        print(f"seed {seed}, {name}: {found[name][0]:.1f}, {found[name][1]:.1f}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Read the arguments, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of test data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=500_000, help="how many tokens each causal LM is trained on")
    args = parser.parse_args()
    found = [measure(args.data, seed, args.tokens) for seed in range(args.seeds)]
    print("| the half taken | 4-gram perplexity | ratio to random | causal LM perplexity | ratio to random |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in found[0]:
        cells = []
        for which in (0, 1):
            values = [each[name][which] for each in found]
            ratios = [each[name][which] / each["random"][which] for each in found]
            spread = f" ± {statistics.stdev(ratios):.3f}" if len(ratios) > 1 and name != "random" else ""
            cells.append(f"{statistics.mean(values):.1f} | {statistics.mean(ratios):.3f}{spread}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
