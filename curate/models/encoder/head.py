"""An embedding classifier as a folder: an encoder, and one linear head over its embeddings.

    save_head("models/edu", Head(weight, bias, lowest=0, highest=5, threshold=3, context=512))
    head = load_head("models/edu")
    head.values(embeddings)                      # one number a text

The folder holds `head.json`, `head.safetensors`, and the encoder's files below `encoder/`.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import TypeAdapter, ValidationError

from curate.core.errors import ConfigError, ModelError
from curate.core.files import atomic_output, join
from curate.models.encoder.encoder import Embeddings
from curate.models.lm.folder import local_folder

SETTINGS, WEIGHTS, ENCODER = "head.json", "head.safetensors", "encoder"


@dataclass(frozen=True)
class Settings:
    """What goes with a head: the range of the labels, the label that is kept, and the tokens read of a text."""

    lowest: int
    highest: int
    threshold: int
    context: int

    def __post_init__(self) -> None:
        """See that the numbers fit one another.

        Raises:
            ConfigError: they do not.
        """
        if not self.lowest < self.threshold <= self.highest:
            raise ConfigError(f"threshold {self.threshold}: not above {self.lowest} and up to {self.highest}")
        if self.context < 1:
            raise ConfigError(f"context {self.context}: expected 1 or more")


@dataclass(frozen=True)
class Head:
    """A linear regression: `values` is `weight` times the embedding, plus `bias`."""

    weight: npt.NDArray[np.float64]
    bias: float
    settings: Settings

    def values(self, embeddings: Embeddings) -> npt.NDArray[np.float64]:
        """The predicted label of each row, not clamped, rounded to 6 decimals; NaN where the embedding is."""
        # Row by row, as the bits of a matrix product may depend on how many rows it has.
        products = np.array([row @ self.weight for row in embeddings], dtype=np.float64)
        rounded: npt.NDArray[np.float64] = np.round(products + self.bias, 6)
        return rounded

    def labels(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Values clamped to the range of the labels and rounded, halves to the even label."""
        found: npt.NDArray[np.float64] = np.rint(np.clip(values, self.settings.lowest, self.settings.highest))
        return found


def save_head(folder: str, head: Head) -> None:
    """Write the head's two files into a folder, local or remote."""
    from safetensors.numpy import save

    with atomic_output(join(folder, WEIGHTS)) as out:
        out.write(save({"weight": np.ascontiguousarray(head.weight), "bias": np.array([head.bias])}))
    with atomic_output(join(folder, SETTINGS)) as out:
        out.write(orjson.dumps(asdict(head.settings), option=orjson.OPT_INDENT_2) + b"\n")


def load_head(path: str) -> Head:
    """Read the head of a classifier's folder.

    Raises:
        ModelError: the folder is not there, or is not whole.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = local_folder(path, SETTINGS)
    try:
        with open(os.path.join(path, SETTINGS), "rb") as stream:
            settings = TypeAdapter(Settings).validate_json(stream.read())
        tensors = load_file(os.path.join(path, WEIGHTS))
        head = Head(tensors["weight"].astype(np.float64), float(tensors["bias"][0]), settings)
    except ConfigError as error:
        raise ModelError(f"{path}: its head cannot be read ({error}); train it again") from None
    except (OSError, KeyError, ValidationError, SafetensorError) as error:
        raise ModelError(f"{path}: its head cannot be read ({type(error).__name__}); train it again") from None
    if not np.isfinite([*head.weight, head.bias]).all():
        raise ModelError(f"{path}: its head holds numbers that are not finite; train it again")
    return head
