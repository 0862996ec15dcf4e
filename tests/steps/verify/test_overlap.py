from __future__ import annotations

import io
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.errors import ConfigError
from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.overlap import ngram_overlap, rouge_l
from curate.text.overlap import Admitted, rouge_l_f1

# Few different words, so that much is shared, and more than the 64 that are compared at once.
texts = st.lists(st.sampled_from("abcdefg"), max_size=150).map(" ".join)


def f1(a: str, b: str) -> float:
    """ROUGE-L by the textbook's table."""
    left, right = a.split(), b.split()
    above = [0] * (len(right) + 1)
    for x in left:
        row = [0]
        for j, y in enumerate(right):
            row.append(above[j] + 1 if x == y else max(row[-1], above[j + 1]))
        above = row
    return 2 * above[-1] / max(len(left) + len(right), 1)


def test_golden_values() -> None:
    # The example of Lin 2004, section 3: "police kill the gunman" has 2 words in order, the other 3.
    assert rouge_l_f1("police killed the gunman", "police kill the gunman") == 0.75
    assert rouge_l_f1("police killed the gunman", "the gunman kill police") == 0.5
    assert rouge_l_f1("The CAT", "the cat!") == 1.0
    assert rouge_l_f1("", "") == rouge_l_f1("a", "") == 0.0


@given(texts, texts)
@settings(max_examples=60)
def test_it_is_the_value_of_the_textbook_for_texts_of_any_length(a: str, b: str) -> None:
    assert rouge_l_f1(a, b) == rouge_l_f1(b, a) == pytest.approx(f1(a, b), abs=1e-12)


def test_the_nearest_of_several_parents_counts() -> None:
    parents = {"p": "nothing of it", "q": "a small red house"}
    batch = VerifyBatch.of(
        [
            {"text": "a small blue house", "parents": ["p", "q"]},
            {"text": "a small blue house", "parents": ["p"]},
            {"text": "alone", "parents": []},
            {"text": "its parent is unknown", "parents": ["x"]},
            {"text": None, "parents": ["p"]},
            {"text": "...", "parents": ["p"]},
        ],
        parents,
    )
    assert rouge_l()(batch)[""].to_pylist() == [0.75, 0.0, None, None, None, 0.0]


def test_a_column_of_the_row_can_stand_for_the_parents() -> None:
    batch = VerifyBatch.of([{"text": "one two three", "source": "one two four"}, {"text": "one", "source": None}])
    assert rouge_l(to="source")(batch)[""].to_pylist() == [pytest.approx(2 / 3), None]


def test_containment_and_jaccard_count_each_run_of_words_once() -> None:
    parents = {"p": "a b c d x", "q": "a b"}
    batch = VerifyBatch.of(
        [
            {"text": "a b c a b c a", "parents": ["p"]},  # abc bca cab, of which abc; and bcd, cdx
            {"text": "A B C D", "parents": ["q", "p"]},
            {"text": "a b", "parents": ["p"]},
            {"text": "a b c", "parents": ["q"]},
        ],
        parents,
    )
    found = ngram_overlap(n=3)(batch)
    assert found[""].to_pylist() == [pytest.approx(1 / 3), 1.0, None, 0.0]
    assert found["jaccard"].to_pylist() == [pytest.approx(1 / 5), pytest.approx(2 / 3), None, 0.0]
    with pytest.raises(ConfigError, match="below 1"):
        ngram_overlap(n=0)


@given(st.lists(texts, max_size=12), st.sampled_from([0.3, 0.7, 1.0]))
@settings(max_examples=60)
def test_a_text_is_admitted_if_no_admitted_one_is_nearer_than_the_limit(given_: list[str], limit: float) -> None:
    pool, kept = Admitted(limit), list[str]()
    for text in given_:
        fits = bool(text) and all(rouge_l_f1(text, each) <= limit for each in kept)
        best = max((rouge_l_f1(text, each) for each in kept), default=0.0)
        near = next((i for i, each in enumerate(kept) if rouge_l_f1(text, each) == best > 0), -1)
        assert pool.nearest(text) == (best if near >= 0 else 0.0, near)
        assert pool.admit(text) == fits
        kept += [text] if fits else []
    assert len(pool) == len(kept)


def test_real_seed_tasks_are_all_admitted_and_not_twice(shared: Path) -> None:
    raw = zstandard.ZstdDecompressor().stream_reader(
        (shared / "data/seed_tasks_selfinstruct.dev.jsonl.zst").read_bytes()
    )
    tasks = [orjson.loads(line)["instruction"] for line in io.TextIOWrapper(raw, "utf-8")]
    pool = Admitted(0.7)
    assert sum(map(pool.admit, tasks)) > 0.95 * len(tasks) > 100
    assert not any(pool.admit(task) for task in tasks)
    assert all(pool.nearest(task.upper())[0] > 0.7 for task in tasks)


def test_a_limit_is_a_share() -> None:
    with pytest.raises(ConfigError, match="from 0 to 1"):
        Admitted(70)
