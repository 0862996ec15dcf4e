"""How well a quality model trained here agrees with people: AUROC on documents that people judged.

    python benchmarks/quality_auroc.py ../shared

Trains on good prose against poor text, both cut into pieces of one length, so that length tells nothing, and
measures on `cc_quality_human_dclm.dev` (256 Common Crawl documents; 1: taken to be good), on all and on
those where the judges agreed. Several recipes are shown, since one alone would hide how much depends on the
choice of negatives. Perplexity is by a 5-gram model of the same positives; its score is its negative.

The labelled documents are never trained on. They are few: a 95% interval is about 0.06 to either side.
People took long documents to be good, so the first line, length alone, is what there is to beat.
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import zstandard

from curate.models.fasttext.train import one_line, train_fasttext
from curate.models.ngram.counts import count_shard
from curate.models.ngram.fit import fit_ngram
from curate.models.ngram.text_form import TextForm
from curate.models.stats import auroc
from curate.steps.score.fasttext import language, quality
from curate.steps.score.perplexity import perplexity
from curate.text.batch import TextBatch

Row = dict[str, object]


def rows(folder: Path, name: str) -> Iterator[Row]:
    with zstandard.open(folder / "data" / f"{name}.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        for line in stream:
            yield orjson.loads(line)


def texts(folder: Path, name: str) -> list[str]:
    return [str(row["text"]) for row in rows(folder, name)]


def pieces(documents: list[str], size: int) -> list[str]:
    """Runs of whole lines of at least `size` characters; what is left at a document's end is dropped."""
    found = []
    for document in documents:
        piece = ""
        for line in document.splitlines():
            piece = f"{piece}\n{line}" if piece else line
            while len(piece) >= size:
                end = piece.rfind(" ", 0, size + 1)
                end = size if end < 1 else end
                found.append(piece[:end])
                piece = piece[end:].lstrip()
    return found


def sample(population: list[str], count: int) -> list[str]:
    return random.Random(0).sample(population, min(count, len(population)))


def shuffled_words(text: str, chance: random.Random) -> str:
    words = text.split()
    return " ".join(chance.sample(words, len(words)))


def repeated_lines(text: str, chance: random.Random) -> str:
    """A quarter of the text's sentences, over and over to its length."""
    parts = text.replace("\n", " ").split(". ")
    kept = chance.sample(parts, max(1, len(parts) // 4))
    return ". ".join(kept * math.ceil(len(text) / max(1, sum(len(part) + 2 for part in kept))))[: len(text)]


def english(folder: Path, documents: list[str]) -> list[str]:
    score = language(model=str(folder / "data" / "lid.176.ftz"))
    found = score(TextBatch.of(documents))[""].to_pylist()
    return [text for text, name in zip(documents, found, strict=True) if name == "en"]


def corrupted(good: list[str]) -> list[str]:
    chance = random.Random(0)
    made = [(shuffled_words if i % 2 else repeated_lines)(text, chance) for i, text in enumerate(good)]
    known = set(map(one_line, good))
    return [text for text in made if one_line(text) not in known]


def report(name: str, scores: list[float | None], judged: list[Row], note: str = "") -> None:
    truth = [row["label"] == 1 for row in judged]
    sure = [i for i, row in enumerate(judged) if row["unanimous"]]
    missing = sum(score is None for score in scores)
    values = [0.0 if score is None else score for score in scores]
    every = auroc(values, truth)
    unanimous = auroc([values[i] for i in sure], [truth[i] for i in sure])
    if missing:
        note += f" {missing} without a score"
    print(f"| {name:54} | {every:.3f} | {unanimous:.3f} | {note} |")


def main() -> None:
    folder = Path(sys.argv[1])
    judged = list(rows(folder, "cc_quality_human_dclm"))
    batch = TextBatch.of([str(row["text"]) for row in judged])
    documents = texts(folder, "hq_text")
    chat = texts(folder, "lowq_webtext_nltk")
    # DCLM's own positives are instructions and forum answers; Dolly's long answers are the likest here.
    answers = [f"{r['instruction']}\n{r['output']}" for r in rows(folder, "instruct_dolly3k")]
    # Closer to what is judged: prose of this age against pages of the web as they come, menus and all.
    near_web = [str(r["text"]) for r in rows(folder, "hq_text") if r["source"] in ("wikitext2", "masc")]
    near_web += texts(folder, "hq_text_nc")
    web = english(folder, texts(folder, "web_wet_trafilatura"))
    sure = sum(bool(row["unanimous"]) for row in judged)
    print(f"{len(judged)} documents, {sure} unanimous\n")
    print(f"| {'model':54} | all | unanimous | held-out AUROC |\n| --- | --- | --- | --- |")
    report("length in characters (no model)", [float(len(str(r["text"]))) for r in judged], judged)

    def classifier(name: str, good: list[str], poor: list[str]) -> None:
        count = min(len(good), len(poor))
        with tempfile.TemporaryDirectory() as place:
            taken = sorted(set(sample(good, count))), sorted(set(sample(poor, count)))
            trained = train_fasttext(*taken, place, dim=32, bucket=200_000, epoch=25)
            held = trained.card["held_out"]
            assert isinstance(held, dict)
            scores = quality(model=trained.model)(batch)[""].to_pylist()
        report(name, scores, judged, f"{held['auroc']:.3f}")

    for size in (500, 2000):
        good, poor = pieces(documents, size), pieces(chat, size)
        classifier(f"prose / chat and ads, {size} characters", good, poor)
        mixed = [*poor, *sample(corrupted(good), len(poor))]
        classifier(f"prose / chat, ads and corrupted prose, {size} characters", good, mixed)
    helpful, essays = pieces(answers, 500), pieces(near_web, 500)
    raw, chatty = pieces(web, 500), pieces(chat, 500)
    classifier("Dolly's answers / chat and ads, 500 characters", helpful, chatty)
    classifier("Dolly's answers / raw web pages, 500 characters", helpful, raw)
    classifier("encyclopedia, news, essays / raw web pages, 500 char.", essays, raw)
    every = [*raw, *chatty, *sample(corrupted(essays), 2000)]
    classifier("these and Dolly's / raw web, chat, corrupted, 500 char.", [*essays, *helpful], every)

    with tempfile.TemporaryDirectory() as place:
        for name, learnt in (
            ("prose", documents),
            ("Dolly's answers", answers),
            ("encyclopedia, news, essays", near_web),
        ):
            counts, model = f"{place}/counts.parquet", f"{place}/lm.arpa"
            count_shard(learnt, counts, order=5, form=TextForm("ccnet_spaced", "punct"))
            fit_ngram([counts], model)
            found = perplexity(model=model)(batch)[""].to_pylist()
            report(f"low perplexity, 5-grams of {name}", [None if v is None else -v for v in found], judged)


if __name__ == "__main__":
    main()
