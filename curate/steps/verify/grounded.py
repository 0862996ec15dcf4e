r"""The verifier `grounded`: whether what a row quotes stands in the document.

    find_quote("the “big” cat", 'Once the "big"\n cat sat.')       # (5, 19)
    grounded(quote="evidence", document="parents")

Case, white space, the Unicode form, and the kinds of quotation marks and dashes are not compared: models write them
again. Every other character is, and a quote begins and ends where words do.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa

from curate.steps.verify.batch import Columns, Verifier, VerifyBatch
from curate.text.batch import TextBatch

_LEAST = 3  # words of a quote
_TOKEN = re.compile(r"\S+")
_MARKS = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´ʼ＇", "'"),
        **dict.fromkeys("“”„‟″«»‹›＂", '"'),
        **dict.fromkeys("‐‑‒–—―−﹘﹣－", "-"),
        "…": "...",
        "\u00ad": "",  # a soft hyphen
        "\u200b": "",
        "\ufeff": "",
    }
)
_AROUND = " \"'"


def grounded(*, quote: str, document: str = "parents") -> Verifier:
    """Whether a quote, or each of several, is in one of the row's documents.

    `""` (bool): there is a quote and all are found. `share` (float64): of the quotes, how many are. `start` and `end`
    (int64): where the first quote stands, in the characters of the document as it is; `at` (int32): which of the row's
    documents that is. These three are null where it is not found. A quote of fewer than 3 words is not: it would be
    found anywhere. All are null where the quote column is, and where the row has no document.

    Args:
        quote: a column of strings, or of lists of them.
        document: `parents`, or a column of strings or of lists of them.
    """

    def verify(batch: VerifyBatch) -> Columns:
        quotes, documents = batch.lists(quote), batch.lists(document)
        known = {each: _Folded(each) for each in dict.fromkeys(each for row in documents for each in row)}
        asked = batch.rows.column(quote).is_valid().to_pylist()
        found = [
            _Found.of(mine, [known[each] for each in those]) if has and those else None
            for mine, those, has in zip(quotes, documents, asked, strict=True)
        ]
        return {
            "": pa.array([None if each is None else each.share == 1 for each in found], pa.bool_()),
            "share": pa.array([None if each is None else each.share for each in found], pa.float64()),
            "start": pa.array([each and each.start for each in found], pa.int64()),
            "end": pa.array([each and each.end for each in found], pa.int64()),
            "at": pa.array([each and each.at for each in found], pa.int32()),
        }

    return verify


def find_quote(quote: str, document: str) -> tuple[int, int] | None:
    """Where a quote begins and ends in the document, in characters; None where it is not there or too short."""
    return _Folded(document).find(_stripped(quote)) if _is_long(quote) else None


@dataclass(frozen=True)
class _Found:
    """What was found of a row's quotes, and where the first is."""

    share: float
    start: int | None = None
    end: int | None = None
    at: int | None = None

    @classmethod
    def of(cls, quotes: Sequence[str], documents: Sequence[_Folded]) -> _Found:
        places = [_place(quote, documents) for quote in quotes]
        share = sum(each is not None for each in places) / max(len(places), 1)
        return cls(share, *(places[0] if places and places[0] else ()))


def _place(quote: str, documents: Sequence[_Folded]) -> tuple[int, int, int] | None:
    if not _is_long(quote):
        return None
    needle = _stripped(quote)
    for at, document in enumerate(documents):
        if (span := document.find(needle)) is not None:
            return (*span, at)
    return None


class _Folded:
    """A document as it is compared, and where each of its characters comes from."""

    def __init__(self, document: str) -> None:
        self._document = document
        self._spans = [found.span() for found in _TOKEN.finditer(document)]
        tokens = [_fold(document[start:end]) for start, end in self._spans]
        self._text = " ".join(tokens)
        # Where each token begins in the text.
        self._at = list(accumulate((len(token) + 1 for token in tokens), initial=0))[:-1]

    def find(self, needle: str) -> tuple[int, int] | None:
        """The first place of a folded quote that begins and ends between words."""
        at = self._text.find(needle)
        while at >= 0:
            end = at + len(needle)
            if not (_joined(self._text, at) or _joined(self._text, end)):
                return self._origin(at)[0], self._origin(end - 1)[1]
            at = self._text.find(needle, at + 1)
        return None

    def _origin(self, at: int) -> tuple[int, int]:
        """Where the character at a place of the text begins and ends in the document."""
        token = bisect.bisect_right(self._at, at) - 1
        start, end = self._spans[token]
        whole = self._document[start:end]
        place = at - self._at[token]
        begin = 0
        for piece in _clusters(whole):
            place -= len(_fold(piece))
            if place < 0:
                return start + begin, start + begin + len(piece)
            begin += len(piece)
        return end, end


def _clusters(token: str) -> list[str]:
    """The characters of a token, each with the marks that follow it: what composes to one stays together."""
    pieces: list[str] = []
    for character in token:
        if pieces and (unicodedata.combining(character) or "\u1160" <= character <= "\u11ff"):  # vowels of Hangul
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


def _fold(text: str) -> str:
    if text.isascii():
        return text.translate(_MARKS).lower()
    composed = unicodedata.normalize("NFC", text).translate(_MARKS).casefold()
    return unicodedata.normalize("NFC", composed)


def _stripped(quote: str) -> str:
    """A quote as documents are compared, without the white space and quotation marks around it."""
    return " ".join(_fold(quote).split()).strip(_AROUND)


def _joined(text: str, at: int) -> bool:
    """Whether a word goes on across a place."""
    return 0 < at < len(text) and _is_word(text[at - 1]) and _is_word(text[at])


def _is_word(character: str) -> bool:
    # An ideograph is a word of its own, and no space parts it from the next.
    return character.isalnum() and not "\u2e80" <= character <= "\ud7ff"


def _is_long(quote: str) -> bool:
    return len(TextBatch.of([quote]).words("uax29")) >= _LEAST
