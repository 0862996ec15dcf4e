"""The verifier `bert_score`: how well the tokens of a text match those of what it was made from, by their states.

    verifier = bert_score(model="models/minilm", rescale=0.3)
    verifier(batch)                              # {"precision": ..., "recall": ..., "f1": ...}

Zhang et al. 2020, arXiv 1904.09675: a token counts with the largest cosine of its state with any of the other
text. Precision is the mean over the tokens of the text that is judged, recall that over the other's, each token
with its weight, and F1 their harmonic mean. As in the authors' package:

- The tokens that the tokenizer adds, such as [CLS] and [SEP], have the weight 0. Others may match them.
- With `idf` a token's weight is log((N + 1) / (n + 1)), where n of the N reference texts hold it; else it is 1.
- With `rescale` a number x becomes (x - b) / (1 - b). There is one b for all three here; the package has tables of
  three for each of its models.

Unlike there, the cosines of padding are not among those that a token may match (they are 0 there, so a token that is
like none gets 0 in company and less alone); texts are cut at the encoder's context; and an empty side is null, not 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.config import RESOURCE
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.core.files import ModelFile
from curate.models.device import Device, threads
from curate.models.encoder.encoder import Encoder, load_encoder
from curate.models.encoder.states import TokenStates, token_states
from curate.steps.verify.batch import PARENTS, Columns, Verifier, VerifyBatch
from curate.steps.verify.reference import REFERENCE
from curate.steps.verify.similarity import DECIMALS, filled, positive
from curate.text.batch import TextBatch

Matched = tuple[float, float, float]
NAMES = ("precision", "recall", "f1")
# So many rows at a time, as the states of all their tokens are held.
_ROWS = 64


def bert_score(
    *,
    model: ModelFile,
    column: str = "text",
    to: str = PARENTS,
    layer: int | None = None,
    idf: Annotated[str | None, REFERENCE] = None,
    rescale: float | None = None,
    context: int = 512,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> Verifier:
    """`precision`, `recall` and `f1`, float64 rounded to 6 decimals, against that of the other texts with the best F1.

    Null where one side has no text but white space, or weights that are all 0.

    Args:
        model: the folder of an encoder, or a step that trains a language model.
        column: what is judged.
        to: what it is compared with: `parents`, or a column of strings or of lists of them.
        layer: after which layer the states are taken, 0 being the embeddings; by default those of the last.
        idf: the step whose texts the tokens are counted in, such as the one with the parents.
        rescale: the baseline b, below 1: what texts that have nothing to do with one another get on average.
        context: how many tokens of a text are read; what the encoder can read at most.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: a number is out of range, or `idf` is no dataset of texts.
        ModelError: the folder is not there, not whole or not safe, has no such layer, or there is no GPU.
    """
    positive("bert_score", context=context, batch_tokens=batch_tokens)
    if layer is not None and layer < 0:
        raise ConfigError(f"bert_score: layer {layer} is below 0; layers are counted from the embeddings, which are 0")
    if rescale is not None and rescale >= 1:
        raise ConfigError(f"bert_score: rescale {rescale} is not below 1; set what unrelated texts get")
    encoder = load_encoder(model, context=context, device=device)
    weights = None if idf is None else count_tokens(encoder, idf)
    # An encoder that lacks the layer is refused before any row is read.
    token_states(encoder, ["a"], layer=layer)

    def verify(batch: VerifyBatch) -> Columns:
        texts, others = batch.texts(column), batch.lists(to)
        found: list[Matched | None] = []
        for start in range(0, len(texts), _ROWS):
            some = list(zip(texts[start : start + _ROWS], others[start : start + _ROWS], strict=True))
            every = sorted({each for text, rest in some for each in (text, *rest) if filled(each)})
            states = dict(zip(every, token_states(encoder, every, layer=layer, batch_tokens=batch_tokens), strict=True))
            for text, rest in some:
                pairs = [(states[text], states[other]) for other in rest if other in states] if text in states else []
                matched = [pair for a, b in pairs if (pair := match(a, b, weights)) is not None]
                found.append(max(matched, key=lambda pair: pair[2], default=None))
        return {
            name: pa.array([None if each is None else _scaled(each[i], rescale) for each in found], pa.float64())
            for i, name in enumerate(NAMES)
        }

    return verify


def match(text: TokenStates, other: TokenStates, idf: Mapping[int, float] | None = None) -> Matched | None:
    """Precision, recall and F1 of a text against another; None where the tokens of one weigh nothing.

    Args:
        text: what is judged.
        other: what it is compared with.
        idf: the weight of each token by its id; 1 by default.
    """
    import torch

    own, others = _weights(text, idf), _weights(other, idf)
    if not own.any() or not others.any():
        return None
    with threads(1):
        cosines = (torch.from_numpy(_unit(text.vectors)) @ torch.from_numpy(_unit(other.vectors)).T).numpy()
    precision = math.fsum(cosines.max(1) * own) / math.fsum(own)
    recall = math.fsum(cosines.max(0) * others) / math.fsum(others)
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0


def count_tokens(encoder: Encoder, folder: str) -> Mapping[int, float]:
    """The weight log((N + 1) / (n + 1)) of every token, where n of the N texts of a dataset hold it.

    Raises:
        ConfigError: the folder is no dataset, or has no text.
    """
    data = Dataset.open(folder)
    if "text" not in data.schema().names:
        raise ConfigError(f"{folder}: the dataset of `idf:` has no column `text`; name one of documents")
    held: Counter[int] = Counter()
    texts = 0
    for shard in data.shards:
        for batch in data.read(shard, ["text"]):
            some = TextBatch(batch.column("text")).strings()
            texts += len(some)
            for ids in encoder.encode(some):
                held.update(set(ids))
    if not texts:
        raise ConfigError(f"{folder}: the dataset of `idf:` has no rows; name another")
    return _Idf({token: math.log((texts + 1) / (count + 1)) for token, count in held.items()}, math.log(texts + 1))


class _Idf(dict[int, float]):
    """Weights by token; what no text holds has the largest."""

    def __init__(self, known: Mapping[int, float], unknown: float) -> None:
        super().__init__(known)
        self._unknown = unknown

    def __missing__(self, token: int) -> float:
        return self._unknown


def _weights(states: TokenStates, idf: Mapping[int, float] | None) -> npt.NDArray[np.float64]:
    weights = np.ones(len(states.ids)) if idf is None else np.array([idf[int(token)] for token in states.ids])
    return np.where(states.special, 0.0, weights)


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: npt.NDArray[np.float64] = vectors / np.where(lengths > 0, lengths, 1.0)
    return found


def _scaled(value: float, baseline: float | None) -> float:
    return round(value if baseline is None else (value - baseline) / (1 - baseline), DECIMALS)
