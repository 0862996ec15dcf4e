"""Which rows share a batch: those of one padded length, and only where their company changes no bit.

    for length, rows in batches([17, 300, 18], context=512, batch_tokens=8192, grain=grain_of(model, "cpu")):
        length, rows                             # (304, [1]), then (24, [0, 2])

A row's numbers must not depend on its company, or another number of workers would write other bytes. Three things
see to it on a CPU. A row is padded to a length that follows from its own alone, and only rows of one length share a
batch. MKL is asked for products that do not depend on the number of rows (`curate.core.bits.settle`); where they do,
`product_rows` finds out, and rows share a batch by eights or not at all. And torch computes the last few numbers of an
array by other code than the rest (silu, gelu by tanh: two vectors at a time, then one by one), so that a row has to
fill whole vectors: one that does not is computed alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from curate.models.device import product_rows

if TYPE_CHECKING:
    import torch

# Numbers that torch's loops over float32 take at once, with AVX-512: two vectors of 16.
LANES = 32
# How configs say that a model has experts.
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def padded(length: int, context: int) -> int:
    """The length that a row is padded to: an eighth more at most (eight tokens for short ones)."""
    step = max(8, 1 << length.bit_length() >> 4)
    return min(-(-length // step) * step, context)


def batches(lengths: Sequence[int], context: int, batch_tokens: int, grain: int) -> Iterator[tuple[int, list[int]]]:
    """The padded length of each batch and the places of its rows, the longest first.

    Args:
        lengths: of the rows, in tokens.
        context: how long a row may be.
        batch_tokens: about how many tokens a batch has; changes no number.
        grain: of the model, see `grain_of`.
    """
    for (length,), rows in shaped_batches([(padded(each, context),) for each in lengths], batch_tokens, grain):
        yield length, rows


def shaped_batches(
    shapes: Sequence[tuple[int, ...]], batch_tokens: int, grain: int
) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """`batches` for rows of several parts, by the padded length of each."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(i)
    for shape in sorted(groups, reverse=True):
        alone = any(length * grain % LANES or not grain for length in shape)
        rows = 1 if alone else max(1, batch_tokens // max(1, sum(shape)))
        for at in range(0, len(groups[shape]), rows):
            yield shape, groups[shape][at : at + rows]


def grain_of(model: object, device: str) -> int:
    """A number by which lengths are judged: rows share a batch where their length times this is a multiple of LANES.

    It is what divides the widths of the model's layers, at most LANES, so that a row fills whole vectors; 4 at most
    where products need rows by eights; 0, rows are always alone, where even those depend on their neighbours, and with
    experts. On a GPU, where nothing is promised, LANES.
    """
    import torch

    if device != "cpu":
        return LANES
    unit = product_rows()
    if not unit:
        return 0
    network = cast("torch.nn.Module", model)
    widths = [LANES // unit]
    logits = getattr(network, "get_output_embeddings", lambda: None)()
    for layer in network.modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.dim() > 1:
            odd = weight.shape[0] % 4 or max(weight.shape) < 16  # MKL has code of its own for these
            if unit > 1 and odd and not isinstance(layer, torch.nn.Embedding):
                return 0
            # Tokens, in and out, are as many as there are: nothing but sums by row passes over them.
            whole = layer is logits or isinstance(layer, torch.nn.Embedding)
            widths += weight.shape[1:] if whole else weight.shape
    # An expert is given the tokens of several rows, any number of them.
    experts = any(getattr(getattr(network, "config", None), name, None) for name in _EXPERTS)
    return 0 if experts else math.gcd(*widths)
