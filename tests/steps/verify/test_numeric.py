from __future__ import annotations

from fractions import Fraction

import pytest

from curate.core.errors import ConfigError
from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.numeric import final_number, numeric


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("He has 3 + 4 = 7 left.\n#### 7", 7),
        ("#### 1,234.5 (in dollars, of 2000)", Fraction("1234.5")),
        (r"so $x = \boxed{42}$, as 6 * 7.", 42),
        (r"\boxed{\frac{3}{4}} of 8", Fraction(3, 4)),
        (r"\boxed{x^{2} = 9}", 9),
        (r"\boxed{-2\frac{1}{2}}", Fraction(-5, 2)),
        ("The answer is $1,234.50. That is below 2,000.", Fraction("1234.5")),
        ("Answer: 2 1/2", Fraction(5, 2)),
        ("The answer is: −5", -5),
        ("First the answer is 3. No, the answer is 4.", 4),
        ("Das Ergebnis ist 12.", 12),
        ("It takes 3 men 4 days", 4),
        ("45%", Fraction(9, 20)),
        (r"45\%", Fraction(9, 20)),
        ("1.5e-3", Fraction(3, 2000)),
        (r"6.02 \times 10^{23}", 602 * 10**21),
        ("6.02 x 10^23 of them", 602 * 10**21),
        (".5", Fraction(1, 2)),
        ("1,23", 23),
        ("1/0", None),
        ("version 1.2.3", None),
        ("vitamin B12", None),
        ("none at all", None),
        ("", None),
        (r"\boxed{", None),
        ("1e999999999", None),
        ("9" * 5000, None),
    ],
)
def test_the_number_that_a_text_comes_to(text: str, number: Fraction | int | None) -> None:
    assert final_number(text) == number


def test_an_answer_is_right_if_its_number_is_the_reference() -> None:
    rows = [
        ("so it is 42", "#### 42", True),
        ("so it is 0.333333", "1/3", True),
        ("so it is 0.333", "1/3", False),
        ("45%", "45", True),
        ("0.45", "45%", True),
        ("45%", "0.45", True),
        ("4500%", "45%", False),
        ("I do not know", "3", False),
        ("3", "unknown", None),
        ("3", None, None),
        (None, "3", None),
    ]
    batch = VerifyBatch.of([{"answer": answer, "reference": reference} for answer, reference, _ in rows])
    found = numeric()(batch)
    assert found[""].to_pylist() == [each[2] for each in rows]
    assert found["number"].to_pylist() == [42, 0.333333, 0.333, 0.45, 0.45, 0.45, 45, None, 3, 3, None]
    with pytest.raises(ConfigError, match="below 0"):
        numeric(tolerance=-1.0)


def test_a_number_beyond_floats_is_compared_all_the_same() -> None:
    batch = VerifyBatch.of([{"answer": "1e400", "reference": "10e399"}])
    found = numeric()(batch)
    assert (found[""].to_pylist(), found["number"].to_pylist()) == ([True], [None])
