"""A supervised fastText model as the linear model that it is, read from its file and kept small.

    model = linear_model(read_model("quality.bin"), ["__label__hq"])
    labels, scores = model.predict(TextBatch.of(["A page."]))
    names = [model.labels[i] for i in labels]

The output is a function of `W . mean(rows)`, the rows being those of a text's words and n-grams. There are two forms,
and the smaller is taken:

- **collapsed**: `W . row` is computed once for every row. One number a row for two labels with softmax (the
  logits' difference) and for one label with `ova`; else a number for each output. With 2 million
  buckets and two labels that is 8 MB where the file has 800.
- **rows**: where there are more outputs than dimensions (lid.176 has 175 and 16), the rows themselves are
  kept as 32-bit floats, dequantised, and the outputs are computed text by text.

In both the row of a word is the sum over the word and its character n-grams, so that a known word costs one look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.core.errors import ModelError
from curate.models.fasttext.features_kernel import (
    BLOCK,
    NGRAMS,
    SETTINGS,
    Floats,
    Rows,
    fill_rows,
    sum_features,
    sum_subwords,
)
from curate.models.fasttext.file import HIERARCHICAL, SOFTMAX, FastTextFile
from curate.models.fasttext.head_kernel import (
    STEPS,
    answer_hierarchical,
    answer_logistic,
    answer_softmax,
    mark_parents,
    project,
)
from curate.models.fasttext.tree import build_tree
from curate.models.fasttext.words_kernel import fill_slots
from curate.text.batch import TextBatch
from curate.text.native import Bools, Chars, Ints, Keys

Answer = Callable[[Floats, Ints, Chars, Floats], None]
_NONE = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class Features:
    """What turns a text into rows of a table, and the table: rows x outputs, or rows x dimensions."""

    slots: Keys
    sizes: Chars  # of how many rows a word's is the sum
    pruned: Keys  # which buckets have rows; empty where all have
    settings: Ints
    table: Rows

    def sums(self, batch: TextBatch) -> tuple[Floats, Ints]:
        """The sum of each text's rows, and of how many features it is; 0 for a text that is empty or white space."""
        batch = valid(batch)
        room = BLOCK + max(int(self.settings[NGRAMS]), 1) + 1
        starts, ends, hashes = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.uint32)
        others, found = np.empty(room, np.uint64), np.empty(room, np.int64)
        sums = np.empty((len(batch), self.table.shape[1]))
        counts = np.empty(len(batch), np.int64)
        sum_features(
            batch.data, batch.offsets, self.slots, self.sizes, self.pruned, self.settings,
            self.table, starts, ends, hashes, others, found, sums, counts,
        )  # fmt: skip
        return sums, counts


@dataclass(frozen=True)
class LinearModel:
    """A model and the labels that are chosen among."""

    path: str
    labels: tuple[str, ...]
    features: Features
    answer: Answer

    @property
    def nbytes(self) -> int:
        """What the arrays take, in bytes."""
        arrays = vars(self.features).values()
        return sum(each.nbytes for each in arrays)

    def predict(self, batch: TextBatch) -> tuple[Chars, Floats]:
        """The most probable of the wanted labels by its number, -1 for a text without features; its probability."""
        sums, counts = self.features.sums(batch)
        labels, scores = np.empty(len(batch), np.int32), np.empty(len(batch))
        self.answer(sums, counts, labels, scores)
        return labels, scores


def valid(batch: TextBatch) -> TextBatch:
    """The batch, with U+FFFD for invalid bytes as `strings` has it."""
    buffers = [None, pa.py_buffer(batch.offsets), pa.py_buffer(batch.data)]
    try:
        pa.LargeStringArray.from_buffers(len(batch), buffers[1], buffers[2]).validate(full=True)
    except pa.ArrowInvalid:
        return TextBatch.of(batch.strings())
    return batch


