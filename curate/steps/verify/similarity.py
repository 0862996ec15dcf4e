"""The verifier `similarity`: how near a text is in meaning to what it was made from.

    verifier = similarity(model="models/minilm")
    verifier(VerifyBatch.of([{"id": "a", "text": "A cat sat.", "parents": ["p"]}], {"p": "A cat was sitting."}))

It is the cosine of the embeddings that `curate.models.encoder.encoder` gives, the means of the states of their tokens.
"""

from __future__ import annotations

from typing import Annotated, TypeGuard

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.config import RESOURCE
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.models.device import Device
from curate.models.encoder.encoder import load_encoder
from curate.steps.verify.batch import PARENTS, Columns, Verifier, VerifyBatch

DECIMALS = 6


def similarity(
    *,
    model: ModelFile,
    column: str = "text",
    to: str = PARENTS,
    context: int = 512,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> Verifier:
    """The cosine with the most similar of the other texts: `""`, float64 from -1 to 1, rounded to 6 decimals.

    Null where one side has no text but white space.

    Args:
        model: the folder of an encoder, or a step that trains a language model.
        column: what is judged.
        to: what it is compared with: `parents`, or a column of strings or of lists of them.
        context: how many tokens of a text are read; what the encoder can read at most.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: a number is below 1.
        ModelError: the folder is not there, not whole or not safe, or there is no GPU.
    """
    positive("similarity", context=context, batch_tokens=batch_tokens)
    encoder = load_encoder(model, context=context, device=device)

    def verify(batch: VerifyBatch) -> Columns:
        texts, others = batch.texts(column), batch.lists(to)
        every = sorted(
            {each for text, rest in zip(texts, others, strict=True) for each in (text, *rest) if filled(each)}
        )
        vectors = encoder.embed(every, batch_tokens=batch_tokens)
        units = {text: vector / np.sqrt(_dot(vector, vector)) for text, vector in zip(every, vectors, strict=True)}
        best: list[float | None] = []
        for text, rest in zip(texts, others, strict=True):
            cosines = [_dot(units[text], units[each]) for each in rest if each in units] if text in units else []
            # A vector of zeros, or of a text without a token, points nowhere.
            best.append(max((round(each, DECIMALS) for each in cosines if not np.isnan(each)), default=None))
        return {"": pa.array(best, pa.float64())}

    return verify


def filled(text: str | None) -> TypeGuard[str]:
    """Whether a text has more than white space."""
    return text is not None and bool(text.strip())


def positive(name: str, **numbers: int) -> None:
    """See that the settings of a verifier are 1 or more.

    Raises:
        ConfigError: one is not.
    """
    for key, value in numbers.items():
        if value < 1:
            raise ConfigError(f"{name}: {key} {value} is below 1; set a positive number")


def _dot(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    return float(np.einsum("i,i->", a, b))
