"""The verifier `entailment`: whether a text follows from what it was made from, is open, or contradicts it.

    verifier = entailment(model="models/nli", both=True)
    verifier(batch)["both"]                      # the lower of both directions: the two mean the same

The model is any sequence classifier of pairs with the labels entailment, neutral and contradiction, or the folder that
`train: {entailment: ...}` wrote, a head over a frozen encoder. The second is small and weak: see what its card says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.config import RESOURCE
from curate.core.errors import ConfigError, ModelError
from curate.core.files import ModelFile
from curate.models.device import Device, require
from curate.models.encoder.classifier import Classifier, Sequenced, load_classifier
from curate.models.encoder.encoder import load_encoder
from curate.models.encoder.pair_head import (
    DECIMALS,
    ENCODER,
    LABELS,
    SETTINGS,
    feature_count,
    features,
    load_pair_head,
    word_features,
)
from curate.models.stats import softmax
from curate.steps.verify.batch import PARENTS, Columns, Verifier, VerifyBatch
from curate.steps.verify.similarity import filled, positive

Pair = tuple[str, str]
# From pairs of premise and hypothesis to the probabilities (pairs, 3) of LABELS.
Judge = Callable[[Sequence[Pair]], npt.NDArray[np.float64]]
_MOST_CONTEXT = 512


class _PairTokenizer(Protocol):
    def __call__(self, premise: str, hypothesis: str, **options: object) -> Mapping[str, Sequence[int]]: ...


def entailment(
    *,
    model: ModelFile,
    premise: str = PARENTS,
    hypothesis: str = "text",
    both: bool = False,
    context: int | None = None,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> Verifier:
    """The probabilities `entailment`, `neutral` and `contradiction`, float64 rounded to 6 decimals.

    Of several premises that counts which entails most. Null where one side has no text but white space.

    Args:
        model: a folder, or a step that trains one.
        premise: `parents`, or a column of strings or of lists of them.
        hypothesis: a column of strings.
        both: add `both`, the lower of the probabilities that the premise entails the hypothesis and that the hypothesis
            entails the premise. Of several premises that with the largest then counts for all four columns.
        context: how many tokens of a pair a classifier reads; by default what it can, 512 at most. Of too many the
            longer of the two loses its last ones. A head reads of each text what it was trained with.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: a number is out of range, or does not go with the model.
        ModelError: the folder is not there, not whole or not safe, its labels are others, or there is no GPU.
    """
    positive("entailment", batch_tokens=batch_tokens, **({} if context is None else {"context": context}))
    judge = (
        _head(model, context, batch_tokens, device)
        if os.path.isfile(os.path.join(model.removeprefix("file://"), SETTINGS))
        else _classifier(model, context, batch_tokens, device)
    )

    def verify(batch: VerifyBatch) -> Columns:
        rows = [
            [(other, text) for other in others if filled(other)] if filled(text) else []
            for text, others in zip(batch.texts(hypothesis), batch.lists(premise), strict=True)
        ]
        wanted = {pair for row in rows for pair in row}
        every = sorted(wanted | {(text, other) for other, text in wanted} if both else wanted)
        found = dict(zip(every, judge(every).tolist(), strict=True))

        def merit(pair: Pair) -> float:
            there: float = found[pair][0]
            return min(there, found[pair[::-1]][0]) if both else there

        best = [max(row, key=merit, default=None) for row in rows]
        columns = {
            name: pa.array([None if pair is None else found[pair][i] for pair in best], pa.float64())
            for i, name in enumerate(LABELS)
        }
        if both:
            columns["both"] = pa.array([None if pair is None else merit(pair) for pair in best], pa.float64())
        return columns

    return verify


def _head(path: str, context: int | None, batch_tokens: int, device: Device) -> Judge:
    require()
    if context is not None:
        raise ConfigError(f"{path}: reads as many tokens as it was trained with; remove `context:`")
    head = load_pair_head(path)
    encoder = load_encoder(os.path.join(path, ENCODER), context=head.settings.context, device=device)
    if feature_count(encoder.width) != head.weight.shape[1]:
        raise ModelError(
            f"{path}: its head is for {head.weight.shape[1]} features of a pair, its encoder gives"
            f" {feature_count(encoder.width)}; train it again"
        )

    def judge(pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
        texts = sorted({text for pair in pairs for text in pair})
        at = {text: i for i, text in enumerate(texts)}
        embeddings = encoder.embed(texts, batch_tokens=batch_tokens)
        first, second = ([at[pair[side]] for pair in pairs] for side in (0, 1))
        return head.probabilities(features(embeddings[first], embeddings[second], word_features(pairs)))

    return judge


def _classifier(path: str, context: int | None, batch_tokens: int, device: Device) -> Judge:
    model = load_classifier(path, device=device)
    order = _order(model)
    reads = context or min(model.context or _MOST_CONTEXT, _MOST_CONTEXT)
    if model.context is not None and reads > model.context:
        raise ConfigError(f"{model.path}: the model reads {model.context} tokens, not {reads}; lower `context:`")

    def judge(pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
        tokens = [_encode(model, pair, reads) for pair in pairs]
        return np.round(softmax(model.logits(tokens, batch_tokens=batch_tokens)[:, order]), DECIMALS)

    return judge


def _order(model: Classifier) -> list[int]:
    """Where each of LABELS is among the model's labels.

    Raises:
        ModelError: the model has others.
    """
    names = [label.lower() for label in model.labels]
    if sorted(names) != sorted(LABELS):
        raise ModelError(
            f"{model.path}: its labels are {', '.join(model.labels)}, not {', '.join(LABELS)}: name a model of"
            " entailment, or name its labels in id2label of its config.json"
        )
    return [names.index(label) for label in LABELS]


def _encode(model: Classifier, pair: Pair, reads: int) -> Sequenced:
    found = cast(_PairTokenizer, model.tokenizer)(
        *pair,
        add_special_tokens=True,
        split_special_tokens=True,
        verbose=False,
        truncation="longest_first",
        max_length=reads,
    )
    return {name: found[name] for name in ("input_ids", "token_type_ids") if name in found}
