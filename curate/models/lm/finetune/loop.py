"""The training of a causal language model on conversations, with LoRA or in full.

    rows = [Row(id, encoded), ...]
    curve = fit(model, rows, Tuning(epochs=2, lr=1e-3), device="cpu")
    mean_loss(model, held_out)

The loss of a conversation is the mean of -log P over its supervised tokens, and the loss of a step is the mean over
its conversations, so that a step follows the mean of the per-sample gradients which LESS compares; it is also what
LESS trains with (batches of one conversation, 32 of them summed up; Xia et al. 2024, arXiv 2402.04333).
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol, Self, cast

import numpy as np
import numpy.typing as npt
import xxhash
from pydantic import Field, model_validator

from curate.core import files
from curate.core.config import Model
from curate.core.errors import RunError
from curate.models.device import deterministic, product_rows, threads
from curate.models.lm.batching import batches, grain_of
from curate.models.lm.finetune.data import Row
from curate.models.lm.folder import Config, context_of
from curate.models.lm.lora import Lora, trained, wrap
from curate.models.lm.training_state import CHECKPOINT, load_state, save_state

if TYPE_CHECKING:
    import torch


class _Causal(Protocol):
    def get_output_embeddings(self) -> torch.nn.Module: ...


Moments = dict[str, "tuple[torch.Tensor, torch.Tensor]"]
_MEASURED_TOKENS = 8192


class Tuning(Model):
    """How a model is tuned; the defaults are those of LESS.

    Attributes:
        lora: its settings.
        full: let every parameter learn, in place of LoRA.
        epochs: how often every conversation is learnt.
        lr: the highest learning rate.
        warmup: the part of the steps in which the rate rises; then it falls to zero in a line.
        batch_rows: conversations of a step.
        weight_decay, betas, eps: of AdamW.
        clip: the norm that a gradient is cut down to; null for none.
        micro_batch_tokens: about how many tokens of a step are computed at once.
        seed: of the weights, the order and the dropout.
    """

    lora: Lora = Lora()
    full: bool = False
    epochs: int = Field(4, ge=1)
    lr: float = Field(2e-5, gt=0)
    warmup: float = Field(0.03, ge=0, lt=1)
    batch_rows: int = Field(32, ge=1)
    weight_decay: float = Field(0.0, ge=0)
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field([0.9, 0.999], min_length=2, max_length=2)
    eps: float = Field(1e-8, gt=0)
    clip: float | None = Field(1.0, gt=0)
    micro_batch_tokens: int = Field(4096, ge=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.full and "lora" in self.model_fields_set:
            raise ValueError("`full: true` and `lora:` exclude one another; leave one out")
        return self

    def steps(self, rows: int) -> int:
        """How many steps an epoch over so many rows has; its last may have fewer rows."""
        return -(-rows // self.batch_rows)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step of so many, the first being 0."""
        rising = math.ceil(self.warmup * steps)
        if step < rising:
            return self.lr * (step + 1) / rising
        return self.lr * (steps - step) / (steps - rising)


@dataclass(frozen=True)
class Point:
    """A point of the curve: steps, tokens read so far, and the mean loss since the last point and of what is held out.

    The held-out loss is NaN where nothing is held out.
    """

    step: int
    tokens: int
    train_loss: float
    held_out_loss: float


@dataclass(frozen=True)
class Epoch:
    """The end of an epoch: its number from 1, steps so far, the mean rate of its own, and the optimizer's moments."""

    number: int
    step: int
    rate: float
    moments: Moments


