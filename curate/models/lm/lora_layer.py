"""The layer that LoRA puts in the place of a linear one. It needs torch: import it inside a function."""

from __future__ import annotations

import math

import torch


class LoraLinear(torch.nn.Module):
    """A frozen linear layer and the product of two small ones beside it: base(x) + scale · B(A(dropout(x))).

    Its parameters are `base.weight` (and `base.bias`), `lora_A.weight` (rank, inputs), `lora_B.weight` (outputs, rank).
    """

    def __init__(self, base: torch.nn.Linear, rank: int, scale: float, dropout: float, seed: int) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), scale
        self.dropout = torch.nn.Dropout(dropout)
        self.lora_A = torch.nn.Linear(base.in_features, rank, bias=False, device="meta")
        self.lora_B = torch.nn.Linear(rank, base.out_features, bias=False, device="meta")
        # Drawn on the CPU in float32, so that a seed means the same numbers on every device and for every type.
        down = torch.empty(rank, base.in_features, dtype=torch.float32)
        torch.nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=torch.Generator().manual_seed(seed))
        self.lora_A.weight = torch.nn.Parameter(down.to(base.weight))
        self.lora_B.weight = torch.nn.Parameter(base.weight.new_zeros(base.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (..., inputs) to (..., outputs)."""
        beside: torch.Tensor = self.lora_B(self.lora_A(self.dropout(x)))
        through: torch.Tensor = self.base(x)
        return through + self.scale * beside

    def merged(self) -> torch.nn.Linear:
        """The base layer with scale · B A added to its weight, in place."""
        with torch.no_grad():
            self.base.weight += self.scale * (self.lora_B.weight @ self.lora_A.weight)
        return self.base
