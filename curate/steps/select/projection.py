"""Random projections of gradients to a few thousand numbers that keep inner products, in expectation exactly.

    projection = PROJECTIONS["sparse"](8192, seed=0)
    projection.add("layers.0.q_proj.weight", inputs, errors, into)     # into: float32 (rows, 8192)

The gradient G of a layer's weight is the sum over tokens of errors · inputsᵀ, (outputs, inputs). Every random number
follows from the seed, the parameter's name and a place, by a hash: the same on every device and worker, and none is
stored. For vectors x and y (all layers together) and k numbers:

- `sparse` (a count sketch: Charikar, Chen and Farach-Colton 2002; Weinberger et al. 2009): every coordinate goes, with
  a random sign, into one random bucket.
- `dense` (Rademacher; Achlioptas 2003): R x / √k with R of random signs; the reference, far slower.
  Both estimate <x, y> without bias, with the variance (|x|²|y|² + <x, y>² - 2 Σ x²y²) / k.
- `two_sided`: per layer R G Sᵀ / √k with two small matrices of signs R (k1, outputs) and S (k2, inputs), k = k1 · k2,
  as (R · errors)(S · inputs)ᵀ, so that G is never formed; the layers are added up. Without bias; the variance is
  larger for gradients of low rank.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import xxhash

from curate.steps.select.projection_kernel import BLOCK, FIRST, SECOND, STEP, scatter

if TYPE_CHECKING:
    import torch

    Update = Callable[[str, torch.Tensor], torch.Tensor]

Name = Literal["sparse", "two_sided", "dense"]
# Numbers of gradients that are held at once, but always those of one row: 64 MB.
_HELD = 1 << 24
# Coordinates for which the signs of all k outputs, or their places, are worked out at once.
_SIGNS, _PLACES = 1 << 22, 1 << 20


class Projection(ABC):
    """From the factors of gradients to `dim` numbers a row."""

    def __init__(self, dim: int, seed: int) -> None:
        self.dim, self.seed = dim, seed

    @abstractmethod
    def add(
        self, name: str, inputs: torch.Tensor, errors: torch.Tensor, into: torch.Tensor, update: Update | None = None
    ) -> None:
        """Add the projected gradients of one layer to those of the others.

        Args:
            name: of the parameter.
            inputs: of the layer, (rows, tokens, inputs).
            errors: of the loss, behind it, (rows, tokens, outputs).
            into: float32 (rows, dim).
            update: what the optimizer makes of the gradients (rows, outputs, inputs) of the parameter of that name.
        """

    def key(self, name: str) -> int:
        """Of the hash of a parameter's random numbers, below 2^64."""
        return xxhash.xxh3_64_intdigest(name.encode(), self.seed)


