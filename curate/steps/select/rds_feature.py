"""The feature `rds`: a causal language model's last hidden states, later tokens weighing more.

    vectors: {features: {from: pool, rds: {model: models/tulu, context: 2048}}}

Of a conversation in the model's chat template, with h_i the last hidden state of token i = 1 ... n, the sum of
i * h_i over the sum of i (Ivison et al. 2025, "Large-Scale Data Selection for Instruction Tuning", arXiv
2503.01807, RDS+; the weighting is that of Muennighoff 2022, SGPT). Tokens past the context are not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Protocol, cast

import numpy as np
from pydantic import Field

from curate.core.chat.messages import Conversation
from curate.core.config import RESOURCE
from curate.core.errors import ModelError
from curate.core.files import ModelFile
from curate.models.device import Device, threads
from curate.models.lm.batching import batches
from curate.models.lm.chat_encode import ChatEncoder, Refused, load_chat_encoder
from curate.models.lm.folder import LanguageModel, Tokens, load_causal_lm
from curate.steps.select.feature import Feature, Features, Featurise
from curate.steps.select.store import Rows

if TYPE_CHECKING:
    import torch


class RdsFeature(Feature):
    """Weighted means of the hidden states.

    Attributes:
        model: a folder with a causal language model, or a step that trains one.
        template: `alpaca` or `tulu`; by default the tokenizer's own.
        context: how many tokens are read; by default the model's context, 2,048 at most.
        batch_tokens: about how many tokens are computed at once.
        device: `auto` takes the GPU where there is one.
    """

    model: ModelFile
    template: str | None = None
    context: Annotated[int, Field(gt=0)] | None = None
    batch_tokens: Annotated[int, Field(gt=0), RESOURCE] = 8192
    device: Annotated[Device, RESOURCE] = "auto"

    def load(self, models: Mapping[str, str]) -> Featurise:
        """Load the model and its tokenizer."""
        encode = load_chat_encoder(models["model"], template=self.template, context=self.context)
        return _Rds(load_causal_lm(models["model"], device=self.device), encode, self.batch_tokens)


class _States(Protocol):
    @property
    def last_hidden_state(self) -> torch.Tensor: ...


class _Body(Protocol):
    """A causal language model without the layer that predicts tokens."""

    def __call__(self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> _States: ...


class _WithBody(Protocol):
    base_model: _Body
    config: object


class _Rds:
    def __init__(self, lm: LanguageModel, encode: ChatEncoder, batch_tokens: int) -> None:
        self._lm, self._encode, self._batch_tokens = lm, encode, batch_tokens
        self._body = cast(_WithBody, lm.model).base_model
        self.width = _width(lm)
        self.weights: Sequence[float] = (1.0,)

    def __call__(self, conversations: Sequence[Conversation]) -> Features:
        encoded = self._encode(conversations)
        rows = np.zeros((len(encoded), 1, self.width), np.float32)
        lengths = np.zeros(len(encoded), np.int32)
        there = [(i, each.ids) for i, each in enumerate(encoded) if not isinstance(each, Refused)]
        lengths[[i for i, _ in there]] = [len(ids) for _, ids in there]
        with threads(1):
            sizes = [len(ids) for _, ids in there]
            for length, some in batches(sizes, self._encode.context, self._batch_tokens, self._lm.grain):
                rows[[there[each][0] for each in some], 0] = self._means([there[each][1] for each in some], length)
        if not np.isfinite(rows).all():
            raise ModelError(f"{self._lm.path}: the model gives a row no finite states; get or train it again")
        return Features(rows, [each if isinstance(each, Refused) else None for each in encoded], lengths)

    def _means(self, texts: Sequence[Tokens], length: int) -> Rows:
        import torch

        ids = np.zeros((len(texts), length), dtype=np.int64)
        weights = np.zeros((len(texts), length), dtype=np.int64)
        for row, tokens in enumerate(texts):
            ids[row, : len(tokens)] = tokens
            weights[row, : len(tokens)] = np.arange(1, len(tokens) + 1)
        weight = torch.from_numpy(weights).to(self._lm.device)
        with torch.inference_mode():
            states = self._body(
                input_ids=torch.from_numpy(ids).to(self._lm.device), attention_mask=(weight > 0).long()
            ).last_hidden_state
            means = (states.double() * weight[:, :, None]).sum(1) / weight.sum(1, keepdim=True)
        found: Rows = means.float().cpu().numpy()
        return found


def _width(lm: LanguageModel) -> int:
    """Of the states, which in a few models is not that of the embeddings."""
    width = getattr(cast(_WithBody, lm.model).config, "hidden_size", None)
    return width if isinstance(width, int) else lm.model.get_input_embeddings().embedding_dim
