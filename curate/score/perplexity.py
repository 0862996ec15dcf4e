"""The scorer `perplexity`: how well an n-gram model, ARPA or KenLM binary, predicts a text.

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
from collections.abc import Callable, Iterable
from typing import BinaryIO, Protocol, cast

import pyarrow as pa

from curate.errors import ModelError
from curate.files import ModelFile
from curate.score.fasttext_file import local_model
from curate.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.normalise import NormaliserName, TextForm, TokeniserName, card_path, read_form

_BINARY = b"mmap lm http://kheafield.com/code"
_GZIP = b"\x1f\x8b"
_MIN_ORDER, _MAX_ORDER = 2, 6  # what the `kenlm` package is built for
# The library sums a sentence in 32-bit floats. Up to this many tokens that costs the mean about 1e-6.
_ONE_CALL = 8192


class _Model(Protocol):
    """What is used of `kenlm.Model`."""

    def score(self, sentence: str, bos: bool = True, eos: bool = True) -> float: ...
    def full_scores(self, sentence: str, bos: bool = True, eos: bool = True) -> Iterable[tuple[float, int, bool]]: ...


def perplexity(
    *, model: ModelFile, normaliser: NormaliserName | None = None, tokeniser: TokeniserName | None = None
) -> Scorer:
    """Perplexity, `""` (float64), and the number of tokens, `tokens` (int32).

    A text without a token has a null perplexity and 0 tokens.

    Args:
        model: an ARPA file or a KenLM binary of order 2 to 6. Where `<model>.json` lies beside it, the
            normaliser and the tokeniser are those named there.
        normaliser: what a text goes through first; needed for a model without `<model>.json`.
        tokeniser: how the text is then cut into words; `whitespace` for a model without `<model>.json`.

    Raises:
        ModelError: the file is missing, damaged or of another kind; or the normaliser or tokeniser is not
            the one that the model was trained with, or is not known.
    """
    path = local_model(model)
    form = _form(path, normaliser, tokeniser)
    loaded = _load(path)

    def score(batch: TextBatch) -> Columns:
        values: list[float | None] = []
        counts: list[int] = []
        for text in batch.strings():
            tokens = form.tokens(text)
            counts.append(len(tokens))
            values.append(_perplexity(loaded, tokens) if tokens else None)
        return {"": pa.array(values, pa.float64()), "tokens": pa.array(counts, pa.int32())}

    return score


def _perplexity(model: _Model, tokens: list[str]) -> float:
    sentence = " ".join(tokens)
    if len(tokens) <= _ONE_CALL:
        logarithm = model.score(sentence)
    else:
        logarithm = math.fsum(each for each, _, _ in model.full_scores(sentence))
    return float(round(10.0 ** (-logarithm / (len(tokens) + 1)), 1))


def _form(path: str, normaliser: str | None, tokeniser: str | None) -> TextForm:
    """The text form that the model's metadata and the config agree on."""
    card = read_form(path)
    if card is None:
        if normaliser is None:
            raise ModelError(
                f"{path}: no {os.path.basename(card_path(path))} beside it says how its training text was"
                " normalised; set `normaliser:` (ccnet, ccnet_spaced or none)"
            )
        return TextForm(normaliser, tokeniser or "whitespace")
    for what, asked, trained in (
        ("normaliser", normaliser, card.normaliser),
        ("tokeniser", tokeniser, card.tokeniser),
    ):
        if asked is not None and asked != trained:
            raise ModelError(
                f"{path}: trained with the {what} {trained!r}, but the config says {asked!r};"
                f" leave `{what}:` out or set it to {trained}"
            )
    return card


def _load(path: str) -> _Model:
    with open(path, "rb") as stream:
        start = stream.read(len(_BINARY))
        if start.startswith(_GZIP):
            raise ModelError(f"{path}: compressed with gzip; unpack it and name the unpacked file")
        if start != _BINARY:
            stream.seek(0)
            _check_arpa(path, stream)
    try:
        kenlm = importlib.import_module("kenlm")
    except ImportError:
        raise ModelError("perplexity needs the package `kenlm`, which is not here; use Python 3.11 or 3.12") from None
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    make = cast(Callable[[str, object], _Model], kenlm.Model)
    try:
        return make(path, config)
    except (OSError, RuntimeError) as error:
        # Only the end of the library's message is for a reader: before it stand places in its own source.
        reason = re.split(r"threw \w+(?: because `.*?')?\. ", " ".join(str(error).split()))[-1].rstrip(")")
        raise ModelError(f"{path}: KenLM cannot load it ({reason}); get or train the model again") from None


def _check_arpa(path: str, stream: BinaryIO) -> None:
    """Refuse what is not an ARPA file, or is one that was cut short, before the library opens it."""
    again = "get or train the model again"
    lines = (line.strip() for line in stream)
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    if first != b"\\data\\":
        raise ModelError(f"{path}: neither an ARPA file (no \\data\\ at its start) nor a KenLM binary; {again}")
    order = 0
    for line in lines:
        found = re.fullmatch(rb"ngram (\d+)\s*=\s*(\d+)", line)
        if not found:
            break
        order = int(found[1])
    if not _MIN_ORDER <= order <= _MAX_ORDER:
        wanted = f"KenLM reads orders {_MIN_ORDER} to {_MAX_ORDER}"
        raise ModelError(f"{path}: an ARPA file of order {order}; {wanted}, so train another")
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 4096))
    if not stream.read().rstrip().endswith(b"\\end\\"):
        raise ModelError(f"{path}: the ARPA file is cut short (no \\end\\); {again}")
