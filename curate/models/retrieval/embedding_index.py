"""The directions of texts in the space of a sentence encoder, in memory, searched one and all.

    builder = EmbeddingBuilder(load_encoder("models/minilm", context=512, device="cpu"))
    builder.add(["The tide is high.", "A cat sleeps."])
    index = builder.build()
    rows, scores = next(index.candidates(["Where is the kitten?"], [1]))     # [1], its cosine

A sum in a matrix product may depend in its last bits on the shape of the product, that is on a query's company and
on where a text lies. So the product, in float32, only says which texts may be among the best; the cosines of those
are then computed one by one, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.models.encoder.encoder import Encoder
from curate.text.native import Floats, Ints

Vectors = npt.NDArray[np.float32]
# Texts and queries that are multiplied at once: 4 MB of products.
_TEXTS, _QUERIES = 16_384, 64


@dataclass(frozen=True)
class EmbeddingIndex:
    """Unit vectors of the texts that have a token.

    Attributes:
        encoder: what made them, for the queries too.
        blocks: some texts' numbers, and a vector of each.
        queries: that are multiplied at once.
    """

    encoder: Encoder
    blocks: tuple[tuple[Ints, Vectors], ...]
    queries: int = _QUERIES

    def candidates(self, queries: Sequence[str], tops: Sequence[int]) -> Iterator[tuple[Ints, Floats]]:
        """For each query, its `tops` nearest texts, whatever may tie with the last, and others; and their cosines.

        None for a query without a token.
        """
        for start in range(0, len(queries), self.queries):
            some = queries[start : start + self.queries]
            filled, wanted = _directions(self.encoder, some)
            # The first item lets a query without a token, and an index without a text, be put together too.
            rows: list[list[Ints]] = [[np.zeros(0, np.int64)] for _ in some]
            scores: list[list[Floats]] = [[np.zeros(0)] for _ in some]
            for numbers, vectors in self.blocks:
                products = wanted @ vectors.T
                for i, query, near in zip(filled.tolist(), wanted, products, strict=True):
                    among = _nearest(near, tops[start + i], self.encoder.width)
                    rows[i].append(numbers[among])
                    scores[i].append((vectors[among].astype(np.float64) * query).sum(axis=1))
            for each, cosines in zip(rows, scores, strict=True):
                yield np.concatenate(each), np.concatenate(cosines)


class EmbeddingBuilder:
    """Embeds texts, `texts` at a time, and makes an index of them that takes `queries` at a time."""

    def __init__(self, encoder: Encoder, *, texts: int = _TEXTS, queries: int = _QUERIES) -> None:
        self._encoder, self._texts, self._queries = encoder, texts, queries
        self._blocks: list[tuple[Ints, Vectors]] = []
        self._rows = 0

    def add(self, texts: Sequence[str]) -> None:
        """Embed the next texts."""
        for start in range(0, len(texts), self._texts):
            filled, vectors = _directions(self._encoder, texts[start : start + self._texts])
            self._blocks.append((filled + self._rows + start, vectors))
        self._rows += len(texts)

    def build(self) -> EmbeddingIndex:
        """The index of all texts that were added."""
        return EmbeddingIndex(self._encoder, tuple(self._blocks), self._queries)


def _directions(encoder: Encoder, texts: Sequence[str]) -> tuple[Ints, Vectors]:
    """Which texts have a token, and the unit vectors of those."""
    # White space is a token to some encoders, and says nothing.
    found = encoder.embed([text if text.strip() else "" for text in texts])
    filled = np.flatnonzero(~np.isnan(found[:, 0]))
    found = found[filled]
    lengths = np.sqrt((found * found).sum(axis=1, keepdims=True))
    return filled, (found / np.maximum(lengths, np.finfo(np.float64).tiny)).astype(np.float32)


def _nearest(products: Vectors, top: int, width: int) -> Ints:
    """Which texts may be among the `top` best, or tie with them, by products that are a little off.

    A product of unit vectors in float32 is off by at most about width * 2^-24 in any order of its sum (Higham 2002,
    section 3.1); two of them that are compared by twice that. The bound here is twice as wide again, and wider by what
    the rounding of scores lets tie.
    """
    if len(products) <= top:
        return np.arange(len(products))
    slack = width * 2.0**-22 + 2e-6
    return np.flatnonzero(products >= np.partition(products, -top)[-top] - np.float32(slack))
