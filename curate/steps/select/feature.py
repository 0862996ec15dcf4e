"""What a kind of feature is to the `features` step: its arguments, and the function that computes it on a worker.

class Embedding(Feature):
    model: ModelFile
    def load(self, models): ...              # -> Featurise, once a worker
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from curate.core.chat.messages import Conversation
from curate.core.config import Model, field_of, model_files, resources
from curate.core.digest import Plain
from curate.models.lm.chat_encode import Refused
from curate.steps.select.store import Kind, Rows


@dataclass(frozen=True)
class Features:
    """The features of some conversations.

    Attributes:
        rows: float32 (conversations, checkpoints, width), of any length; zeros where there is none.
        refused: why a conversation has none; None where it has one.
        tokens: how many tokens of each were read, int32.
    """

    rows: Rows
    refused: Sequence[Refused | None]
    tokens: npt.NDArray[np.int32]


class Featurise(Protocol):
    """A function from conversations to features; how many checkpoints and how wide is known when it is loaded."""

    width: int
    weights: Sequence[float]  # of the checkpoints, adding up to 1

    def __call__(self, conversations: Sequence[Conversation]) -> Features:
        """The features; those of a conversation do not depend on the others."""
        ...


class Feature(Model, ABC):
    """Base of the arguments of a kind of feature."""

    kind: Kind = "float16"

    @abstractmethod
    def load(self, models: Mapping[str, str]) -> Featurise:
        """Load what it needs; `models` says where the model files named in its fields lie."""

    def models(self) -> dict[str, str]:
        """The model files it reads: field -> path, or name of a step that trains one."""
        return model_files(self)

    def identity(self) -> dict[str, Plain]:
        """The arguments that are neither model files nor resources."""
        outside = {field_of(key) for key in self.models()} | resources(self)
        dumped: dict[str, Plain] = self.model_dump(mode="json", exclude=outside)
        return dumped
