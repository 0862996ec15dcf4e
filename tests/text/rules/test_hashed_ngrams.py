from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.text.batch import TextBatch
from curate.text.rules.hashed_ngrams import HashedNgrams, lower_table, ngrams_of
from tests.conformance.published import rows
from tests.text.reference import TEXTS, batch_of_bytes

BUCKETS = 997
FAST = HashedNgrams("polynomial", BUCKETS)
WEIGHTS = np.random.default_rng(0).normal(size=BUCKETS)
M64 = (1 << 64) - 1


def polynomial(gram: str) -> int:
    key = 0
    for byte in gram.encode():
        key = (key * 0x9E3779B97F4A7C55 + byte + 1) & M64
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        key = ((key ^ (key >> 33)) * factor) & M64
    return ((key ^ (key >> 33)) >> 32) * BUCKETS >> 32


def reference(texts: list[str]) -> list[int]:
    found: Counter[int] = Counter()
    for text in texts:
        tokens = re.findall(r"\w+|[^\w\s]+", text.lower())
        found.update(polynomial(gram) for gram in [*tokens, *map(" ".join, pairwise(tokens))])
    return [found[bucket] for bucket in range(BUCKETS)]


def test_unigrams_and_bigrams_of_words_and_punctuation_in_lower_case() -> None:
    assert list(ngrams_of("Don't STOP...")) == ["don", "'", "t", "stop", "...", "don '", "' t", "t stop", "stop ..."]
    assert list(ngrams_of("word")) == ["word"]
    assert list(ngrams_of(" \n")) == []


@given(st.lists(TEXTS | st.text(), max_size=4))
@example(["ΟΔΥΣΣΕΥΣ ΣΑΣ. Σ", "İstanbul", "STRAẞE ﬁ ǅ", "\x1c\x85\u2028 _a_1 \U0001f600\ufe0f", "𐐀𐐁 Ⅷ ²"])
def test_the_kernel_counts_what_python_finds(texts: list[str]) -> None:
    assert FAST.count(TextBatch.of(texts)).tolist() == reference(texts)


def test_the_table_has_the_lower_case_and_the_kind_of_every_character() -> None:
    table = lower_table()
    for code in range(0x110000):
        char = chr(code)
        if char in "\u03a3\u0130":
            continue  # texts with these are lowered by Python
        lower = char.lower()
        assert len(lower) == 1 and lower.lower() == lower
        kind = 0 if lower.isspace() else 1 if lower.isalnum() or lower == "_" else 2
        assert table[code] == ord(lower) | kind << 24, hex(code)


@pytest.mark.parametrize("name", ["langid_udhr2.dev.jsonl.zst", "web_wet_trafilatura.dev.jsonl.zst"])
def test_real_text_of_many_languages_is_counted_as_python_does(shared: Path, name: str) -> None:
    texts = [str(row["text"]) for row in rows(shared, name)][::9]
    batch = TextBatch.of(texts)
    counts = FAST.count(batch)
    assert counts.sum() > 40_000
    assert counts.tolist() == reference(texts)
    by_text = [float(np.array(reference([text])) @ WEIGHTS) for text in texts[:20]]
    assert FAST.sum(batch, WEIGHTS)[:20].tolist() == pytest.approx(by_text, abs=1e-9)


@given(st.lists(st.binary(max_size=12), max_size=4))
@example([b"caf\xe9 \xff\xfe", b"\xce\xa3\xce", b"\xe2\x80"])
def test_invalid_utf8_counts_as_replacement_characters(texts: list[bytes]) -> None:
    decoded = [text.decode("utf-8", "replace") for text in texts]
    assert FAST.count(batch_of_bytes(texts)).tolist() == reference(decoded)


@pytest.mark.parametrize("ngrams", [FAST, HashedNgrams("sha256", BUCKETS)], ids=lambda each: each.hash)
def test_the_sum_of_a_text_is_its_counts_times_the_weights(ngrams: HashedNgrams) -> None:
    texts = ["One, two; one two!", "", "ΑΣ", "three"]
    expected = [float(ngrams.count(TextBatch.of([text])) @ WEIGHTS) for text in texts]
    found = ngrams.sum(TextBatch.of(texts), WEIGHTS)
    assert found.tolist() == pytest.approx(expected)
    assert found[1] == 0.0
    assert found[1:3].tolist() == ngrams.sum(TextBatch.of(texts[1:3]), WEIGHTS).tolist()


def test_the_buckets_do_not_change_between_versions() -> None:
    fast = HashedNgrams("polynomial", 10_000)
    assert np.flatnonzero(fast.count(TextBatch.of(["alice went", "Ωmega"]))).tolist() == [2540, 3774, 9338, 9470]
