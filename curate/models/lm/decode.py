"""What a causal language model writes after prompts: the most likely token, and again, in batches.

    greedy(lm, [prompt], ends=[1], max_tokens=64)            # [array([...], dtype=int32)]

Prompts of about one length share a batch. They are padded on the left, behind an attention mask and with positions
that begin at their first token, so a prompt's company changes no more than the rounding of its numbers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from curate.core.errors import ModelError
from curate.models.device import threads
from curate.models.lm.folder import LanguageModel, Tokens

if TYPE_CHECKING:
    import torch


class _Writer(Protocol):
    generation_config: object

    def generate(
        self,
        input_ids: torch.Tensor,
        *,
        attention_mask: torch.Tensor,
        generation_config: object,
        logits_processor: list[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]],
    ) -> torch.Tensor: ...


def greedy(
    lm: LanguageModel, prompts: Sequence[Tokens], *, ends: Sequence[int], max_tokens: int, batch_tokens: int = 8192
) -> list[Tokens]:
    """The most likely token after each prompt and what follows, up to one of `ends`, which is left out.

    Args:
        lm: the model.
        prompts: token ids, at least one each.
        ends: ids that end what is written.
        max_tokens: how many are written, at most.
        batch_tokens: about how many tokens are held at once, those to be written among them.

    Raises:
        ModelError: the model returns something that is not finite.
    """
    found: list[Tokens] = [np.zeros(0, np.int32)] * len(prompts)
    with threads(1):
        for batch in _batches(prompts, max_tokens, batch_tokens):
            written = _write(lm, [prompts[i] for i in batch], ends, max_tokens)
            for i, tokens in zip(batch, written, strict=True):
                found[i] = tokens
    return found


def ends_of(lm: LanguageModel) -> list[int]:
    """The ids that end a text by the model's own settings for generation; none where it does not say."""
    said = getattr(cast(_Writer, lm.model).generation_config, "eos_token_id", None)
    return [each for each in (said if isinstance(said, list) else [said]) if isinstance(each, int)]


def _batches(prompts: Sequence[Tokens], max_tokens: int, batch_tokens: int) -> Iterator[list[int]]:
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    at = 0
    while at < len(order):
        rows = max(1, batch_tokens // (len(prompts[order[at]]) + max_tokens))
        yield order[at : at + rows]
        at += rows


def _write(lm: LanguageModel, prompts: Sequence[Tokens], ends: Sequence[int], max_tokens: int) -> list[Tokens]:
    import torch

    length = max(map(len, prompts))
    ids = np.full((len(prompts), length), ends[0], dtype=np.int64)
    mask = np.zeros((len(prompts), length), dtype=np.int64)
    for row, tokens in enumerate(prompts):
        ids[row, length - len(tokens) :] = tokens
        mask[row, length - len(tokens) :] = 1
    settings = importlib.import_module("transformers").GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_tokens,
        eos_token_id=list(ends),
        pad_token_id=ends[0],
        use_cache=True,
    )
    model = cast(_Writer, lm.model)

    def check(_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        # The most likely token has a finite logit, or a token is chosen by accident.
        if not torch.isfinite(logits.max(dim=-1).values).all():
            raise ModelError(f"{lm.path}: the model gives a token no finite logit; get or train it again")
        return logits

    # Its own would bring what a model's makers like (a penalty for repetition, sampling) where this says nothing.
    own, model.generation_config = model.generation_config, settings
    try:
        with torch.inference_mode():
            out = model.generate(
                torch.from_numpy(ids).to(lm.device),
                attention_mask=torch.from_numpy(mask).to(lm.device),
                generation_config=settings,
                logits_processor=[check],
            )
    finally:
        model.generation_config = own
    return [_until(tokens, ends) for tokens in out[:, length:].cpu().numpy().astype(np.int32)]


def _until(tokens: Tokens, ends: Sequence[int]) -> Tokens:
    at = np.flatnonzero(np.isin(tokens, ends))
    return tokens[: at[0]] if len(at) else tokens