class _OfGradients(Projection):
    """A projection that needs the gradients themselves, formed for a few rows at a time: `held` numbers at once."""

    def __init__(self, dim: int, seed: int, *, held: int = _HELD) -> None:
        super().__init__(dim, seed)
        self._held = held

    def add(
        self, name: str, inputs: torch.Tensor, errors: torch.Tensor, into: torch.Tensor, update: Update | None = None
    ) -> None:
        rows = max(1, self._held // (inputs.shape[2] * errors.shape[2]))
        for at in range(0, len(inputs), rows):
            some = slice(at, at + rows)
            gradients = errors[some].transpose(1, 2) @ inputs[some]
            if update is not None:
                gradients = update(name, gradients)
            self.project(name, gradients.flatten(1), into[some])

    @abstractmethod
    def project(self, name: str, vectors: torch.Tensor, into: torch.Tensor) -> None:
        """Add the projections of vectors (rows, coordinates) of one parameter."""


class Sparse(_OfGradients):
    """One bucket and sign for each coordinate."""

    def __init__(self, dim: int, seed: int, *, held: int = _HELD) -> None:
        super().__init__(dim, seed, held=held)
        self._room = np.zeros(BLOCK, np.int32), np.zeros(BLOCK, np.float32)

    def project(self, name: str, vectors: torch.Tensor, into: torch.Tensor) -> None:
        """See `_OfGradients.project`."""
        if into.device.type == "cpu":
            scatter(vectors.contiguous().float().numpy(), np.uint64(self.key(name)), *self._room, into.numpy())
            return
        for at in range(0, vectors.shape[1], _PLACES):
            some = vectors[:, at : at + _PLACES].to(into)
            buckets, signs = places(self.key(name), at, some.shape[1], self.dim, into)
            into.index_add_(1, buckets, some * signs)


class Dense(_OfGradients):
    """A sign for each coordinate and output, `signs` at a time."""

    def __init__(self, dim: int, seed: int, *, held: int = _HELD, signs: int = _SIGNS) -> None:
        super().__init__(dim, seed, held=held)
        self._signs = signs

    def project(self, name: str, vectors: torch.Tensor, into: torch.Tensor) -> None:
        """See `_OfGradients.project`."""
        import torch

        step = max(1, self._signs // self.dim)
        # With a multiple of eight rows in the product the bits of a row do not depend on their number.
        padded = torch.nn.functional.pad(vectors.to(into), (0, 0, 0, -len(vectors) % 8))
        for at in range(0, vectors.shape[1], step):
            some = padded[:, at : at + step]
            found = some @ _signs(self.key(name), at, some.shape[1], self.dim, into)
            into.add_(found[: len(vectors)], alpha=self.dim**-0.5)


class TwoSided(Projection):
    """Two small matrices of signs for each layer."""

    def __init__(self, dim: int, seed: int) -> None:
        super().__init__(dim, seed)
        # The two numbers whose product is `dim`, as near to each other as there are.
        self.left = next(each for each in range(int(dim**0.5), 0, -1) if dim % each == 0)
        self.right = dim // self.left

    def add(
        self, name: str, inputs: torch.Tensor, errors: torch.Tensor, into: torch.Tensor, update: Update | None = None
    ) -> None:
        """See `Projection.add`; an optimizer's update is that of a gradient, which is not formed here.

        Raises:
            ValueError: there is an update.
        """
        if update is not None:
            raise ValueError("the two-sided projection never forms the gradient that an optimizer would update")
        left = errors @ _signs(self.key(f"{name}/errors"), 0, errors.shape[2], self.left, errors)
        right = inputs @ _signs(self.key(f"{name}/inputs"), 0, inputs.shape[2], self.right, inputs)
        into += ((left.transpose(1, 2) @ right) * self.dim**-0.5).flatten(1)


PROJECTIONS: Mapping[Name, type[Projection]] = {"sparse": Sparse, "two_sided": TwoSided, "dense": Dense}


def places(key: int, start: int, count: int, dim: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The buckets, int64, and the signs of `count` coordinates from `start`, as the kernel `scatter` has them."""
    hashes = _hashes(key, start, count, like)
    return (((hashes >> 32) & 0xFFFFFFFF) * dim) >> 32, 1 - 2 * (hashes & 1)


def _hashes(key: int, start: int, count: int, like: torch.Tensor) -> torch.Tensor:
    """The hashes of `count` places from `start`, int64 with the bits of the unsigned number, as `scatter` has them."""
    import torch

    places = torch.arange(start + 1, start + count + 1, device=like.device)
    z = places * _signed(STEP) + _signed(key)
    # A shift of a signed number brings ones from the left, which are taken off.
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _signed(FIRST)
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _signed(SECOND)
    return z ^ ((z >> 31) & ((1 << 33) - 1))


def _signs(key: int, start: int, rows: int, columns: int, like: torch.Tensor) -> torch.Tensor:
    """Rows from `start` of a matrix of random signs, one bit of a hash each."""
    import torch

    words = -(-columns // 64)
    hashes = _hashes(key, start * words, rows * words, like)
    # The signs of all bytes, as one bit after the other would take many times as long.
    each = torch.arange(256, device=like.device)[:, None] >> torch.arange(8, device=like.device)
    signs = (1 - 2 * (each & 1)).to(like.dtype)[hashes.view(torch.uint8).int()]
    return signs.view(rows, words * 64)[:, :columns]


def _signed(number: int) -> int:
    """The signed number of the same 64 bits."""
    return number - (1 << 64) if number >> 63 else number
