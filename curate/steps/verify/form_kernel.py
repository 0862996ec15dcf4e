"""The kernels of `curate.steps.verify.form`: what repeats in a row of numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.text.native import Ints, kernel


@kernel
def loops(items: npt.NDArray[np.generic], at: Ints, periods: int, least: int, longest: Ints, times: Ints) -> None:
    """For each text the longest stretch that repeats itself, and the most repeats in one of `least` items or more.

    A stretch of period p is one in which each item from the p-th on is the one p before it. It repeats length / p
    times, and counts from two times on.

    Args:
        items: of all texts, after one another; those of text i are `at[i]` up to `at[i + 1]`.
        periods: the longest period that is tried.
        longest: becomes the items of the longest stretch, 0 where nothing is repeated.
        times: becomes the most whole repeats in a stretch of at least `least` items, 0 where there is none.
    """
    for text in range(len(at) - 1):
        begin, end = at[text], at[text + 1]
        most, count = 0, 0
        for p in range(1, min(periods, (end - begin) // 2) + 1):
            same = 0
            for i in range(begin + p, end):
                same = same + 1 if items[i] == items[i - p] else 0
                if same >= p:
                    size = same + p
                    most = max(most, size)
                    if size >= least:
                        count = max(count, size // p)
        longest[text] = most
        times[text] = count
