"""Chance that depends on a seed and a row's id alone: Gumbel noise, and sampling without replacement by it.

    keys = sample_keys(scores, ids, temperature=2.0, seed=0)
    taken = np.argsort(-keys)[:1000]

Taking the k highest of `score / temperature + Gumbel noise` is drawing k rows one after the other, without
replacement, each with a chance in proportion to exp(score / temperature) (Efraimidis and Spirakis 2006; Kool et
al. 2019, "Stochastic Beams and Where to Find Them"). As the noise of a row does not depend on the others, any cut
into shards and any order give the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash

Floats = npt.NDArray[np.float64]
Ids = Sequence[str] | npt.NDArray[np.object_]

_LN_2 = 0.6931471805599453
_HALF_ROOT = 0.7071067811865476
_TERMS = 11  # of a series in at most 0.0295: what is left out is below 1e-18


def gumbel(ids: Ids, seed: int) -> Floats:
    """A draw of the standard Gumbel distribution for every id: -log(-log(u)), u from xxh3-64 of the id.

    Args:
        ids: of the rows.
        seed: 0 up to 2^64; other seeds give independent draws.
    """
    hashes = np.fromiter((xxhash.xxh3_64_intdigest(each.encode(), seed) for each in ids), np.uint64, len(ids))
    # The middle of one of 2^52 cells, so that u is exact, above 0 and below 1.
    uniform = ((hashes >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return -_log(-_log(uniform))


def sample_keys(scores: Floats, ids: Ids, *, temperature: float, seed: int) -> Floats:
    """What to take the highest of, for a sample in proportion to exp(score / temperature); NaN where the score is.

    Args:
        scores: one a row.
        ids: of the same rows.
        temperature: in units of the score; low takes the best rows, high any.
        seed: of the noise.
    """
    with np.errstate(over="ignore"):
        return scores / temperature + gumbel(ids, seed)


def _log(x: Floats) -> Floats:
    """The natural logarithm by additions, multiplications and divisions alone, in a fixed order.

    Those give the same bits on every processor; `np.log` differs in the last bit between instruction sets, and
    a row at the edge of a sample would be taken on one machine and left on another.
    """
    fraction, exponent = np.frexp(x)
    low = fraction < _HALF_ROOT
    fraction = np.where(low, 2 * fraction, fraction)
    s = (fraction - 1) / (fraction + 1)
    square = s * s
    series = np.zeros_like(s)
    for k in range(_TERMS - 1, -1, -1):
        series = series * square + 1 / (2 * k + 1)
    result: Floats = (exponent - low) * _LN_2 + 2 * s * series
    return result
