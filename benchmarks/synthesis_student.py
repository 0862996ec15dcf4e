"""What a small student learns from the quickstart's recorded answers, tested on TREC's real test questions.

    python benchmarks/synthesis_student.py ../shared

For each draw 30 real questions of TREC's training part, five a class, are the seeds. A fastText classifier learns the
seeds; the seeds and the made questions; the seeds and those that were verified (no near copy of a test question or of a
seed, and a label that the seeds' own classifier does not refute); and as many real questions. All are tested on TREC's
500 test questions, which no step learns from. Labels are TREC's six coarse ones.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from curate.core.config import parse
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS = ROOT / "configs" / "quickstart" / "questions"
NAMES = {
    "ABBR": "abbreviation", "DESC": "description", "ENTY": "entity",
    "HUM": "human", "LOC": "location", "NUM": "number",
}  # fmt: skip
CONFIG = """
name: trec
endpoints: {{large: {{url: "http://127.0.0.1:9/v1", model: recorded-answers}}}}
ledgers: {questions}/answers.jsonl
steps:
  labels: {{read: {{path: {questions}/labels.jsonl}}}}
  seeds: {{read: {{path: {folder}/seeds-{draw}.jsonl}}}}
  real: {{read: {{path: {folder}/real-{draw}.jsonl}}}}
  test: {{read: {{path: {folder}/test.jsonl}}}}
  made:
    synthesize:
      from: labels
      recipe: classification
      model: large
      set:
        task: short questions that people put to a question answering system, in English
        combinations: 16
        per_combination: 8
  classifier: {{train: {{labels: {{from: seeds, label: label}}}}}}
  checks:
    verify:
      from: made
      label_agreement: {{model: classifier, label: label}}
      test_overlap: {{verifier: near, to: test}}
      seed_overlap: {{verifier: near, to: seeds}}
  kept:
    filter:
      from: checks
      rules:
        - {{column: test_overlap_near, equals: false}}
        - {{column: test_overlap_contaminated, equals: false}}
        - {{column: seed_overlap_near, equals: false}}
        - {{column: label_agreement_own, above: {refuted}}}
  student:
    student:
      test: test
      label: label
      kind: {kind}
      seeds: 5
      train:
        seeds: [seeds]
        seeds + synthetic: [seeds, made]
        seeds + verified: [seeds, {{rows: made, kept: kept}}]
        real, same size: [real]
"""


def write_data(shared: Path, folder: Path, draws: int, size: int) -> None:
    """TREC's rows with the labels' names, and for each draw its seeds and as many real rows as are made."""
    packed = (shared / "data" / "cls_trec.dev.jsonl.zst").read_bytes()
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(packed).splitlines()
    rows = [json.loads(line) for line in lines]
    named = [{"text": row["text"], "label": NAMES[row["label"]], "split": row["split"]} for row in rows]
    test = [row for row in named if row["split"] == "test"]
    known = {row["text"].lower() for row in test}
    train = [row for row in named if row["split"] == "train" and row["text"].lower() not in known]
    write(folder / "test.jsonl", test)
    for draw in range(draws):
        order = random.Random(draw).sample(train, len(train))
        seeds = [row for name in NAMES.values() for row in [r for r in order if r["label"] == name][:5]]
        write(folder / f"seeds-{draw}.jsonl", seeds)
        write(folder / f"real-{draw}.jsonl", order[:size])


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps({"text": row["text"], "label": row["label"]}) + "\n" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--kind", choices=["fasttext", "logistic"], default="fasttext")
    parser.add_argument(
        "--refuted", type=float, default=0.05, help="labels with less than this probability are dropped"
    )
    args = parser.parse_args()
    table: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = 765
        write_data(args.shared.resolve(), folder, args.draws, 30 + made)
        for draw in range(args.draws):
            text = CONFIG.format(questions=QUESTIONS, folder=folder, draw=draw, kind=args.kind, refuted=args.refuted)
            pipeline = Pipeline.of(parse(text, "trec"))
            out = pipeline.run(
                str(folder / f"runs-{draw}"), LocalEngine(), Resources(workers=1), Progress("quiet"), replay=True
            )
            for line in lines_of(out["student"]):
                table.setdefault(str(line["variant"]), []).append(line)
    show(table)


def lines_of(student: Dataset) -> list[dict[str, Any]]:
    """The table in a `student` step's manifest, as plain numbers."""
    found: Any = student.manifest.details["table"]
    return [{**line, "macro_f1": line["macro_f1"]["value"]} for line in found]


def show(table: dict[str, list[dict[str, Any]]]) -> None:
    """A Markdown table: means over the draws, the spread between draws, and the mean interval within one."""
    print(
        "| learnt | rows | accuracy | over draws | 95 % interval within a draw | macro-F1 | against the seeds alone |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    first = np.array([each["accuracy"] for each in next(iter(table.values()))])
    for variant, found in table.items():
        accuracy = np.array([each["accuracy"] for each in found])
        low, high = (float(np.mean([each[name] for each in found])) for name in ("low", "high"))
        rows = np.mean([each["rows"] for each in found])
        f1 = np.mean([each["macro_f1"] for each in found])
        gain = accuracy - first
        print(
            f"| {variant} | {rows:.0f} | {100 * accuracy.mean():.1f} % | {100 * accuracy.min():.1f} to"
            f" {100 * accuracy.max():.1f} | {100 * low:.1f} to {100 * high:.1f} | {f1:.3f} |"
            f" {100 * gain.mean():+.1f} ({100 * gain.min():+.1f} to {100 * gain.max():+.1f}) |"
        )


if __name__ == "__main__":
    main()
