"""A model that writes one text from another, as BART and T5 do: the negative log-likelihood of the second.

    lm = load_seq2seq("models/bart", context=1024, device="auto")
    lm.losses([("A long text.", "Short.")])      # [array([...])], one number a token of the second text

The tokens that the tokenizer adds are read and scored as the others are. On a CPU the company of a pair changes no bit,
see `curate.models.lm.batching`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt

from curate.core.errors import ModelError
from curate.models.device import Device, choose, threads
from curate.models.lm.batching import grain_of, padded, shaped_batches
from curate.models.lm.folder import Output, Tokenizer, context_of, load_errors, load_whole, read_config

if TYPE_CHECKING:
    import torch

# A text is cut to so many characters for each token that may be read, before it is cut into tokens.
_CHARS = 32


class _Model(Protocol):
    def __call__(
        self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, decoder_input_ids: torch.Tensor
    ) -> Output: ...
    def to(self, device: str) -> _Model: ...


@dataclass(frozen=True)
class Seq2Seq:
    """Such a model, ready to score.

    Attributes:
        path: its folder.
        model: float32, on `device`.
        tokenizer: of the model.
        start: the token that the second text begins after.
        context: how many tokens are read of each text.
        device: `cpu` or `cuda`.
        grain: which pairs may share a batch.
    """

    path: str
    model: _Model
    tokenizer: Tokenizer
    start: int
    context: int
    device: str
    grain: int

    def losses(self, pairs: Sequence[tuple[str, str]], *, batch_tokens: int = 8192) -> list[npt.NDArray[np.float64]]:
        """Minus log P of every token of the second text after the first, in nats; float64, one array a pair.

        Raises:
            ModelError: the model returns something that is not finite.
        """
        sides = [self._encode([pair[side] for pair in pairs]) for side in (0, 1)]
        shapes = [tuple(padded(len(each), self.context) for each in pair) for pair in zip(*sides, strict=True)]
        found = [np.zeros(0)] * len(pairs)
        with threads(1):
            for shape, some in shaped_batches(shapes, batch_tokens, self.grain):
                values = self._losses([sides[0][i] for i in some], [sides[1][i] for i in some], shape)
                for i, each in zip(some, values, strict=True):
                    found[i] = each[: len(sides[1][i])]
        if not all(np.isfinite(each).all() for each in found):
            raise ModelError(f"{self.path}: the model gives a token no finite probability; get it again")
        return found

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        return self.tokenizer(
            [text[: self.context * _CHARS] for text in texts],
            add_special_tokens=True,
            split_special_tokens=True,
            verbose=False,
            truncation=True,
            max_length=self.context,
        )["input_ids"]

    def _losses(
        self, firsts: Sequence[Sequence[int]], seconds: Sequence[Sequence[int]], lengths: tuple[int, ...]
    ) -> npt.NDArray[np.float64]:
        import torch

        pad = self.tokenizer.pad_token_id or 0
        read = np.full((len(firsts), lengths[0]), pad, dtype=np.int64)
        mask = np.zeros(read.shape, dtype=np.int64)
        wanted = np.full((len(firsts), lengths[1]), pad, dtype=np.int64)
        for row, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
            read[row, : len(first)] = first
            mask[row, : len(first)] = 1
            wanted[row, : len(second)] = second
        before = np.concatenate([np.full((len(firsts), 1), self.start, dtype=np.int64), wanted[:, :-1]], axis=1)
        given = (torch.from_numpy(each).to(self.device) for each in (read, mask, before, wanted))
        with torch.inference_mode():
            ids, seen, shifted, target = given
            logits = self.model(input_ids=ids, attention_mask=seen, decoder_input_ids=shifted).logits
            losses = [
                torch.nn.functional.cross_entropy(of, to, reduction="none")
                for of, to in zip(logits, target, strict=True)
            ]
            found: npt.NDArray[np.float64] = torch.stack(losses).double().cpu().numpy()
        return found


def is_seq2seq(path: str) -> bool:
    """Whether a checked folder's config is of such a model."""
    with load_errors(path):
        return bool(getattr(read_config(path), "is_encoder_decoder", False))


def load_seq2seq(path: str, *, context: int | None, device: Device) -> Seq2Seq:
    """Load such a model and its tokenizer, in float32; by default it reads all that it can, 1,024 tokens at most.

    Raises:
        ModelError: the folder is not safe or not whole, holds another kind of model, or reads less.
    """
    path, config, loaded, tokenizer = load_whole(path, "Seq2SeqLM")
    model = cast(_Model, loaded)
    start = getattr(config, "decoder_start_token_id", None)
    if not isinstance(start, int):
        raise ModelError(f"{path}: its config.json has no decoder_start_token_id; get the model again")
    limit = context_of(config)
    if limit is not None and context is not None and context > limit:
        raise ModelError(f"{path}: the model reads {limit} tokens at once, not {context}; lower `context:`")
    where = choose(device)
    reads = context or min(limit or 1024, 1024)
    return Seq2Seq(path, model.to(where), tokenizer, start, reads, where, grain_of(model, where))
