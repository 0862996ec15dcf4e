"""The negative log-likelihood of every token of texts, by windows of a model's context, in batches.

    losses = token_losses(lm, [ids], context=1024, stride=512, batch_tokens=8192)
    losses[0].sum()                              # of the whole text, in nats

Windows share batches as `curate.models.lm.batching` says, so that on a CPU the same bits come out for any batch. The
padding is on the right, where a causal model cannot see it, so it needs no mask, and the positions are those of the
text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import ModelError
from curate.models.device import threads
from curate.models.lm.batching import batches
from curate.models.lm.folder import LanguageModel, Tokens

# At most so many logits at once, 4 bytes each, but always those of one window.
_LOGITS = 1 << 27
_MOST = 709.0  # the exponential of a larger number is above the largest


@dataclass(frozen=True)
class Window:
    """Tokens `begin` to `end` of a text and its start are read; those after `first` to `end` are scored."""

    text: int
    begin: int
    end: int
    first: int

    @property
    def length(self) -> int:
        """How many tokens are read."""
        return self.end - self.begin


def windows(text: int, tokens: int, context: int, stride: int) -> Iterator[Window]:
    """The windows over a text: each token is scored once, in the first window that reaches it."""
    begin = first = 0
    while first < tokens:
        end = min(begin + context, tokens)
        yield Window(text, begin, end, first)
        begin, first = begin + stride, end


def _batches(
    lm: LanguageModel, lengths: Sequence[int], context: int, batch_tokens: int
) -> Iterator[tuple[int, list[int]]]:
    return batches(lengths, context, min(batch_tokens, _LOGITS // lm.vocabulary), lm.grain)


def perplexity(loss: float) -> float:
    """The exponential of a mean loss in nats; 8.2e307 for a loss above 709."""
    return math.exp(min(loss, _MOST))


def sequence_losses(
    lm: LanguageModel, sequences: Sequence[Tokens], *, context: int, batch_tokens: int
) -> list[npt.NDArray[np.float64]]:
    """Minus log P of every token but the first, given all those before it, in nats; float64, one array a sequence.

    For tokens that bring their own beginning, as a chat template writes it: the losses of the supervised ones are
    `losses[row.supervised[1:]]`. Up to `context` + 1 tokens have all others before them; see `token_losses`.
    """
    firsts = [int(each[0]) if len(each) else lm.start for each in sequences]
    rests = [each[1:] for each in sequences]
    return token_losses(lm, rests, context=context, stride=context, batch_tokens=batch_tokens, starts=firsts)


def token_losses(
    lm: LanguageModel,
    texts: Sequence[Tokens],
    *,
    context: int,
    stride: int,
    batch_tokens: int,
    starts: Sequence[int] | None = None,
) -> list[npt.NDArray[np.float64]]:
    """Minus log P of every token given those before it in its window, in nats; float64, one array a text.

    Args:
        lm: the model.
        texts: token ids.
        context: how many tokens a window reads.
        stride: how far a window begins after the one before, 1 to `context`: all tokens but those of the
            first window have at least `context - stride` others before them.
        batch_tokens: about how many tokens are computed at once; changes no number.
        starts: what the first token of each text is predicted from; `lm.start` by default.

    Raises:
        ModelError: the model returns something that is not finite.
    """
    losses = [np.zeros(len(text)) for text in texts]
    firsts = [lm.start] * len(texts) if starts is None else starts
    every = [window for i, text in enumerate(texts) for window in windows(i, len(text), context, stride)]
    with threads(1):
        for length, some in _batches(lm, [window.length for window in every], context, batch_tokens):
            _score(lm, texts, firsts, [every[i] for i in some], length, losses)
    if not all(np.isfinite(each).all() for each in losses):
        raise ModelError(f"{lm.path}: the model gives a token no finite probability; get or train it again")
    return losses


def _score(
    lm: LanguageModel,
    texts: Sequence[Tokens],
    starts: Sequence[int],
    batch: Sequence[Window],
    length: int,
    losses: list[npt.NDArray[np.float64]],
) -> None:
    """Fill in the losses of the windows of one batch."""
    import torch

    read = np.zeros((len(batch), length), dtype=np.int64)
    wanted = np.zeros((len(batch), length), dtype=np.int64)
    for row, window in enumerate(batch):
        tokens = texts[window.text]
        wanted[row, : window.length] = tokens[window.begin : window.end]
        read[row, 1 : window.length] = tokens[window.begin : window.end - 1]
        read[row, 0] = starts[window.text] if window.begin == 0 else tokens[window.begin - 1]
    with torch.inference_mode():
        logits = lm.model(input_ids=torch.from_numpy(read).to(lm.device)).logits
        target = torch.from_numpy(wanted).to(lm.device)
        found = torch.stack(
            [torch.nn.functional.cross_entropy(of, to, reduction="none") for of, to in zip(logits, target, strict=True)]
        )
    values = found.cpu().numpy().astype(np.float64)
    for row, window in enumerate(batch):
        skipped = window.first - window.begin
        losses[window.text][window.first : window.end] = values[row, skipped : window.length]


def next_logits(
    lm: LanguageModel, prompts: Sequence[Tokens], tokens: Sequence[int], *, context: int, batch_tokens: int
) -> npt.NDArray[np.float64]:
    """The logits of some tokens as the one after each prompt, float64 (prompts, tokens).

    Args:
        lm: the model.
        prompts: token ids, 1 to `context` of them.
        tokens: whose logits are wanted.
        context: how many tokens the model reads.
        batch_tokens: about how many tokens are computed at once; changes no number.

    Raises:
        ModelError: the model returns something that is not finite.
    """
    import torch

    found = np.zeros((len(prompts), len(tokens)))
    with threads(1), torch.inference_mode():
        for length, some in _batches(lm, [len(each) for each in prompts], context, batch_tokens):
            read = np.zeros((len(some), length), dtype=np.int64)
            for row, i in enumerate(some):
                read[row, : len(prompts[i])] = prompts[i]
            logits = lm.model(input_ids=torch.from_numpy(read).to(lm.device)).logits
            last = torch.stack([logits[row, len(prompts[i]) - 1, list(tokens)] for row, i in enumerate(some)])
            found[some] = last.cpu().numpy()
    if not np.isfinite(found).all():
        raise ModelError(f"{lm.path}: the model gives a token no finite logit; get or train it again")
    return found
