"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685): what a fine-tuned model learns beside its frozen weights.

    wrap(model, Lora(rank=8, alpha=16), seed=0)  # every q_proj, k_proj, v_proj and o_proj
    trained(model)                               # {"model.layers.0.self_attn.q_proj.lora_A.weight": ..., ...}
    merge(model)                                 # an ordinary model again

A wrapped layer computes base(x) + alpha / rank · B(A(dropout(x))). A is drawn from U(-1/√inputs, 1/√inputs), as
the paper's code and peft do, and B is zero, so that a wrapped model begins as the model that it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import xxhash
from pydantic import Field

from curate.core.config import Model
from curate.core.errors import ModelError

if TYPE_CHECKING:
    import torch

_SHOWN = 8


class Lora(Model):
    """The settings of LESS (Xia et al. 2024) unless others are given.

    Attributes:
        rank: of the product of the two small matrices.
        alpha: that product is scaled by alpha / rank.
        dropout: the part of a layer's inputs that A does not see in a step of training.
        targets: the last part of the names of the linear layers that learn.
    """

    rank: int = Field(128, ge=1)
    alpha: float = Field(512.0, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    targets: list[str] = Field(["q_proj", "k_proj", "v_proj", "o_proj"], min_length=1)


def wrap(model: torch.nn.Module, settings: Lora, seed: int) -> list[str]:
    """Freeze a model and put a `LoraLinear` in the place of every target; their names, in the model's order.

    The random numbers of a layer follow from the seed and its name alone.

    Raises:
        ModelError: a target names no layer, or one that cannot be wrapped.
    """
    import torch

    from curate.models.lm.lora_layer import LoraLinear

    if any(isinstance(each, LoraLinear) for each in model.modules()):
        raise ModelError("the model is wrapped already; merge it first")
    layers = dict(model.named_modules())
    found = [name for name in layers if name.rpartition(".")[2] in settings.targets]
    for target in settings.targets:
        if not any(name.rpartition(".")[2] == target for name in found):
            linear = {
                name.rpartition(".")[2]: None for name, each in layers.items() if isinstance(each, torch.nn.Linear)
            }
            known = ", ".join([*linear][:_SHOWN]) or "none"
            raise ModelError(
                f"no layer of the model is called {target!r}; `targets:` may name its linear layers: {known}"
            )
    for name in found:
        _check(model, name, layers[name])
    model.requires_grad_(False)
    for name in found:
        own = xxhash.xxh3_64_intdigest(name.encode(), seed) >> 1
        base = cast("torch.nn.Linear", layers[name])
        wrapped = LoraLinear(base, settings.rank, settings.alpha / settings.rank, settings.dropout, own)
        model.set_submodule(name, wrapped.train(model.training))
    return found


def _check(model: torch.nn.Module, name: str, layer: torch.nn.Module) -> None:
    import torch

    # Of subclasses (quantised ones) the weight is not what multiplies the input.
    if type(layer) is not torch.nn.Linear:
        raise ModelError(
            f"{name} is of the kind {type(layer).__name__}, and LoRA is for linear layers;"
            " name others in `targets:` or set `full: true`"
        )
    embedding = getattr(model, "get_input_embeddings", lambda: None)()
    if embedding is not None and layer.weight is embedding.weight:
        raise ModelError(f"{name} shares its weight with the embedding of tokens; leave it out of `targets:`")


def trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that learn, by name: A and B of a wrapped model, every one of another."""
    return {name: each for name, each in model.named_parameters() if each.requires_grad}


def merge(model: torch.nn.Module) -> None:
    """Add alpha / rank · B A to the weights of the wrapped layers, and take the wrapping off."""
    from curate.models.lm.lora_layer import LoraLinear

    wrapped = [(name, each) for name, each in model.named_modules() if isinstance(each, LoraLinear)]
    for name, each in wrapped:
        model.set_submodule(name, cast("torch.nn.Module", each.merged()))
