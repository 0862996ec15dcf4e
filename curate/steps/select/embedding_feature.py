"""The feature `embedding`: what a sentence encoder makes of the questions, the answers, or the whole conversations.

    vectors: {features: {from: pool, embedding: {model: models/minilm, part: question}}}

The mean of the last states of the tokens, as `curate.models.encoder.encoder` gives it. A row whose part has no token is
refused as `no-text`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from curate.core.chat.messages import Conversation, Part, part
from curate.core.config import RESOURCE
from curate.core.files import ModelFile
from curate.models.device import Device
from curate.models.encoder.encoder import Encoder, load_encoder
from curate.models.lm.chat_encode import Refused
from curate.steps.select.feature import Feature, Features, Featurise


class EmbeddingFeature(Feature):
    """Vectors of a sentence encoder.

    Attributes:
        model: a folder with `config.json`, safetensors weights and a tokenizer, or a step that trains one.
        part: what is read of a conversation: `question` (all but the answers), `answer`, or `text` (both).
        context: how many tokens are read, if the encoder can read so many.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.
    """

    model: ModelFile
    part: Part = "text"
    context: Annotated[int, Field(gt=0)] = 512
    batch_tokens: Annotated[int, Field(gt=0), RESOURCE] = 8192
    device: Annotated[Device, RESOURCE] = "auto"

    def load(self, models: Mapping[str, str]) -> Featurise:
        """Load the encoder."""
        return _Embed(load_encoder(models["model"], context=self.context, device=self.device), self)


class _Embed:
    def __init__(self, encoder: Encoder, config: EmbeddingFeature) -> None:
        self._encoder, self._config = encoder, config
        self.width = encoder.width
        self.weights: Sequence[float] = (1.0,)

    def __call__(self, conversations: Sequence[Conversation]) -> Features:
        which = self._config.part
        texts = [part(each, which) for each in conversations]
        # White space is a token to some encoders, and says nothing.
        tokens = self._encoder.encode([text if text.strip() else "" for text in texts])
        vectors = self._encoder.embed_tokens(tokens, batch_tokens=self._config.batch_tokens)
        refused = [None if each else Refused("no-text", f"no token in its {which}") for each in tokens]
        rows = np.nan_to_num(vectors, nan=0.0).astype(np.float32)[:, None, :]
        return Features(rows, refused, np.array([len(each) for each in tokens], dtype=np.int32))
