"""The output of a fastText model: from the mean of a text's rows to the most probable of some labels.

    project(rows, directions, table)             # once, when a model is loaded
    answer_softmax(sums, counts, weights, wanted, logits, labels, scores)

`logits` is room for one text. Each `answer_` function writes the number of the best label among those `wanted`,
the last of equals as the library does, and its probability; -1 and 0 where a text has no features.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from curate.models.fasttext.features_kernel import Floats, Rows
from curate.text.native import Bools, Chars, Ints, inlined, kernel

# What the library adds to a probability before its logarithm (`std_log` of its loss.cc).
EPSILON = 1e-5
# Its table of the logistic function: that many steps from -8 to 8.
STEPS = 512
Singles = npt.NDArray[np.float32]
_RANGE = 8.0


@kernel
def project(rows: Rows, directions: Floats, table: Rows) -> None:
    """table[i, k] = rows[i] . directions[:, k], summed in 64 bits in the order of the columns."""
    width = directions.shape[1]
    for i in range(rows.shape[0]):
        for k in range(width):
            total = 0.0
            for d in range(rows.shape[1]):
                total += np.float64(rows[i, d]) * directions[d, k]
            table[i, k] = np.float32(total)


@inlined
def _fill_logits(sums: Floats, count: int, text: int, weights: Rows, logits: Floats) -> None:
    """The outputs for a text: the mean itself where the table is collapsed (no weights), else its product with them."""
    scale = 1.0 / count
    if weights.shape[0] == 0:
        for k in range(sums.shape[1]):
            logits[k] = sums[text, k] * scale
    else:
        for k in range(weights.shape[1]):
            logits[k] = 0.0
        for d in range(weights.shape[0]):
            value = sums[text, d] * scale
            for k in range(weights.shape[1]):
                logits[k] += value * np.float64(weights[d, k])


@kernel
def answer_softmax(
    sums: Floats, counts: Ints, weights: Rows, wanted: Bools, logits: Floats, labels: Chars, scores: Floats
) -> None:
    """Softmax over all labels. A table of one column for two labels holds the first one's lead over the second."""
    for text in range(len(counts)):
        labels[text], scores[text] = -1, 0.0
        if counts[text] == 0:
            continue
        logits[len(wanted) - 1] = 0.0
        _fill_logits(sums, counts[text], text, weights, logits)
        best, top = -1, logits[0]
        for k in range(len(wanted)):
            top = max(top, logits[k])
            if wanted[k] and (best < 0 or logits[k] >= logits[best]):
                best = k
        total = 0.0
        for k in range(len(wanted)):
            total += math.exp(logits[k] - top)
        labels[text], scores[text] = best, math.exp(logits[best] - top) / total


@kernel
def answer_logistic(
    sums: Floats,
    counts: Ints,
    weights: Rows,
    wanted: Bools,
    sigmoid: Singles,
    logits: Floats,
    labels: Chars,
    scores: Floats,
) -> None:
    """One logistic function a label (`ova`, `ns`), by the library's table; an output for each wanted label."""
    for text in range(len(counts)):
        labels[text], scores[text] = -1, 0.0
        if counts[text] == 0:
            continue
        _fill_logits(sums, counts[text], text, weights, logits)
        column = 0
        for k in range(len(wanted)):
            if wanted[k]:
                x = np.float32(logits[column])
                column += 1
                if x < -_RANGE:
                    value = np.float32(0.0)
                elif x > _RANGE:
                    value = np.float32(1.0)
                else:
                    value = sigmoid[np.int64((x + np.float32(_RANGE)) * np.float32(STEPS / (2 * _RANGE)))]
                if labels[text] < 0 or value >= scores[text]:
                    labels[text], scores[text] = k, np.float64(value)


@kernel
def answer_hierarchical(
    sums: Floats,
    counts: Ints,
    weights: Rows,
    children: Chars,
    holds: Bools,
    stack: Chars,
    products: Floats,
    logits: Floats,
    labels: Chars,
    scores: Floats,
) -> None:
    """The best leaf below the root, the likelier branch first; a branch is left out once it cannot win.

    `children[node]` are the left and the right one or -1; node n + i of n labels is output i. `holds` says whether a
    wanted label is below a node. The library adds EPSILON at every branch, and so does this.
    """
    leaves = (children.shape[0] + 1) // 2
    for text in range(len(counts)):
        labels[text], scores[text] = -1, 0.0
        if counts[text] == 0:
            continue
        _fill_logits(sums, counts[text], text, weights, logits)
        best = -1.0
        size = 1
        stack[0], products[0] = children.shape[0] - 1, 1.0
        while size > 0:
            size -= 1
            node, product = stack[size], products[size]
            if product < best or not holds[node]:
                continue
            if children[node, 0] < 0:
                labels[text], best = node, product
                continue
            x = logits[node - leaves]
            right = 1.0 / (1.0 + math.exp(-x)) if x > -700.0 else 0.0
            first = 0 if right > 0.5 else 1  # what is put on the stack first is looked at last
            for i in range(2):
                side = first if i == 0 else 1 - first
                stack[size] = children[node, side]
                products[size] = product * ((right if side == 1 else 1.0 - right) + EPSILON)
                size += 1
        scores[text] = min(max(best - EPSILON, 0.0), 1.0)


@kernel
def mark_parents(children: Chars, holds: Bools) -> None:
    """Mark every node below which a marked leaf is; a parent comes after its children."""
    for node in range(children.shape[0]):
        if children[node, 0] >= 0 and (holds[children[node, 0]] or holds[children[node, 1]]):
            holds[node] = True
