"""The scorer `perplexity`: how well an n-gram model predicts a text.

    scorer = perplexity(model="wiki.arpa")
    scorer(TextBatch.of(["A page."]))[""]        # lower is closer to the model's training text

Perplexity is 10 ** (-log10 P / (tokens + 1)), the one being the end of the text, rounded to 0.1 as CCNet
publishes it (Wenzek et al. 2019), so that the same text gives the same number on every machine. The whole
text is one sentence to the model.
"""

from __future__ import annotations

import importlib
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

import numpy as np

from curate.core.errors import ModelError
from curate.core.files import ModelFile
from curate.models.fasttext.file import local_model
from curate.models.ngram.load import load
from curate.models.ngram.text_form import SENTENCEPIECE, NormaliserName, TextForm, TokeniserName, card_path, read_form
from curate.models.ngram.words import FormWords, form_words
from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.columns import column

_BINARY = b"mmap lm http://kheafield.com/code"
# The library sums a sentence in 32-bit floats. Up to this many tokens that costs the mean about 1e-6.
_ONE_CALL = 8192
_MOST = 308.0  # log10 of the largest perplexity

Logarithms = Callable[[FormWords], Sequence[float]]


class _Model(Protocol):
    """What is used of `kenlm.Model`."""

    def score(self, sentence: str, bos: bool = True, eos: bool = True) -> float: ...
    def full_scores(self, sentence: str, bos: bool = True, eos: bool = True) -> Iterable[tuple[float, int, bool]]: ...


def perplexity(
    *,
    model: ModelFile,
    normaliser: NormaliserName | None = None,
    tokeniser: TokeniserName | None = None,
    sentencepiece: ModelFile | None = None,
) -> Scorer:
    """Perplexity, `""` (float64), and the number of tokens, `tokens` (int32).

    A text without a token has a null perplexity and 0 tokens. A perplexity above 10^308 is 10^308.

    Args:
        model: an ARPA file, the tables that `build_tables` makes of one, or a KenLM binary
            (which alone needs the package `kenlm`). The tables, or `<model>.json` beside the others, say how text is
            prepared.
        normaliser: what a text goes through first; needed where the model does not say.
        tokeniser: how the text is then cut into words; where the model does not say, `sentencepiece` if that is
            given and else `whitespace`.
        sentencepiece: the model of the tokeniser `sentencepiece`; its hash must be the one that the n-gram model
            names.

    Raises:
        ModelError: the file is missing, damaged or of another kind; or the normaliser, the tokeniser or its model
            is not the one that the model was trained with, or is not known.
    """
    path = local_model(model)
    with open(path, "rb") as stream:
        binary = stream.read(len(_BINARY)) == _BINARY
    logarithms: Logarithms
    card: TextForm | None = None
    if binary:
        logarithms = through_library(path)
    else:
        tables = load(path)
        card = tables.form

        def logarithms(words: FormWords) -> Sequence[float]:
            return cast(list[float], tables.score(words).tolist())

    form = _form(path, card or read_form(path), normaliser, tokeniser, sentencepiece)

    def score(batch: TextBatch) -> Columns:
        words = form_words(batch, form)
        counts = np.diff(words.offsets)
        values = [
            round(10.0 ** min(-logarithm / (count + 1), _MOST), 1)
            for logarithm, count in zip(logarithms(words), counts.tolist(), strict=True)
        ]
        return {"": column(np.array(values, np.float64), counts > 0), "tokens": column(counts.astype(np.int32))}

    return score


def _form(
    path: str, card: TextForm | None, normaliser: str | None, tokeniser: str | None, sentencepiece: str | None
) -> TextForm:
    """The text form that the model's metadata and the config agree on."""
    if card is None:
        if normaliser is None:
            raise ModelError(
                f"{path}: no {os.path.basename(card_path(path))} beside it says how its training text was"
                " normalised; set `normaliser:` (ccnet, ccnet_spaced or none)"
            )
        return TextForm.of(normaliser, tokeniser or (SENTENCEPIECE if sentencepiece else "whitespace"), sentencepiece)
    for what, asked, trained in (
        ("normaliser", normaliser, card.normaliser),
        ("tokeniser", tokeniser, card.tokeniser),
    ):
        if asked is not None and asked != trained:
            raise ModelError(
                f"{path}: trained with the {what} {trained!r}, but the config says {asked!r};"
                f" leave `{what}:` out or set it to {trained}"
            )
    form = TextForm.of(card.normaliser, card.tokeniser, sentencepiece)
    if form != card:
        raise ModelError(
            f"{path}: trained with another SentencePiece model (hash {card.sentencepiece}) than {sentencepiece}"
            f" (hash {form.sentencepiece}); name the one that it was trained with"
        )
    return form


def through_library(path: str) -> Logarithms:
    """log10 P of each text by the package `kenlm`, for its binary files; it reads ARPA files, too.

    Raises:
        ModelError: the package is not here, or cannot load the file.
    """
    try:
        kenlm = importlib.import_module("kenlm")
    except ImportError:
        raise ModelError(
            f"{path}: a KenLM binary needs the package `kenlm` (Python 3.11 or 3.12); install it or name the ARPA file"
        ) from None
    make = cast(Callable[[str], _Model], kenlm.Model)
    try:
        model = make(path)
    except (OSError, RuntimeError) as error:
        # Only the end of the library's message is for a reader: before it stand places in its own source.
        reason = re.split(r"threw \w+(?: because `.*?')?\. ", " ".join(str(error).split()))[-1].rstrip(")")
        raise ModelError(f"{path}: KenLM cannot load it ({reason}); get or train the model again") from None

    def logarithm(tokens: list[str]) -> float:
        sentence = " ".join(tokens)
        if len(tokens) <= _ONE_CALL:
            return model.score(sentence)
        return math.fsum(each for each, _, _ in model.full_scores(sentence))

    return lambda words: [logarithm(tokens) for tokens in words.strings()]
