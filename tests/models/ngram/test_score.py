"""The kernel gives the numbers of `kenlm`, on published values, on trained models and on models with holes."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curate.models.ngram.load import load
from curate.models.ngram.tables import Tables
from curate.models.ngram.text_form import TextForm
from curate.models.ngram.words import form_words
from curate.text.batch import TextBatch
from tests.models.ngram.models import library, library_score, same_as_library, scores, train, write_arpa

# What KenLM's own tests expect of its test.arpa, which is the file in the data folder: log10 P of each word
# (lm/model_test.cc of KenLM, functions Starters, Continuation and Blanks). They start at <s>, as texts do here; the
# two sequences of Blanks start at nothing there, so that the back-off of <s>, -0.4149733, comes on top. Where their
# sequence does not end with </s>, the last number is that of </s>, read off the file.
LONGEST = [-0.484652, -0.348837, -0.0155266, -0.00306122]
PUBLISHED = {
    "looking on a little the biarritz not_found more .": [
        *LONGEST,
        *(-4.04005, -1.9889, -2.29666, -1.20632 - 20.0, -0.51363, -0.0191651),
    ],
    "looking on a little more loin": [*LONGEST, -0.00181395, -0.0432557, -0.6708385],
    ",": [-1.383514 - 0.4149733, -0.30103 - 1.029493],
    "this_is_not_found": [-1.995635 - 0.4149733, -1.029493 - 20.0],
    "also would consider higher looking": [-1.687872 - 0.4149733, -2, -3, -4, -5, -1.029493 - 0.4771212],
    "also would consider not_found": [
        *(-1.687872 - 0.4149733, -2, -3, -1.995635 - 7.0 - 0.30103),
        -1.029493 - 20.0,
    ],
    "not_found not_found2 not_found3": [-1.995635 - 0.4149733, -15.0, -15.0 - 2.0, -1.029493 - 2.0 - 20.0],
    "not_found however not_found3": [-1.995635 - 0.4149733, -4.0, -6.0, -1.029493 - 12.0 - 20.0],
    "baz foo bar bar": [-6.535897 - 0.4149733, -3.141592, -6.0, -2.718281 + 3.0, -1.029493 + 3.0],
    "to look a": [-1.687872 - 0.4149733, -0.2922095, -7.0, -1.029493 - 0.69897],
}


@pytest.fixture(scope="module")
def arpa(shared: Path) -> str:
    return str(shared / "data/kenlm_test.arpa")


@pytest.fixture(scope="module")
def tables(arpa: str) -> Tables:
    return load(arpa)


def texts_of(shared: Path, name: str, count: int) -> list[str]:
    with zstandard.open(shared / "data" / name, "rt", encoding="utf-8") as stream:
        return [json.loads(line)["text"] for line in itertools.islice(stream, count)]


@pytest.mark.parametrize("sentence", PUBLISHED)
def test_the_published_values_of_kenlm_come_out(tables: Tables, sentence: str) -> None:
    assert scores(tables, [sentence]).tolist() == [pytest.approx(sum(PUBLISHED[sentence]), rel=1e-5)]


@given(sentences=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), min_size=1, max_size=30))
def test_any_words_of_the_published_model_score_as_in_kenlm(
    arpa: str, tables: Tables, sentences: list[list[int]]
) -> None:
    words = [tables.words[a:b].tobytes().decode() for a, b in itertools.pairwise(tables.offsets.tolist())]
    known = [word for word in words if word not in ("<s>", "</s>", "<unk>")]
    same_as_library(tables, library(arpa), [" ".join(("x" * i, known[i % 34])[i < 34] for i in s) for s in sentences])


@pytest.mark.parametrize("order", [2, 3, 4, 5, 6])
def test_a_trained_model_scores_real_pages_as_in_kenlm(shared: Path, tmp_path: Path, order: int) -> None:
    form = TextForm("ccnet_spaced", "punct")
    path = train(tmp_path, texts_of(shared, "hq_text.dev.jsonl.zst", 40), order, form)
    model, tables = library(path), load(path)
    for name in ("web_wet_trafilatura.dev.jsonl.zst", "hq_text.dev.jsonl.zst"):
        words = form_words(TextBatch.of(texts_of(shared, name, 60)), form)
        for tokens, ours in zip(words.strings(), tables.score(words).tolist(), strict=True):
            theirs = library_score(model, " ".join(tokens))
            assert abs(ours - theirs) <= 1e-5 * (len(tokens) + 1)
            mean = -ours / (len(tokens) + 1), -theirs / (len(tokens) + 1)
            assert round(10 ** mean[0], 1) == pytest.approx(round(10 ** mean[1], 1), abs=0.11)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), order=st.integers(2, 5), density=st.floats(0.05, 0.8))
def test_models_in_which_suffixes_are_missing_score_as_in_kenlm(
    tmp_path_factory: pytest.TempPathFactory, seed: int, order: int, density: float
) -> None:
    # As pruning leaves them: every n-gram's beginning is there, its end need not be.
    draw = random.Random(seed)
    known = ["a", "b", "c", "d", "e"]
    orders = [{(word,): (-draw.uniform(0.1, 3), -draw.choice([0.0, 0.5, 1.5])) for word in known}]
    orders[0] |= {("<s>",): (-99.0, -0.25), ("</s>",): (-1.5, 0.0), ("<unk>",): (-2.5, -draw.choice([0.0, 0.75]))}
    for _ in range(order - 1):
        longer = {}
        for context in orders[-1]:
            if context[-1] != "</s>":
                for word in [*known, "</s>", "<unk>"]:
                    if draw.random() < density:
                        longer[(*context, word)] = (-draw.uniform(0.01, 2), -draw.choice([0.0, 0.0, 0.3, 1.0]))
        orders.append(longer)
    assume(orders[-1])
    path = write_arpa(tmp_path_factory.mktemp("holes") / "m.arpa", orders)
    try:
        model = library(path)
    except (RuntimeError, OSError):
        assume(False)  # the library has room for few of the n-grams that it makes up for missing suffixes
    sentences = [" ".join(draw.choices([*known, "x"], k=draw.randint(1, 30))) for _ in range(40)]
    same_as_library(load(path), model, sentences)


def test_a_score_is_that_of_the_text_alone(tables: Tables) -> None:
    sentences = ["looking on a little", "", "x", "also would consider higher looking more", "a " * 3000, "on a"] * 20
    together = scores(tables, sentences)
    alone = np.concatenate([scores(tables, [sentence]) for sentence in sentences])
    assert together.tolist() == alone.tolist()


def test_words_are_distinguished_by_their_bytes_and_not_by_a_hash(tmp_path: Path) -> None:
    count = 50_000
    words = {(f"w{i}",): (-1.0 - i / count, 0.0) for i in range(count)}
    path = write_arpa(tmp_path / "m.arpa", [words | {("<s>",): (-99.0, 0.0), ("</s>",): (0.0, 0.0)}])
    found = scores(load(path), [f"w{i}" for i in range(count)])
    assert np.allclose(found, [-1.0 - i / count for i in range(count)], atol=1e-6)


def test_a_model_of_order_1_needs_no_context(tmp_path: Path) -> None:
    single = {("<unk>",): (-3.0, 0.0), ("<s>",): (-99.0, 0.0), ("</s>",): (-1.0, 0.0), ("a",): (-0.5, 0.0)}
    assert scores(load(write_arpa(tmp_path / "m.arpa", [single])), ["a a x"]).tolist() == [-5.0]


def test_texts_of_unknown_words_alone_score_as_in_kenlm(arpa: str, tables: Tables) -> None:
    same_as_library(tables, library(arpa), ["x", "x y", "日本 語 " * 500])


def test_a_million_times_one_word_is_the_sum_of_it(tables: Tables) -> None:
    # After the first, each "a" follows "a": its own probability and the back-off of the one before.
    each, first, last = -1.285941 - 0.69897, -1.285941 - 0.4149733, -1.029493 - 0.69897
    assert scores(tables, ["a " * 1_000_000])[0] == pytest.approx(first + 999_999 * each + last, rel=1e-6)
