"""The state of a training in one file, from which a training that was stopped goes on: weights, moments, and more.

save_state(path, "settings and data", model_parameters, optimizer, {"step": torch.tensor(10)})
more = load_state(path, "settings and data", model_parameters, optimizer)    # None: of another training
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import xxhash

from curate.core import files

if TYPE_CHECKING:
    import torch

CHECKPOINT = "checkpoint.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def _mark(identity: str) -> int:
    return xxhash.xxh3_64_intdigest(identity.encode()) >> 1


def save_state(
    path: str,
    identity: str,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    more: Mapping[str, torch.Tensor],
) -> None:
    """Write weights, moments and `more` as one safetensors file, whole or not at all.

    Args:
        path: of the file.
        identity: what the training must be for, to go on from it.
        parameters: those that learn, by name.
        optimizer: an Adam of them.
        more: `step`, how many were done, and whatever else the training needs.
    """
    import torch
    from safetensors.torch import save

    tensors = {"mark": torch.tensor(_mark(identity)), **more}
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = parameter.detach()
        for key in _MOMENTS:
            tensors[f"{key}/{name}"] = optimizer.state[parameter][key]
    with files.atomic_output(path) as out:
        out.write(save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def load_state(
    path: str, identity: str, parameters: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> Mapping[str, torch.Tensor] | None:
    """Put a state into the model and the optimizer; what else it holds, or None where it is of another training."""
    import torch
    from safetensors.torch import load

    if not files.exists(path):
        return None
    tensors = load(files.read_bytes(path))
    if int(tensors["mark"]) != _mark(identity):
        return None
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"weight/{name}"])
            optimizer.state[parameter] = {
                "step": tensors["step"].to(parameter.device, torch.float32),
                **{key: tensors[f"{key}/{name}"].to(parameter.device) for key in _MOMENTS},
            }
    return tensors
