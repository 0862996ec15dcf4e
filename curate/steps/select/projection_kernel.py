"""The kernel of the sparse projection on a CPU: each number of a gradient into one of a few buckets, with a sign.

Bucket and sign follow from a counter-based hash (the output function of SplitMix64: Steele, Lea and Flood 2014), so
that no matrix is stored. `curate.steps.select.projection` computes the same with torch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.native import kernel

STEP, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
# Coordinates whose places are worked out at a time, for all rows.
BLOCK = 2048
_STEP, _FIRST, _SECOND = np.uint64(STEP), np.uint64(FIRST), np.uint64(SECOND)
_ONE, _HALF = np.uint64(1), np.uint64(32)


@kernel
def scatter(
    rows: npt.NDArray[np.float32],
    key: np.uint64,
    buckets: npt.NDArray[np.int32],
    signs: npt.NDArray[np.float32],
    into: npt.NDArray[np.float32],
) -> None:
    """Add every number of each row, times its sign, to its bucket in the same row of `into`.

    Args:
        rows: float32 (rows, coordinates).
        key: of the hash.
        buckets, signs: room for `BLOCK` numbers.
        into: float32 (rows, buckets).
    """
    count, coordinates = rows.shape
    width = np.uint64(into.shape[1])
    for start in range(0, coordinates, BLOCK):
        some = min(BLOCK, coordinates - start)
        for j in range(some):
            z = key + np.uint64(start + j + 1) * _STEP
            z = (z ^ (z >> np.uint64(30))) * _FIRST
            z = (z ^ (z >> np.uint64(27))) * _SECOND
            z = z ^ (z >> np.uint64(31))
            buckets[j] = np.int32(((z >> _HALF) * width) >> _HALF)
            signs[j] = np.float32(1) - np.float32(2) * np.float32(z & _ONE)
        for i in range(count):
            for j in range(some):
                into[i, buckets[j]] += signs[j] * rows[i, start + j]
