"""What every training returns, and how few rows none starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Fewer texts of a class than this give neither a classifier nor a measurement.
MIN_TEXTS = 20


@dataclass(frozen=True)
class Trained:
    """Where the model is, and what its card says."""

    model: str
    card: Mapping[str, object]
