"""The Huffman tree of fastText's hierarchical softmax, from how often each label occurs.

children = build_tree((900, 50, 50))
children[-1]                                 # the left and the right child of the root
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.text.native import Chars

_NEVER = 10**15  # the count of a node that is not made yet


def build_tree(counts: Sequence[int]) -> Chars:
    """The left and the right child of every node, (2n - 1) x 2, or -1: n leaves in the order of the labels, then the
    nodes above them, the root last.

    The library (`buildTree` of its loss.cc) joins the two rarest of what is not joined yet, taking labels from
    the last to the first as these are sorted by count; of equals it takes the node, not the label.
    """
    labels = len(counts)
    children = np.full((2 * labels - 1, 2), -1, np.int32)
    weights = [*counts, *[_NEVER] * (labels - 1)]
    leaf, node = labels - 1, labels
    for made in range(labels, 2 * labels - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[made, side] = leaf
                leaf -= 1
            else:
                children[made, side] = node
                node += 1
        weights[made] = sum(weights[each] for each in children[made])
    return children


def path_to(children: Chars, label: int) -> list[tuple[int, bool]]:
    """The nodes from a label to the root, and at each whether the label lies to the right."""
    path = []
    below = label
    for node in range((len(children) + 1) // 2, len(children)):
        if below in children[node]:
            path.append((node, bool(children[node, 1] == below)))
            below = node
    return path