def fit(
    model: torch.nn.Module,
    rows: Sequence[Row],
    tuning: Tuning,
    *,
    device: str,
    measure: Callable[[], float] = lambda: math.nan,
    points: int = 1,
    at_epoch: Callable[[Epoch], None] = lambda _: None,
    scratch: str | None = None,
    checkpoint_every: int = 100,
    identity: str = "",
    cores: int = 1,
) -> list[Point]:
    """Train the model in place; it is left wrapped, and ready to be used. The curve of the loss.

    Args:
        model: on `device`, not wrapped.
        rows: what it learns; an epoch sees them in an order that follows from their own and the seed.
        tuning: how.
        device: `cpu` or `cuda`.
        measure: the held-out loss, asked for at every point.
        points: how many points the curve has.
        at_epoch: called at the end of every epoch.
        scratch: a folder for the state; a training that was stopped goes on from there.
        checkpoint_every: steps between two states.
        identity: what a state must have been written for to be gone on from.
        cores: threads of torch; another number may give other bits.

    Raises:
        RunError: the loss is not finite.
    """
    import torch

    if not tuning.full:
        wrap(model, tuning.lora, tuning.seed)
    parameters = trained(model)
    first, second = tuning.betas
    optimizer = torch.optim.AdamW(
        parameters.values(),
        lr=tuning.lr,
        betas=(first, second),
        eps=tuning.eps,
        weight_decay=tuning.weight_decay,
        fused=True,
    )
    path = files.join(scratch, CHECKPOINT) if scratch is not None else None
    saved = load_state(path, identity, parameters, optimizer) if path is not None else None
    begin, read = 0, 0
    losses: list[float] = []
    curve: list[Point] = []
    if saved is not None:
        begin, read, losses = int(saved["step"]), int(saved["tokens"]), saved["losses"].tolist()
        curve = [Point(int(row[0]), int(row[1]), row[2], row[3]) for row in saved["curve"].tolist()]
    each_epoch = tuning.steps(len(rows))
    steps = tuning.epochs * each_epoch
    every = -(-steps // points)
    batches = _Batches(rows, tuning)
    model.train()
    with deterministic(cores), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        for step in range(begin, steps):
            # So that dropout is the same when the training goes on here.
            torch.manual_seed(_step_seed(tuning.seed, step))
            batch = batches(step)
            for group in optimizer.param_groups:
                group["lr"] = tuning.rate(step, steps)
            losses.append(_learn(model, batch, tuning, device))
            if not math.isfinite(losses[-1]):
                raise RunError(f"the loss is {losses[-1]} at step {step + 1}; lower `lr:`, or get the model again")
            if tuning.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters.values(), tuning.clip)
            optimizer.step()
            optimizer.zero_grad()
            done, read = step + 1, read + sum(len(row.tokens.ids) for row in batch)
            if done % every == 0 or done == steps:
                curve.append(Point(done, read, math.fsum(losses) / len(losses), _measured(model, measure)))
                losses = []
            if done % each_epoch == 0:
                rate = math.fsum(tuning.rate(each, steps) for each in range(done - each_epoch, done)) / each_epoch
                state = {name: optimizer.state[each] for name, each in parameters.items()}
                moments = {name: (each["exp_avg"], each["exp_avg_sq"]) for name, each in state.items()}
                at_epoch(Epoch(done // each_epoch, done, rate, moments))
            if path is not None and done % checkpoint_every == 0 and done < steps:
                save_state(path, identity, parameters, optimizer, _as_tensors(done, read, curve, losses))
    model.eval()
    return curve


def _step_seed(seed: int, step: int) -> int:
    return xxhash.xxh3_64_intdigest(step.to_bytes(8, "little"), seed) >> 1


class _Batches:
    """The rows of every step: all of them once an epoch, in another order each time."""

    def __init__(self, rows: Sequence[Row], tuning: Tuning) -> None:
        self._rows, self._tuning, self._steps = rows, tuning, tuning.steps(len(rows))
        self._order = functools.lru_cache(maxsize=1)(self._shuffled)

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self._tuning.seed, epoch]).permutation(len(self._rows))

    def __call__(self, step: int) -> list[Row]:
        """The rows of a step, the first being 0; longest first."""
        epoch, at = divmod(step, self._steps)
        size = self._tuning.batch_rows
        chosen = [self._rows[i] for i in self._order(epoch)[at * size : (at + 1) * size]]
        return sorted(chosen, key=lambda row: -len(row.tokens.ids))


