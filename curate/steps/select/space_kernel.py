"""The kernels of selection in a space of features: distances to centres, best lists, and gains over a graph.

Every sum is over one pair of rows, in an order that follows from the processor's vectors and from nothing else:
equal rows get equal bits, whatever stands beside them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.native import Bools, Floats, Ints, compiled, kernel

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]

# Centres that are compared with one row after the other while they are in the processor's cache.
_TILE = 32
# Sums may be taken in the order of vector lanes; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


@compiled(_nrt=False, fastmath=_SUMS)
def refresh(
    vectors: Matrix, rows: Ints, centres: Matrix, count: int, bounds: Vector, stamps: Ints, floor: np.float32
) -> None:
    """Compare rows with the centres that they were not compared with yet, as long as they are above the floor.

    Args:
        vectors: all rows.
        rows: which of them.
        centres: the first `count` of them are there.
        count: of the centres.
        bounds: squared distance of each row to the nearest centre that it was compared with; written.
        stamps: with how many centres each row was compared; written.
        floor: a row whose bound is at or below it is left as it is.
    """
    first = count
    for row in rows:
        first = min(first, stamps[row])
    for start in range(first, count, _TILE):
        stop = min(start + _TILE, count)
        for row in rows:
            bound = bounds[row]
            if bound <= floor or stamps[row] >= stop:
                continue
            x = vectors[row]
            for k in range(stamps[row], stop):
                centre = centres[k]
                total = np.float32(0)
                for j in range(len(x)):
                    difference = x[j] - centre[j]
                    total += difference * difference
                bound = min(bound, total)
            bounds[row] = bound
            stamps[row] = stop


@compiled(_nrt=False, fastmath=_SUMS)
def absorb(
    vectors: Matrix,
    working: Ints,
    alive: Bools,
    centre: Vector,
    count: int,
    bounds: Vector,
    stamps: Ints,
    floor: np.float32,
) -> tuple[int, int]:
    """Compare the working rows with a new centre; how many stay working, moved to the front, and the farthest.

    Args:
        vectors: all rows.
        working: rows that were compared with all centres before, ascending; written.
        alive: rows that are not stay out.
        centre: the new one.
        count: of the centres, the new one among them.
        bounds: as in `refresh`; written.
        stamps: as in `refresh`; written.
        floor: a row at or below it stops working.

    Returns:
        How many rows stay, and the first of those that are farthest from their nearest centre, -1 where none is.
    """
    kept, farthest, best = 0, -1, floor
    for row in working:
        if not alive[row]:
            continue
        bound = bounds[row]
        # Equal rows in great number are at no distance; nothing is nearer.
        if bound > 0:
            x = vectors[row]
            total = np.float32(0)
            for j in range(len(x)):
                difference = x[j] - centre[j]
                total += difference * difference
            bound = min(bound, total)
            bounds[row] = bound
        stamps[row] = count
        if bound > floor:
            working[kept] = row
            kept += 1
            if bound > best:
                farthest, best = row, bound
    return kept, farthest


@kernel
def keep_best(scores: Floats | Matrix, names: Numbers, held: Matrix, holders: Numbers) -> None:
    """Put new scores into lists of the best, one list a row of `scores`, each a heap with its worst first.

    Args:
        scores: (lists, new), any float; minus infinity is never held.
        names: of the new ones; of two equal scores the one with the smaller name is better.
        held: (lists, length), minus infinity where a place is free; written.
        holders: the names that go with `held`; written.
    """
    length = held.shape[1]
    for i in range(scores.shape[0]):
        heap, owners = held[i], holders[i]
        for j in range(scores.shape[1]):
            score, name = np.float32(scores[i, j]), names[j]
            if score < heap[0] or score == -np.inf or (score == heap[0] and name > owners[0]):
                continue
            at = 0
            while True:
                child = 2 * at + 1
                if child >= length:
                    break
                other = child + 1
                if other < length and (
                    heap[other] < heap[child] or (heap[other] == heap[child] and owners[other] > owners[child])
                ):
                    child = other
                if heap[child] > score or (heap[child] == score and owners[child] < name):
                    break
                heap[at], owners[at] = heap[child], owners[child]
                at = child
            heap[at], owners[at] = score, name


@kernel
def gains(candidates: Ints, starts: Ints, members: Numbers, weights: Vector, covered: Vector, out: Floats) -> None:
    """By how much each candidate would raise the sum of `covered`.

    Args:
        candidates: columns of a sparse matrix.
        starts: where each column begins, and the end of the last.
        members: the rows of its entries.
        weights: the entries.
        covered: the largest entry of each row among the columns that were taken.
        out: one a candidate; written.
    """
    for i in range(len(candidates)):
        total = 0.0
        for at in range(starts[candidates[i]], starts[candidates[i] + 1]):
            total += max(0.0, np.float64(weights[at]) - np.float64(covered[members[at]]))
        out[i] = total
