"""How much of a set of rows is there twice: the share that has another one very near to it.

near_duplicates(space.take(places))          # 0.0 where all differ
"""

from __future__ import annotations

import numpy as np

from curate.steps.select.space_kernel import Matrix

_BLOCK = 2048


def near_duplicates(vectors: Matrix, *, above: float = 0.95) -> float:
    """The share of the rows whose nearest other row has a cosine above `above`; 0 for none or one row.

    All pairs are compared, in blocks: rows^2 * width / 2 multiplications.

    Args:
        vectors: float32 (rows, width), of length 1.
        above: a cosine.
    """
    near = np.zeros(len(vectors), np.bool_)
    for at in range(0, len(vectors), _BLOCK):
        for other in range(at, len(vectors), _BLOCK):
            mine, theirs = slice(at, at + _BLOCK), slice(other, other + _BLOCK)
            like = vectors[mine] @ vectors[theirs].T > above
            if other == at:
                np.fill_diagonal(like, False)
            near[mine] |= like.any(axis=1)
            near[theirs] |= like.any(axis=0)
    return float(near.mean()) if len(near) else 0.0
