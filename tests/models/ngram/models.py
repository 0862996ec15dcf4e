"""Small n-gram models for the tests, and what the package `kenlm` says of a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import kenlm
import numpy as np

from curate.models.ngram.counts import count_shard
from curate.models.ngram.fit import fit_ngram
from curate.models.ngram.tables import Tables
from curate.models.ngram.text_form import TextForm
from curate.models.ngram.words import form_words
from curate.text.batch import TextBatch

WORDS = TextForm("none", "whitespace")


def library(path: str) -> kenlm.Model:
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    return kenlm.Model(path, config)


def library_score(model: kenlm.Model, sentence: str) -> float:
    """As `score`, without its 32-bit sum."""
    return math.fsum(each for each, _, _ in model.full_scores(sentence))


def scores(tables: Tables, sentences: Sequence[str]) -> np.ndarray:
    return tables.score(form_words(TextBatch.of(list(sentences)), WORDS))


def same_as_library(tables: Tables, model: kenlm.Model, sentences: Sequence[str]) -> None:
    for sentence, ours in zip(sentences, scores(tables, sentences).tolist(), strict=True):
        tokens = len(sentence.split())
        if tokens:
            theirs = library_score(model, sentence)
            assert abs(ours - theirs) <= 1e-5 * (tokens + 1), (sentence[:80], ours, theirs)


def train(folder: Path, texts: list[str], order: int, form: TextForm) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    counts, model = str(folder / "counts.parquet"), str(folder / "lm.arpa")
    count_shard(texts, counts, order=order, form=form)
    fit_ngram([counts], model)
    return model


Ngram = tuple[str, ...]


def write_arpa(path: Path, orders: Sequence[dict[Ngram, tuple[float, float]]], end: str = "\n") -> str:
    """A model of given n-grams with their log10 probabilities and back-offs; the highest order has none."""
    lines = ["\\data\\", *(f"ngram {n}={len(order)}" for n, order in enumerate(orders, start=1))]
    for n, order in enumerate(orders, start=1):
        lines += ["", f"\\{n}-grams:"]
        for words, (probability, backoff) in order.items():
            lines.append(f"{probability}\t{' '.join(words)}" + ("" if n == len(orders) else f"\t{backoff}"))
    path.write_bytes(end.join([*lines, "", "\\end\\", ""]).encode())
    return str(path)
