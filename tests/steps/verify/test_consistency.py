from __future__ import annotations

import pytest

from curate.core.errors import ConfigError
from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.consistency import consistency


def test_samples_of_the_same_parents_vote() -> None:
    rows = [
        ("42", ["p"]),
        ("Paris.", ["q"]),
        ("42.0", ["p"]),
        ("41", ["p"]),
        (" paris", ["q"]),
        ("$42", ["p"]),
        ("alone", ["r"]),
        (None, ["q"]),
        ("London", None),
    ]
    batch = VerifyBatch.of([{"answer": answer, "parents": parents} for answer, parents in rows])
    found = {name: values.to_pylist() for name, values in consistency(column="answer")(batch).items()}
    assert found[""] == [0.75, 1.0, 0.75, 0.25, 1.0, 0.75, None, None, None]
    assert found["majority"] == ["42", "Paris.", "42", "42", "Paris.", "42", "alone", None, None]
    bits = pytest.approx(0.8112781, abs=1e-6)
    assert found["entropy"] == [bits, 0.0, bits, bits, 0.0, bits, 0.0, None, None]
    assert found["samples"] == [4, 2, 4, 4, 2, 4, 1, None, None]


def test_of_equally_common_answers_the_first_in_the_alphabet_is_the_majority_in_any_order() -> None:
    rows = [{"answer": answer, "parents": ["p"]} for answer in ("dog", "Cat", "cat", "Dog", "ant")]
    for given in (rows, rows[::-1]):
        found = consistency(column="answer")(VerifyBatch.of(given))
        assert {each.lower() for each in found["majority"].to_pylist()} == {"cat"}


def test_a_number_among_words_is_a_word() -> None:
    rows = [{"answer": answer, "prompt": "a"} for answer in ("7", "7.0", "seven")]
    assert consistency(column="answer", by="prompt")(VerifyBatch.of(rows))[""].to_pylist() == [1 / 3] * 3


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no column 'parent'"):
        consistency(column="answer", by="parent")(VerifyBatch.of([{"answer": "a", "parents": []}]))
