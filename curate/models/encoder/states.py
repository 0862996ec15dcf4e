"""The states of single tokens, of any encoder: what BERTScore compares.

    encoder = load_encoder("models/minilm", context=512, device="auto")
    (states,) = token_states(encoder, ["Some text."])
    states.vectors[~states.special]              # float64 (tokens, width), without those that the tokenizer adds

On a CPU a text's company changes no bit, see `curate.models.lm.batching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt

from curate.core.errors import ModelError
from curate.models.device import threads
from curate.models.encoder.encoder import Encoder
from curate.models.lm.batching import batches

if TYPE_CHECKING:
    import torch


class _Output(Protocol):
    last_hidden_state: torch.Tensor
    hidden_states: Sequence[torch.Tensor]


class _Model(Protocol):
    def __call__(
        self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, output_hidden_states: bool
    ) -> _Output: ...


class _Tokenizer(Protocol):
    all_special_ids: Sequence[int]
    unk_token_id: int | None


@dataclass(frozen=True)
class TokenStates:
    """What an encoder says of the tokens of a text.

    Attributes:
        ids: of the tokens, int64 (tokens,).
        vectors: their states, float64 (tokens, width).
        special: which of them the tokenizer added.
    """

    ids: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float64]
    special: npt.NDArray[np.bool_]


def layers(encoder: Encoder) -> int | None:
    """How many layers an encoder has; None where its config does not say."""
    config = getattr(encoder.model, "config", None)
    count = getattr(config.get_text_config(), "num_hidden_layers", None) if config is not None else None
    return count if isinstance(count, int) else None


def added_ids(encoder: Encoder) -> frozenset[int]:
    """The tokens that only the tokenizer writes; one that stands for an unknown word is a text's own."""
    tokenizer = cast(_Tokenizer, encoder.tokenizer)
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}


def token_states(
    encoder: Encoder, texts: Sequence[str], *, layer: int | None = None, batch_tokens: int = 8192
) -> list[TokenStates]:
    """The states of the tokens of each text; none for an empty text.

    All of them are held in memory, 8 bytes a number: give a few hundred texts at a time.

    Args:
        encoder: of any kind.
        texts: of which the first `encoder.context` tokens are read.
        layer: after which layer, 0 being the embeddings of the tokens; by default what the model returns in the end.
        batch_tokens: about how many tokens are computed at once; changes no number.

    Raises:
        ModelError: the encoder has no such layer, or returns something that is not finite.
    """
    count = layers(encoder)
    if layer is not None and count is not None and layer > count:
        raise ModelError(f"{encoder.path}: the encoder has {count} layers, so `layer: {layer}` is not there; lower it")
    tokens = encoder.encode(texts)
    special = np.array(sorted(added_ids(encoder)), dtype=np.int64)
    filled = [i for i, each in enumerate(tokens) if each]
    nothing = TokenStates(np.zeros(0, np.int64), np.zeros((0, encoder.width)), np.zeros(0, np.bool_))
    found = [nothing] * len(texts)
    with threads(1):
        lengths = [len(tokens[i]) for i in filled]
        for length, places in batches(lengths, encoder.context, batch_tokens, encoder.grain):
            some = [filled[each] for each in places]
            for i, vectors in zip(some, _states(encoder, [tokens[i] for i in some], length, layer), strict=True):
                ids = np.array(tokens[i], dtype=np.int64)
                found[i] = TokenStates(ids, vectors, np.isin(ids, special))
    return found


def _states(
    encoder: Encoder, texts: Sequence[Sequence[int]], length: int, layer: int | None
) -> list[npt.NDArray[np.float64]]:
    import torch

    ids = np.full((len(texts), length), encoder.tokenizer.pad_token_id or 0, dtype=np.int64)
    mask = np.zeros((len(texts), length), dtype=np.int64)
    for row, tokens in enumerate(texts):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    with torch.inference_mode():
        output = cast(_Model, encoder.model)(
            input_ids=torch.from_numpy(ids).to(encoder.device),
            attention_mask=torch.from_numpy(mask).to(encoder.device),
            output_hidden_states=layer is not None,
        )
        states = output.last_hidden_state if layer is None else output.hidden_states[layer]
        values = states.double().cpu().numpy()
    found = [values[row, : len(tokens)] for row, tokens in enumerate(texts)]
    if not all(np.isfinite(each).all() for each in found):
        raise ModelError(f"{encoder.path}: the encoder gives a token no finite state; get it again")
    return found
