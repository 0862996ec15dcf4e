"""The kernel of `Store.scores`: products of rows that are held as small integers or float32 with a few queries.

Four rows meet four queries at a time, so that a number is read from memory once and turned into float32 once for
four products. Every row takes the same path through the code, the last ones too, so that equal rows get equal bits
wherever they stand; the order of a sum follows from the processor's vectors and from nothing else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.native import Floats, compiled

TILE = 4
_ZERO = np.float32(0)


# Sums may be taken in the order of vector lanes; NaN and infinity keep their meaning.
@compiled(_nrt=False, fastmath={"reassoc", "contract", "nsz"})
def products(codes: npt.NDArray[np.generic], scales: Floats, queries: npt.NDArray[np.float32], out: Floats) -> None:
    """Fill in `out[i, k]`, the sum over c of `scales[i, c]` times the product of `codes[i, c]` and `queries[k, c]`.

    Args:
        codes: int8 or float32 (rows, checkpoints, width), read only.
        scales: float64 (rows, checkpoints).
        queries: float32 (queries, checkpoints, width), as many as a multiple of `TILE`.
        out: float64 (rows, queries).
    """
    rows, checkpoints, width = codes.shape
    for i in range(0, rows, TILE):
        # Past the end the last row is computed again, for nothing.
        i1, i2, i3 = min(i + 1, rows - 1), min(i + 2, rows - 1), min(i + 3, rows - 1)
        for k in range(0, queries.shape[0], TILE):
            for c in range(checkpoints):
                r0, r1, r2, r3 = codes[i, c], codes[i1, c], codes[i2, c], codes[i3, c]
                q0, q1, q2, q3 = queries[k, c], queries[k + 1, c], queries[k + 2, c], queries[k + 3, c]
                s00 = s01 = s02 = s03 = _ZERO
                s10 = s11 = s12 = s13 = _ZERO
                s20 = s21 = s22 = s23 = _ZERO
                s30 = s31 = s32 = s33 = _ZERO
                for j in range(width):
                    x0, x1, x2, x3 = np.float32(r0[j]), np.float32(r1[j]), np.float32(r2[j]), np.float32(r3[j])
                    y0, y1, y2, y3 = q0[j], q1[j], q2[j], q3[j]
                    s00 += x0 * y0
                    s01 += x0 * y1
                    s02 += x0 * y2
                    s03 += x0 * y3
                    s10 += x1 * y0
                    s11 += x1 * y1
                    s12 += x1 * y2
                    s13 += x1 * y3
                    s20 += x2 * y0
                    s21 += x2 * y1
                    s22 += x2 * y2
                    s23 += x2 * y3
                    s30 += x3 * y0
                    s31 += x3 * y1
                    s32 += x3 * y2
                    s33 += x3 * y3
                for lane, sums in enumerate(
                    ((s00, s01, s02, s03), (s10, s11, s12, s13), (s20, s21, s22, s23), (s30, s31, s32, s33))
                ):
                    if i + lane < rows:
                        for n in range(TILE):
                            value = scales[i + lane, c] * sums[n]
                            out[i + lane, k + n] = value if c == 0 else out[i + lane, k + n] + value
