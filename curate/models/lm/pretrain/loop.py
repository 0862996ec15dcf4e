"""The training of a small Llama: seeded weights, AdamW, a cosine schedule, and checkpoints to go on from.

    model = new_model(shape, vocabulary=4096, end=0, seed=0)
    curve = fit(model, blocks, Schedule(steps=500, rows=16, lr=3e-3, warmup=25), ...)

The settings that are not arguments are those of Llama (Touvron et al. 2023): AdamW with betas 0.9 and 0.95,
a weight decay of 0.1 on matrices, gradients clipped to a norm of 1, and a cosine down to a tenth of the rate.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from curate.core import files
from curate.models.lm.folder import Model
from curate.models.lm.pretrain.data import Blocks
from curate.models.lm.training_state import CHECKPOINT, load_state, save_state

if TYPE_CHECKING:
    import torch

BETAS, DECAY, CLIP, LAST = (0.9, 0.95), 0.1, 1.0, 0.1


class Trainable(Model, Protocol):
    """What is used of a model that learns."""

    def named_parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Every parameter once."""
        ...

    def save_pretrained(self, folder: str) -> None:
        """Write config and weights."""
        ...


@dataclass(frozen=True)
class Shape:
    """The size of a Llama: its width is divided among the heads, and these among fewer keys and values."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    context: int


@dataclass(frozen=True)
class Schedule:
    """How many steps of how many blocks; the learning rate rises over `warmup` steps, then falls."""

    steps: int
    rows: int
    lr: float
    warmup: int

    def rate(self, step: int) -> float:
        """The learning rate of a step, the first being 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        part = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (LAST + (1 - LAST) * (1 + math.cos(math.pi * part)) / 2)


@dataclass(frozen=True)
class Point:
    """A point of the loss curve: losses in nats a token; those of held-out texts are NaN where there are none."""

    step: int
    train_loss: float
    held_out_loss: float
    bits_per_byte: float


def new_model(shape: Shape, *, vocabulary: int, end: int, seed: int) -> Trainable:
    """A Llama with tied embeddings and random weights that depend on the seed alone."""
    import torch

    transformers = importlib.import_module("transformers")
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        intermediate_size=-(-8 * shape.width // 3 // 16) * 16,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        use_cache=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cast(Trainable, transformers.LlamaForCausalLM(config))


@dataclass
class _State:
    """Where a training stands: steps done, the points so far, and the losses since the last of them."""

    step: int
    curve: list[Point]
    losses: list[float]


def fit(
    model: Trainable,
    blocks: Blocks,
    schedule: Schedule,
    measure: Callable[[], tuple[float, float]],
    *,
    points: int,
    device: str,
    scratch: str | None,
    checkpoint_every: int,
    identity: str,
) -> list[Point]:
    """Train the model in place; the loss curve.

    Args:
        model: on `device`.
        blocks: what it learns.
        schedule: how long and how fast.
        measure: loss and bits per byte on held-out texts, asked for at every point.
        points: how many points the curve has.
        device: `cpu` or `cuda`.
        scratch: a folder for checkpoints; a training that was stopped goes on from the last.
        checkpoint_every: steps between checkpoints.
        identity: what a checkpoint must have been written for to be gone on from.
    """
    import torch

    parameters = dict(model.named_parameters())
    matrices = [each for each in parameters.values() if each.dim() > 1]
    others = [each for each in parameters.values() if each.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=schedule.lr, betas=BETAS, fused=True)
    path = files.join(scratch, CHECKPOINT) if scratch is not None else None
    state = _State(0, [], [])
    saved = load_state(path, identity, parameters, optimizer) if path is not None else None
    if saved is not None:
        curve = [Point(int(row[0]), *row[1:]) for row in saved["curve"].tolist()]
        state = _State(int(saved["step"]), curve, saved["losses"].tolist())
    every = -(-schedule.steps // points)
    for step in range(state.step, schedule.steps):
        ids = torch.from_numpy(blocks.rows(step * schedule.rows, (step + 1) * schedule.rows)).to(device)
        rate = schedule.rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type here
        torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        state.step = step + 1
        state.losses.append(loss.item())
        if state.step % every == 0 or state.step == schedule.steps:
            state.curve.append(Point(state.step, math.fsum(state.losses) / len(state.losses), *measure()))
            state.losses = []
        if path is not None and state.step % checkpoint_every == 0 and state.step < schedule.steps:
            save_state(path, identity, parameters, optimizer, _as_tensors(state))
    return state.curve


def _as_tensors(state: _State) -> dict[str, torch.Tensor]:
    import torch

    curve = np.asarray([[p.step, p.train_loss, p.held_out_loss, p.bits_per_byte] for p in state.curve], np.float64)
    return {
        "step": torch.tensor(state.step),
        "curve": torch.from_numpy(curve.reshape(-1, 4)),
        "losses": torch.tensor(state.losses, dtype=torch.float64),
    }
