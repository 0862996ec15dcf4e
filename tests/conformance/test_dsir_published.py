"""DSIR against the buckets that its authors' tests name, and against their formula with their hash."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from curate.steps.score.dsir import dsir
from curate.steps.train.dsir import count_texts, log_weights, write_model
from curate.text.batch import TextBatch
from curate.text.rules.hashed_ngrams import HashedNgrams
from tests.conformance.published import rows
from tests.steps.train.test_dsir import column


def test_the_published_buckets_of_alice() -> None:
    counts = HashedNgrams("sha256", 10_000).count(TextBatch.of(["Alice went"]))
    assert counts.sum() == 3
    assert counts[6720] == counts[114] == 1


def by_definition(target: list[str], raw: list[str], text: str) -> float:
    """DSIR's log weight with the published hash: nothing of ours but the formula."""

    def count(texts: list[str]) -> Counter[int]:
        found: Counter[int] = Counter()
        for each in texts:
            words = re.findall(r"\w+|[^\w\s]+", each.lower())
            grams = [*words, *map(" ".join, pairwise(words))]
            found.update(int(hashlib.sha256(gram.encode()).hexdigest(), 16) % 10_000 for gram in grams)
        return found

    p, q = count(target), count(raw)
    log_p, log_q = ({b: math.log(c[b] / c.total() + 1e-8) for b in count([text])} for c in (p, q))
    return sum(n * (log_p[b] - log_q[b]) for b, n in count([text]).items())


def test_the_weight_is_that_of_the_definition(shared: Path, tmp_path: Path) -> None:
    documents = rows(shared, "pile_toy_dsir.dev.jsonl.zst")
    raw = [str(row["text"]) for row in documents]
    target = [str(row["text"]) for row in documents if row["domain"] == "Github"][::2]
    ngrams = HashedNgrams("sha256", 10_000)
    weights = log_weights(count_texts(column(target), ngrams), count_texts(column(raw), ngrams))
    write_model(str(tmp_path / "m.dsir"), ngrams, weights)
    texts = ["", "def main():\n    return 0", raw[0], raw[1]]
    found = dsir(model=str(tmp_path / "m.dsir"))(TextBatch.of(texts))[""].to_pylist()
    assert found == pytest.approx([by_definition(target, raw, text) for text in texts], abs=1e-8)
