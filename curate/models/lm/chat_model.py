"""A causal language model with its chat template: what scores of answers are computed with.

chat = load_chat_model("models/tiny", template=None, context=None, device="auto")
row, = chat.encode([(Turn("user", "Hi"), Turn("assistant", "Hello"))])
losses, = chat.losses([row.ids], batch_tokens=8192)          # of every token but the first, in nats
losses[row.supervised[1:]].mean()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.models.device import Device
from curate.models.lm.chat_encode import ChatEncoder, load_chat_encoder
from curate.models.lm.folder import LanguageModel, Tokens, load_causal_lm
from curate.models.lm.windows import sequence_losses


@dataclass(frozen=True)
class ChatModel:
    """A language model, and how conversations become its tokens."""

    lm: LanguageModel
    encode: ChatEncoder

    def losses(self, sequences: Sequence[Tokens], *, batch_tokens: int) -> list[npt.NDArray[np.float64]]:
        """Minus log P of every token but the first given those before it, in nats, one array a sequence.

        On a CPU a sequence's numbers do not depend on the others, nor on `batch_tokens`.

        Raises:
            ModelError: the model returns something that is not finite.
        """
        return sequence_losses(self.lm, sequences, context=self.encode.context, batch_tokens=batch_tokens)


def load_chat_model(path: str, *, template: str | None, context: int | None, device: Device) -> ChatModel:
    """Load the model, tokenizer and template in a folder.

    Args:
        path: the folder.
        template: a name in `curate.models.lm.chat_encode.TEMPLATES`; None takes the tokenizer's own.
        context: how many tokens of a conversation are read; the model's context by default, 2,048 at most.
        device: `auto` takes the GPU where there is one.

    Raises:
        ModelError: the folder is not there or not safe, there is no template, or the model reads fewer tokens.
    """
    encode = load_chat_encoder(path, template=template, context=context)
    return ChatModel(load_causal_lm(path, device=device), encode)