def linear_model(file: FastTextFile, wanted: Collection[str] | None = None) -> LinearModel:
    """A model that chooses among some labels, spelt as in the file; among all by default.

    Raises:
        ModelError: the file holds numbers that are not finite.
    """
    mask = np.array([wanted is None or label in wanted for label in file.labels])
    directions = _directions(file, mask)
    if len(directions) <= file.dimension:
        return LinearModel(file.path, file.labels, features(file, directions), _answer(file, mask, _NONE))
    weights = np.ascontiguousarray(directions.T, np.float32)
    return LinearModel(file.path, file.labels, features(file, None), _answer(file, mask, weights))


def _directions(file: FastTextFile, mask: Bools) -> Floats:
    """The vectors whose products with the mean of a text's rows are the outputs, outputs x dimension."""
    weights = output(file)
    if file.loss == HIERARCHICAL:
        return weights[:-1]  # one for each node above the labels
    if file.loss == SOFTMAX:
        return weights[:1] - weights[1:] if len(mask) == 2 else weights
    return weights[mask]


def _answer(file: FastTextFile, mask: Bools, weights: Rows) -> Answer:
    """The function from sums to the best label, by the model's loss."""
    logits = np.empty(2 * len(mask))
    if file.loss == SOFTMAX:
        return lambda sums, counts, labels, scores: answer_softmax(sums, counts, weights, mask, logits, labels, scores)
    if file.loss == HIERARCHICAL:
        children = build_tree(file.label_counts)
        holds = np.concatenate([mask, np.zeros(len(mask) - 1, np.bool_)])
        mark_parents(children, holds)
        stack, products = np.empty(len(holds) + 1, np.int32), np.empty(len(holds) + 1)
        return lambda sums, counts, labels, scores: answer_hierarchical(
            sums, counts, weights, children, holds, stack, products, logits, labels, scores
        )
    x = (np.arange(STEPS + 1) * (16.0 / STEPS) - 8.0).astype(np.float32)
    sigmoid = (1.0 / (1.0 + np.exp(-x).astype(np.float64))).astype(np.float32)
    return lambda sums, counts, labels, scores: answer_logistic(
        sums, counts, weights, mask, sigmoid, logits, labels, scores
    )


def output(file: FastTextFile) -> Floats:
    """The rows of the labels in the output matrix, labels x dimension."""
    return _finite(file, file.output.read(0, len(file.labels))).astype(np.float64)


def _finite(file: FastTextFile, values: Rows) -> Rows:
    if not np.isfinite(values).all():
        raise ModelError(f"{file.path}: the fastText model holds numbers that are not finite; train it again")
    return values


def features(file: FastTextFile, directions: Floats | None) -> Features:
    """The features of a model, their rows multiplied with directions (outputs x dimension) if any are given."""
    width = file.dimension if directions is None else len(directions)
    table = np.empty((file.input.rows, width), np.float32)
    for first, rows in file.input.blocks():
        if directions is None:
            table[first : first + len(rows)] = rows
        else:
            project(rows, np.ascontiguousarray(directions.T), table[first : first + len(rows)])
    slots = np.empty((len(file.offsets) * 3 // 2 + 1, 2), np.uint64)
    fill_slots(file.letters, file.offsets, slots)
    # Most buckets that are asked for are not there, which a sparse table says at once.
    pruned = np.empty(0 if file.pruned is None else 8 * len(file.pruned) + 1, np.uint64)
    if file.pruned is not None:
        fill_rows(file.pruned, pruned)
    settings = np.empty(SETTINGS, np.int64)
    settings[:] = file.words, file.word_ngrams, file.bucket, file.minn, file.maxn
    sizes = np.empty(file.words if file.maxn > 0 else 0, np.int32)
    if file.maxn > 0:
        sums = np.empty((1, width))
        sum_subwords(file.letters, file.offsets, settings, pruned, table, sizes, sums)
    return Features(slots, sizes, pruned, settings, _finite(file, table))