def _as_tensors(step: int, read: int, curve: Sequence[Point], losses: Sequence[float]) -> dict[str, torch.Tensor]:
    import torch

    points = [[p.step, p.tokens, p.train_loss, p.held_out_loss] for p in curve]
    return {
        "step": torch.tensor(step),
        "tokens": torch.tensor(read),
        "curve": torch.tensor(points, dtype=torch.float64).reshape(-1, 4),
        "losses": torch.tensor(losses, dtype=torch.float64),
    }


def _learn(model: torch.nn.Module, batch: Sequence[Row], tuning: Tuning, device: str) -> float:
    """Add the gradient of a step to that of the parameters; its loss."""
    import torch

    total, at = 0.0, 0
    while at < len(batch):
        # The longest come first, so that the first row says how many fit.
        length = len(batch[at].tokens.ids)
        some = batch[at : at + max(1, tuning.micro_batch_tokens // length)]
        losses, owner = _token_losses(model, some, length, device)
        weight = 1 / (np.bincount(owner)[owner] * len(batch))
        loss = (losses * torch.from_numpy(weight).to(losses)).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type here
        total, at = total + loss.item(), at + len(some)
    return total


def _token_losses(
    model: torch.nn.Module, rows: Sequence[Row], length: int, device: str
) -> tuple[torch.Tensor, npt.NDArray[np.int64]]:
    """-log P of every supervised token, and its row.

    The rows are padded to a length on the right, where a causal model cannot see it.
    """
    import torch

    ids = np.zeros((len(rows), length), dtype=np.int64)
    wanted = np.zeros((len(rows), length - 1), dtype=np.bool_)
    for i, row in enumerate(rows):
        ids[i, : len(row.tokens.ids)] = row.tokens.ids
        wanted[i, : len(row.tokens.ids) - 1] = row.tokens.supervised[1:]
    read, where = torch.from_numpy(ids).to(device), torch.from_numpy(wanted).to(device)
    # Only these positions pass through the last layer: of a large vocabulary its numbers are most of the memory.
    head = cast(_Causal, model).get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, states: (states[0][:, :-1][where][None],))
    try:
        logits = model(input_ids=read).logits[0].float()
    finally:
        handle.remove()
    losses = torch.nn.functional.cross_entropy(logits, read[:, 1:][where], reduction="none")
    return losses, np.nonzero(wanted)[0]


def _measured(model: torch.nn.Module, measure: Callable[[], float]) -> float:
    model.eval()
    found = measure()
    model.train()
    return found


def row_losses(model: torch.nn.Module, rows: Sequence[Row], *, device: str = "cpu") -> npt.NDArray[np.float64]:
    """The loss of each row, in nats a supervised token; it does not depend on the other rows (on a CPU in no bit)."""
    import torch

    found = np.zeros(len(rows))
    most = context_of(cast(Config, model.config)) or sys.maxsize
    lengths = [len(row.tokens.ids) for row in rows]
    # Of each row those tokens alone pass through the last layer that count, which are any number.
    grain = grain_of(model, device) if device != "cpu" or product_rows() == 1 else 0
    with threads(1), torch.inference_mode():
        for length, some in batches(lengths, most, _MEASURED_TOKENS, grain):
            losses, owner = _token_losses(model, [rows[i] for i in some], length, device)
            values = losses.cpu().numpy().astype(np.float64)
            found[some] = np.bincount(owner, weights=values) / np.bincount(owner)
    return found


def mean_loss(model: torch.nn.Module, rows: Sequence[Row], *, device: str = "cpu") -> float:
    """The mean of `row_losses`."""
    return math.fsum(row_losses(model, rows, device=device)) / len(rows)
