from __future__ import annotations

import pickle
from functools import partial
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.score.gopher import Variant, gopher_quality, gopher_repetition
from curate.text.batch import TextBatch
from curate.text.props import NOT_PUNCTUATION, PROPS
from tests.steps.score.gopher_reference import quality, repetition
from tests.text.reference import TEXTS, batch_of_bytes, treebank_tokens, words_of

VARIANTS = get_args(Variant)
OWN = {"datatrove": "treebank", "dclm": "uax29", "dolma": "whitespace", "nemo": "whitespace"}
REPETITIVE = st.lists(
    st.sampled_from(["the cat sat on the mat and ran", "a b c d e f", "a b", "ab c", "x", "of", "\n", "\n\n", " \n"]),
    max_size=16,
).map(" ".join)  # fmt: skip
FACTORIES = (gopher_quality, gopher_repetition)


def words(batch: TextBatch, row: int, splitter: str) -> list[str]:
    return treebank_tokens(batch, row) if splitter == "treebank" else words_of(batch, row, splitter)


def columns(found: dict[str, pa.Array], row: int) -> dict[str, float]:
    return {name: column[row].as_py() for name, column in found.items() if name != "words_reliable"}


@pytest.mark.parametrize("variant", VARIANTS)
@given(texts=st.lists(TEXTS | REPETITIVE, max_size=4))
def test_quality_is_that_of_the_reference(variant: Variant, texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = gopher_quality(variant=variant)(batch)
    for row, text in enumerate(texts):
        symbols = {char for char in text + "`'" if not PROPS[ord(char)] & NOT_PUNCTUATION}
        expected = quality(text, words(batch, row, OWN[variant]), variant, symbols)
        assert columns(found, row) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
@given(texts=st.lists(TEXTS | REPETITIVE, max_size=4))
def test_repetition_is_that_of_the_reference(variant: Variant, texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    found = gopher_repetition(variant=variant)(batch)
    for row, text in enumerate(texts):
        expected = repetition(text, words(batch, row, OWN[variant]), variant)
        assert columns(found, row) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("factory", FACTORIES)
@given(texts=st.lists(TEXTS | REPETITIVE, min_size=1, max_size=5))
def test_scores_do_not_depend_on_the_batch(factory: partial[object], variant: Variant, texts: list[str]) -> None:
    score = factory(variant=variant)
    together = score(TextBatch.of(texts))
    for row, text in enumerate(texts):
        alone = score(TextBatch.of([text]))
        assert {name: column[0] for name, column in alone.items()} == {
            name: column[row] for name, column in together.items()
        }


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_empty_and_a_null_text_give_zeros(factory: partial[object]) -> None:
    for variant in VARIANTS:
        found = factory(variant=variant)(TextBatch.of(["", None]))
        for name, column in found.items():
            assert column.to_pylist() == ([True, True] if name == "words_reliable" else [0, 0])


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_empty_batch_gives_columns_of_the_same_types(factory: partial[object]) -> None:
    for variant in VARIANTS:
        score = factory(variant=variant)
        full, empty = score(TextBatch.of(["a b"])), score(TextBatch.of([]))
        assert {name: column.type for name, column in full.items()} == {
            name: column.type for name, column in empty.items()
        }
        assert {len(column) for column in empty.values()} == {0}


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_invalid_utf8_scores_as_its_replacement(texts: list[bytes]) -> None:
    clean = [text.decode("utf-8", "replace") for text in texts]
    for factory in FACTORIES:
        for variant in ("dclm", "datatrove"):
            found = factory(variant=variant)(batch_of_bytes(texts))
            assert {name: len(column) for name, column in found.items()} == dict.fromkeys(found, len(texts))
            if factory is gopher_quality:
                expected = gopher_quality(variant=variant)(TextBatch.of(clean))
                assert found["words"] == expected["words"]
                assert found["mean_word_length"] == expected["mean_word_length"]


def test_a_tie_for_the_most_frequent_n_gram_goes_to_the_first() -> None:
    text = "a b . c d . a b . longer words . longer words ."
    found = gopher_repetition(variant="dolma")(TextBatch.of([text.replace(" .", "")]))
    chars = len(text.replace(" .", "").replace(" ", ""))
    assert found["top_2_gram"][0].as_py() == pytest.approx(2 * 2 / chars)


def test_each_splitter_runs_once_for_all_families() -> None:
    batch = TextBatch.of(["some text of words"])
    for factory in FACTORIES:
        for variant in VARIANTS:
            factory(variant=variant)(batch)
    assert batch.tokenisations == {"uax29": 1, "whitespace": 1, "treebank": 1, "lines": 1}


def test_a_variant_can_be_run_on_another_splitter() -> None:
    batch = TextBatch.of(["well-known words, here"])
    assert gopher_quality(variant="dclm", splitter="whitespace")(batch)["words"].to_pylist() == [3]


def test_factories_are_picklable_with_their_arguments() -> None:
    for factory in FACTORIES:
        copy = pickle.loads(pickle.dumps(partial(factory, variant="nemo")))
        assert set(copy()(TextBatch.of(["a"]))) == set(factory(variant="nemo")(TextBatch.of(["a"])))


def test_one_very_long_row_is_scored() -> None:
    batch = TextBatch.of(["word " * 400_000, "x" * 3_000_000])
    assert gopher_quality()(batch)["words"].to_pylist() == [400_000, 1]
    assert gopher_repetition()(batch)["dup_10_gram"].to_pylist() == [1.0, 0.0]


def test_a_word_a_million_times_over_has_its_defined_values() -> None:
    count = 1_000_000
    batch = TextBatch.of([" ".join(["word"] * count)])
    covered = gopher_repetition(variant="dclm")(batch)
    scanned = gopher_repetition(variant="datatrove")(batch)
    for n in range(5, 11):
        assert covered[f"dup_{n}_gram"][0].as_py() == 1.0
        # After the first n-gram and a step of one word, every one has been seen.
        part = (count - 1) // n * n * len("word")
        assert scanned[f"dup_{n}_gram"][0].as_py() == pytest.approx(part / (5 * count - 1), abs=1e-15)
    assert covered["top_2_gram"][0].as_py() == 2 * (count - 1) / count


def test_lines_that_are_all_the_same_have_their_defined_values() -> None:
    count = 200_000
    batch = TextBatch.of(["\n".join(["the same line"] * count)])
    for variant, fraction in (("datatrove", (count - 1) / count), ("dclm", 1.0), ("dolma", 1.0)):
        assert gopher_repetition(variant=variant)(batch)["dup_lines"][0].as_py() == fraction


@pytest.mark.parametrize("factory", FACTORIES)
def test_many_tiny_rows_score_as_one_does(factory: partial[object]) -> None:
    score = factory(variant="datatrove")
    one, many = score(TextBatch.of(["a b a b."])), score(TextBatch.of(["a b a b."] * 100_000))
    for name, column in many.items():
        assert column.unique().to_pylist() == one[name].to_pylist()


def test_joined_words_repeat_where_the_words_do_not() -> None:
    # datatrove compares the words of an n-gram joined, so that "ab c" is "a bc" there.
    text = "ab c d e f ghijklmn. a bc d e f ghijklmn."
    found = gopher_repetition(variant="datatrove", splitter="whitespace")(TextBatch.of([text]))
    assert found["dup_5_gram"][0].as_py() == len("abcdef") / len(text)


def test_long_words_that_repeat_are_found_without_comparing_each_with_each() -> None:
    text = " ".join(["a" * 200_000] * 11)
    found = gopher_repetition(variant="nemo")(TextBatch.of([text, "a b xa b a bx aa b"]))
    assert found["top_2_gram"].to_pylist() == pytest.approx([5 * 400_001 / len(text), 4 * 3 / 18])
