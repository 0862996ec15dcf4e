"""The scorer `embedding`: what a linear head over a frozen encoder says of a text, as FineWeb-Edu's classifier does.

    scorer = embedding(model="models/edu")       # a folder that `train: {embedding: ...}` wrote
    columns = scorer(TextBatch.of(["A page."]))
    columns["label"]                             # 0 to 5

The embedding is the mean of the encoder's last states over the tokens that it reads (Lozhkov et al. 2024 take a
regression head over one; they keep a page whose score, clamped and rounded, is at least 3).
"""

from __future__ import annotations

import os
from typing import Annotated

import numpy as np

from curate.core.config import RESOURCE
from curate.core.errors import ConfigError, ModelError
from curate.core.files import ModelFile
from curate.models.device import Device, require
from curate.models.encoder.encoder import load_encoder
from curate.models.encoder.head import ENCODER, load_head
from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.columns import column


def embedding(
    *,
    model: ModelFile,
    batch_tokens: Annotated[int, RESOURCE] = 8192,
    device: Annotated[Device, RESOURCE] = "auto",
) -> Scorer:
    """The predicted label as it is, `""` (float64), and clamped to the labels' range and rounded, `label` (int32).

    Both are null for a text without a token. Halves are rounded to the even label, as in FineWeb-Edu's code.

    Args:
        model: a folder with an encoder and a head, or a step that trains one.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.

    Raises:
        ConfigError: `batch_tokens` is below 1.
        ModelError: the folder is not there, not whole or not safe, or there is no GPU.
    """
    if batch_tokens < 1:
        raise ConfigError(f"embedding: batch_tokens {batch_tokens} is below 1; set a positive number")
    require()
    head = load_head(model)
    encoder = load_encoder(os.path.join(model, ENCODER), context=head.settings.context, device=device)
    if encoder.width != len(head.weight):
        raise ModelError(
            f"{model}: its head is for {len(head.weight)} numbers a text, its encoder gives {encoder.width}"
        )

    def score(batch: TextBatch) -> Columns:
        values = head.values(encoder.embed(batch.strings(), batch_tokens=batch_tokens))
        missing = np.isnan(values)
        labels = np.where(missing, 0, head.labels(values)).astype(np.int32)
        return {"": column(values, ~missing), "label": column(labels, ~missing)}

    return score
