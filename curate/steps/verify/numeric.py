r"""The verifier `numeric`: whether an answer comes to the same number as the reference.

    final_number("So 6 * 7 is \\boxed{42}.")             # Fraction(42, 1)
    final_number("The answer is $1,234.50")              # Fraction(2469, 2)

The number is what the answer gives as its result: after "####" (GSM8K, Cobbe et al. 2021), in the last `\boxed{}`
(MATH, Hendrycks et al. 2021), after "the answer is", or else the last that stands in it. Numbers are exact: no rounding
is mistaken for a difference. A point is decimal and a comma parts thousands, as English writes them. A number beside a
unit counts ("5kg"); one in a word ("B12"), a version or a power of another number than ten is not computed.
"""

from __future__ import annotations

import re
from fractions import Fraction

import pyarrow as pa

from curate.core.errors import ConfigError
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch

_PLAIN = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_POWER = (
    r"(?:[eE](?P<e>[+-]?[0-9]{1,3})(?![0-9])"
    r"| ?(?:\*|×|x|\\times|\\cdot) ?10 ?(?:\^|\*\*) ?[{(]?(?P<ten>[+-]?[0-9]{1,3})[})]?)"
)
_NUMBER = re.compile(
    # Not within a word or a version: "B12", "1.2.3"
    r"(?<![\w.])(?P<sign>[+-]? ?)(?:[$€£¥] ?)?(?:"
    r"(?:(?P<whole>[0-9]+) ?)?\\[dt]?frac ?\{(?P<above>-?[0-9]+)\} ?\{(?P<below>[0-9]+)\}"
    r"|(?:(?P<units>[0-9]+) )?(?P<upper>[0-9]+) ?/ ?(?P<lower>[0-9]+)(?![0-9/])"
    rf"|(?P<plain>{_PLAIN}){_POWER}?"
    r")(?!\.?[0-9]|[eE][+-]?[0-9])(?P<percent> ?\\?%| percent\b)?"
)
_RESULT = re.compile(r"\b(?:answer|result|antwort|ergebnis|lösung)\b(?: is| ist|:| =)+", re.IGNORECASE)
_SIGNS = str.maketrans({"−": "-", "–": "-", "\u00a0": " ", "\u202f": " "})
_LONGEST = 400  # characters of a number
_SENTENCE = 300  # characters after "the answer is" that are looked at


def numeric(*, column: str = "answer", reference: str = "reference", tolerance: float = 1e-6) -> Verifier:
    """Whether the answer's number is the reference's, `""` (bool), and the answer's number, `number` (float64).

    Both agree if they differ by at most `tolerance` times the larger of 1 and the reference. A percentage also agrees
    with the number before its sign where the other has no sign. An answer without a number is wrong. `""` is null where
    the answer is, and where the reference is null or has no number.

    Args:
        column: the answer.
        reference: the column of the right answer.
        tolerance: of the difference, 0 or more.

    Raises:
        ConfigError: the tolerance is below 0.
    """
    if tolerance < 0:
        raise ConfigError(f"numeric: tolerance {tolerance} is below 0; set 0 or more")
    share = Fraction(tolerance)

    def verify(batch: VerifyBatch) -> Columns:
        agree: list[bool | None] = []
        numbers: list[float | None] = []
        for answer, wanted in zip(batch.texts(column), batch.texts(reference), strict=True):
            found = None if answer is None else _final(answer)
            right = None if wanted is None else _final(wanted)
            numbers.append(None if found is None else _float(found[0]))
            if answer is None or right is None:
                agree.append(None)
            else:
                agree.append(found is not None and _same(found, right, share))
        return {"": pa.array(agree, pa.bool_()), "number": pa.array(numbers, pa.float64())}

    return verify


def final_number(text: str) -> Fraction | None:
    """The number that a text comes to, None where it has none. A percentage is a hundredth: 45% is 9/20."""
    found = _final(text)
    return None if found is None else found[0]


def _same(found: tuple[Fraction, bool], right: tuple[Fraction, bool], tolerance: Fraction) -> bool:
    (a, a_percent), (b, b_percent) = found, right
    allowed = [a] if a_percent == b_percent else [a, a * 100 if a_percent else a / 100]
    return any(abs(each - b) <= tolerance * max(Fraction(1), abs(b)) for each in allowed)


def _final(text: str) -> tuple[Fraction, bool] | None:
    """The number, and whether it is a percentage."""
    text = text.translate(_SIGNS)
    if "####" in text:
        return _first(text.rpartition("####")[2])
    if (boxed := _boxed(text)) is not None:
        return _last(boxed)
    for said in reversed(list(_RESULT.finditer(text))):
        sentence = re.split(r"\n|\.(?:\s|$)", text[said.end() : said.end() + _SENTENCE], maxsplit=1)[0]
        if (number := _last(sentence)) is not None:
            return number
    return _last(text)


def _boxed(text: str) -> str | None:
    r"""What the last `\boxed{}` holds, with the braces in it."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    begin = start + len("\\boxed{")
    depth = 1
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[begin:at]
    return None


def _first(text: str) -> tuple[Fraction, bool] | None:
    return next((value for found in _NUMBER.finditer(text) if (value := _value(found)) is not None), None)


def _last(text: str) -> tuple[Fraction, bool] | None:
    values = [value for found in _NUMBER.finditer(text) if (value := _value(found)) is not None]
    return values[-1] if values else None


def _value(found: re.Match[str]) -> tuple[Fraction, bool] | None:
    """The number of a match; None where it divides by 0 or is longer than any that is meant."""
    if len(found[0]) > _LONGEST:
        return None
    above, below = found["above"] or found["upper"], found["below"] or found["lower"]
    if above:
        if int(below) == 0:
            return None
        value = int(found["whole"] or found["units"] or 0) + Fraction(int(above), int(below))
    else:
        value = Fraction(found["plain"].replace(",", ""))
        exponent = int(found["e"] or found["ten"] or 0)
        value = value * 10**exponent if exponent >= 0 else value / 10**-exponent
    percent = found["percent"] is not None
    value = -value if "-" in found["sign"] else value
    return (value / 100 if percent else value), percent


def _float(number: Fraction) -> float | None:
    try:
        return float(number)
    except OverflowError:
        return None
