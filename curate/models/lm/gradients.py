"""Gradients of single rows, for many rows at once: what enters each linear layer, and the loss's gradient behind it.

    layers = linear_layers(model, ["q_proj", "v_proj"])
    batch = make_batch([(ids, which)], length=128, device="cpu")
    losses = backward(model, layers, batch, sink)     # sink("...q_proj.weight", inputs, errors), layer by layer

For a linear layer y = W x, the gradient of a row's loss with respect to W is the sum over its tokens of the outer
product of the error at y and of x. Both are at hand when the loss of a whole batch is propagated back once, and
they belong to their row alone, as no row sees another. So nothing of the size of W is kept for a row: the sink gets
the two factors of one layer, takes what it needs, and they are gone (Goodfellow 2015, arXiv 1510.01799).

The loss of a row is the mean of -log P over its supervised tokens. The first token of a row is predicted from
nothing, and so has no loss.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt

from curate.core.errors import ModelError
from curate.models.lm.folder import Tokens

if TYPE_CHECKING:
    import torch

    Sink = Callable[[str, torch.Tensor, torch.Tensor], None]

_SHOWN = 8


class _Embedded(Protocol):
    """What is used of a language model beside its layers."""

    def get_input_embeddings(self) -> torch.nn.Embedding: ...
    def get_output_embeddings(self) -> torch.nn.Module | None: ...


LORA = ("lora_A", "lora_B")


def linear_layers(model: torch.nn.Module, names: Sequence[str]) -> dict[str, torch.nn.Linear]:
    """The linear layers whose name ends in one of `names`, by the name of their weight, in the model's order.

    Of a layer that LoRA wraps they are its A and B, which are what is trained.

    Raises:
        ModelError: a name fits no layer, or one that shares its weight with another.
    """
    import torch

    found: dict[str, torch.nn.Linear] = {}
    known: dict[str, None] = {}
    met: set[str] = set()
    embedding = cast(_Embedded, model).get_input_embeddings()
    for name, module in model.named_modules():
        parts = name.split(".")
        if type(module) is not torch.nn.Linear or parts[-1] == "base":
            continue
        own = parts[-2] if parts[-1] in LORA else parts[-1]
        known[own] = None
        if own in names:
            if module.weight is embedding.weight:
                raise ModelError(f"{name} shares its weight with the embedding of tokens; leave it out of `layers:`")
            met.add(own)
            found[f"{name}.weight"] = module
    for name in names:
        if name not in met:
            some = ", ".join([*known][:_SHOWN]) or "none"
            raise ModelError(f"no linear layer of the model is called {name!r}; `layers:` may name: {some}")
    return found


@contextlib.contextmanager
def tapped(layers: Mapping[str, torch.nn.Linear], sink: Sink) -> Iterator[None]:
    """Give the sink each layer's inputs (rows, tokens, inputs) and errors (rows, tokens, outputs) as a loss goes back.

    In the block, the model's own parameters need no gradient: what is propagated begins at the first of the layers.
    """
    with contextlib.ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_hook(_tap(name, sink)).remove)
        yield


def _tap(name: str, sink: Sink) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
    def forward(module: torch.nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        inputs = args[0].detach()
        if inputs.dim() != 3:
            # Experts see the tokens that they are given, of any row.
            raise ModelError(
                f"{name}: its inputs are not parted by row, so rows have no gradient; name other `layers:`"
            )
        if not output.requires_grad:
            output.requires_grad_()

        def back(errors: torch.Tensor) -> None:
            sink(name, inputs, errors.detach())

        output.register_hook(back)  # type: ignore[no-untyped-call]  # torch has no type here

    return forward


@dataclass(frozen=True)
class Batch:
    """Rows of tokens, padded on the right, and where their losses are.

    Attributes:
        ids: int64 (rows, tokens).
        places: int64 (rows, losses): at which tokens one is predicted that counts.
        targets: int64 (rows, losses): those tokens.
        weights: (rows, losses): one by the number of a row's losses; 0 beyond them.
    """

    ids: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def make_batch(rows: Sequence[tuple[Tokens, npt.NDArray[np.int64]]], length: int, *, device: str) -> Batch:
    """A batch of rows: the ids of each, and which of them are predicted and count, ascending, at least one, none 0.

    Args:
        rows: at most `length` ids each.
        length: what they are padded to.
        device: where the tensors go.
    """
    import torch

    # The number of rows of a matrix product stays a multiple of eight, for which the bits of a row are the same.
    most = -(-max(len(which) for _, which in rows) // 8) * 8
    ids = np.zeros((len(rows), length), np.int64)
    places, targets = np.zeros((len(rows), most), np.int64), np.zeros((len(rows), most), np.int64)
    weights = np.zeros((len(rows), most))
    for i, (row, which) in enumerate(rows):
        ids[i, : len(row)] = row
        places[i, : len(which)] = which - 1
        targets[i, : len(which)] = row[which]
        weights[i, : len(which)] = 1 / len(which)
    return Batch(*(torch.from_numpy(each).to(device) for each in (ids, places, targets, weights)))


def backward(model: torch.nn.Module, layers: Mapping[str, torch.nn.Linear], batch: Batch, sink: Sink) -> torch.Tensor:
    """Propagate the losses of a batch back, and return them, (rows,).

    Only the logits that count are computed. The model's parameters must not require a gradient.

    Raises:
        ModelError: the model has no layer of logits of its own, or a layer does not part its inputs by row.
    """
    import torch

    head = cast(_Embedded, model).get_output_embeddings()
    if head is None:
        raise ModelError("the model does not say which layer gives its logits; use another one")

    def narrow(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        states = args[0]
        return (states.gather(1, batch.places[:, :, None].expand(-1, -1, states.shape[2])), *args[1:])

    narrowing = head.register_forward_pre_hook(narrow)
    try:
        with torch.enable_grad(), tapped(layers, sink):
            logits: torch.Tensor = model(input_ids=batch.ids).logits
            each = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), batch.targets.flatten(), reduction="none"
            ).view_as(batch.targets)
            losses = (each * batch.weights.to(each)).sum(1)
            losses.sum().backward()  # type: ignore[no-untyped-call]  # torch has no type here
    finally:
        narrowing.remove()
    return losses.detach()
