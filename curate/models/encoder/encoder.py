"""A frozen encoder: a text as the mean of the last states of its tokens.

    encoder = load_encoder("models/minilm", context=512, device="auto")
    encoder.embed(["Some text.", ""])            # float64 (2, width); NaN for a text without a token

Only the first `context` tokens of a text are read, among them those that the encoder's tokenizer adds (its first
and last). On a CPU a text's company changes no bit, see `curate.models.lm.batching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt

from curate.core.errors import ModelError
from curate.models.device import Device, choose, threads
from curate.models.lm.batching import batches, grain_of
from curate.models.lm.folder import Tokenizer, context_of, load_whole

if TYPE_CHECKING:
    import torch

Embeddings = npt.NDArray[np.float64]
# A text is cut to so many characters for each token that may be read, before it is cut into tokens.
_CHARS = 32
_TEXTS_AT_ONCE = 1000


class _Output(Protocol):
    @property
    def last_hidden_state(self) -> torch.Tensor: ...


class _Model(Protocol):
    def __call__(self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> _Output: ...
    def to(self, device: str) -> _Model: ...


@dataclass(frozen=True)
class Encoder:
    """An encoder, ready to embed: its folder, model, tokenizer, most tokens of a text, width, device and grain."""

    path: str
    model: _Model
    tokenizer: Tokenizer
    context: int
    width: int
    device: str
    grain: int

    def embed(self, texts: Sequence[str], *, batch_tokens: int = 8192) -> Embeddings:
        """The embedding of each text, float64 (texts, width); NaN where a text has no token.

        Raises:
            ModelError: the encoder returns something that is not finite.
        """
        found = np.empty((len(texts), self.width))
        for at in range(0, len(texts), _TEXTS_AT_ONCE):
            some = slice(at, at + _TEXTS_AT_ONCE)
            found[some] = self.embed_tokens(self.encode(texts[some]), batch_tokens=batch_tokens)
        return found

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens that are read of each text, those that the tokenizer adds among them; none of an empty text."""
        found: list[list[int]] = [[] for _ in texts]
        filled = [i for i, text in enumerate(texts) if text]
        if filled:
            ids = self.tokenizer(
                [texts[i][: self.context * _CHARS] for i in filled],
                add_special_tokens=True,
                split_special_tokens=True,
                verbose=False,
                truncation=True,
                max_length=self.context,
            )["input_ids"]
            for i, tokens in zip(filled, ids, strict=True):
                found[i] = tokens
        return found

    def embed_tokens(self, texts: Sequence[Sequence[int]], *, batch_tokens: int = 8192) -> Embeddings:
        """The embedding of each text from its tokens, as `embed`."""
        found = np.full((len(texts), self.width), np.nan)
        filled = [i for i, tokens in enumerate(texts) if len(tokens)]
        lengths = [len(texts[i]) for i in filled]
        with threads(1):
            for length, places in batches(lengths, self.context, batch_tokens, self.grain):
                some = [filled[each] for each in places]
                found[some] = self._mean([texts[i] for i in some], length)
        return found

    def _mean(self, texts: Sequence[Sequence[int]], length: int) -> Embeddings:
        import torch

        ids = np.full((len(texts), length), self.tokenizer.pad_token_id or 0, dtype=np.int64)
        mask = np.zeros((len(texts), length), dtype=np.int64)
        for row, tokens in enumerate(texts):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        seen = torch.from_numpy(mask).to(self.device)
        with torch.inference_mode():
            states = self.model(input_ids=torch.from_numpy(ids).to(self.device), attention_mask=seen).last_hidden_state
            means = (states.double() * seen[:, :, None]).sum(1) / seen.sum(1, keepdim=True)
        values: Embeddings = means.cpu().numpy()
        if not np.isfinite(values).all():
            raise ModelError(f"{self.path}: the encoder gives a text no finite embedding; get it again")
        return values


def load_encoder(path: str, *, context: int, device: Device) -> Encoder:
    """Load an encoder and its tokenizer, in float32; `context` is lowered to what the encoder can read.

    Raises:
        ModelError: the folder is not safe or not whole, or holds another kind of model.
    """
    path, config, loaded, tokenizer = load_whole(path, "")
    model = cast(_Model, loaded)
    where = choose(device)
    width = getattr(config.get_text_config(), "hidden_size", None)
    if not isinstance(width, int):
        raise ModelError(f"{path}: its config.json does not say how wide its states are; use another encoder")
    limit = min(context, context_of(config) or context)
    return Encoder(path, model.to(where), tokenizer, limit, width, where, grain_of(model, where))
