"""The checkpoints of a fine-tuning: at the end of each epoch what was learnt, and the optimizer's moments.

    for each in read_checkpoints("runs/demo/tuned-1f0c22aa/model", base_hash=model_hash("models/smol")):
        load_checkpoint(model, each)
        moments = each.moments()                 # {"model.layers...lora_A.weight": (m, v), ...}

A model's folder holds them below `checkpoints/`: `epoch-01/checkpoint.json`, which is a `Checkpoint`,
`weights.safetensors`, the parameters that learn by name, and `optimizer.safetensors`, `m.<name>` and `v.<name>`,
the running means of their gradients and of the squares. All are float32.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson
from pydantic import Field, ValidationError

from curate.core.config import Model
from curate.core.errors import ModelError
from curate.core.files import atomic_output, content_hash, folder_hash, join, list_inputs
from curate.models.lm.folder import local_folder, read_json
from curate.models.lm.lora import Lora, trained, wrap

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

FOLDER, SETTINGS, WEIGHTS, OPTIMIZER = "checkpoints", "checkpoint.json", "weights.safetensors", "optimizer.safetensors"


class Checkpoint(Model):
    """What a checkpoint says of itself.

    Attributes:
        base: the hash of the folder of the model that was tuned.
        lora: its settings; None where every parameter learns.
        template: the chat template by name; None for the tokenizer's own.
        context: how many tokens of a conversation were read.
        epoch: which this was, from 1.
        step: steps of the optimizer so far.
        rate: the mean learning rate of the epoch's steps.
        betas: of the running means m and v.
        eps: added to the root of v.
        folder: where it lies; not written.
    """

    base: str
    lora: Lora | None
    template: str | None
    context: int
    epoch: int
    step: int
    rate: float
    betas: tuple[float, float]
    eps: float
    folder: str = Field("", exclude=True)

    def weights(self) -> Tensors:
        """What was learnt, by the name of the parameter; float32, on the CPU."""
        return self._read(WEIGHTS)

    def moments(self) -> Mapping[str, tuple[torch.Tensor, torch.Tensor]]:
        """The optimizer's m and v, by the name of the parameter; float32, on the CPU, without bias correction."""
        found = self._read(OPTIMIZER)
        names = [name.removeprefix("m.") for name in found if name.startswith("m.")]
        if {f"{which}.{name}" for which in "mv" for name in names} != found.keys():
            raise ModelError(f"{self.folder}/{OPTIMIZER}: does not hold m and v of every parameter; train it again")
        return {name: (found[f"m.{name}"], found[f"v.{name}"]) for name in names}

    def _read(self, name: str) -> Tensors:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(os.path.join(self.folder, name))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{self.folder}/{name}: cannot be read ({error}); train it again") from None


def model_hash(path: str) -> str:
    """The hash of all files in a local folder of a model; the same wherever it lies."""
    return folder_hash({each.name: content_hash(each.url) for each in list_inputs(path)})


def write_checkpoint(
    folder: str, checkpoint: Checkpoint, weights: Tensors, moments: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
) -> None:
    """Write a checkpoint into a model's folder, local or remote."""
    import torch
    from safetensors.torch import save

    def plain(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().to("cpu", torch.float32).contiguous()

    states = {f"{which}.{name}": pair[i] for name, pair in moments.items() for i, which in enumerate("mv")}
    place = join(folder, FOLDER, f"epoch-{checkpoint.epoch:02d}")
    for name, tensors in ((WEIGHTS, weights), (OPTIMIZER, states)):
        with atomic_output(join(place, name)) as out:
            out.write(save({key: plain(each) for key, each in tensors.items()}))
    with atomic_output(join(place, SETTINGS)) as out:
        out.write(orjson.dumps(checkpoint.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n")


def read_checkpoints(path: str, base_hash: str, *, moments: bool = True) -> list[Checkpoint]:
    """The checkpoints in a model's folder, first epoch first.

    Args:
        path: the folder that a fine-tuning wrote.
        base_hash: `model_hash` of the model that they are to be put into.
        moments: whether the optimizer's state is needed.

    Raises:
        ModelError: there is none, one is not whole, its optimizer's state is missing, or it is of another model.
    """
    path = local_folder(path, "config.json")
    below = os.path.join(path, FOLDER)
    names = sorted(os.listdir(below)) if os.path.isdir(below) else []
    if not names:
        raise ModelError(f"{path}: holds no {FOLDER}/; name a step that trains a `finetune`")
    found = []
    for name in names:
        place = os.path.join(below, name)
        local_folder(place, SETTINGS)
        try:
            said = {**read_json(os.path.join(place, SETTINGS)), "folder": place}
            each = Checkpoint.model_validate(said, strict=False)
        except ValidationError as error:
            raise ModelError(f"{place}/{SETTINGS}: is damaged ({error.errors()[0]['msg']}); train it again") from None
        if each.base != base_hash:
            raise ModelError(
                f"{place}: was trained from another model ({each.base[:8]}, not {base_hash[:8]});"
                " name the model that its `finetune` began with"
            )
        if moments and not os.path.isfile(os.path.join(place, OPTIMIZER)):
            raise ModelError(
                f"{place}: has no {OPTIMIZER}, so the optimizer's state is not known; train it again with `finetune`,"
                " which keeps it"
            )
        found.append(each)
    return sorted(found, key=lambda each: each.epoch)


def load_checkpoint(model: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Put what was learnt into the model that it was learnt from; a model that is not wrapped yet is wrapped.

    Raises:
        ModelError: the model does not have those parameters.
    """
    import torch

    from curate.models.lm.lora_layer import LoraLinear

    if checkpoint.lora is not None and not any(isinstance(each, LoraLinear) for each in model.modules()):
        wrap(model, checkpoint.lora, seed=0)
    weights, own = checkpoint.weights(), trained(model)
    different = sorted(weights.keys() ^ own.keys()) or [n for n in own if own[n].shape != weights[n].shape]
    if different:
        raise ModelError(f"{checkpoint.folder}: does not fit the model (such as {different[0]}); name its own model")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])
