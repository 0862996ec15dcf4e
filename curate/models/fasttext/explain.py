"""What a fastText score is made of: the part of each word and n-gram of a text in the logit of a label.

    logit = label_logit(read_model("quality.bin"), "__label__hq")
    parts = logit.contributions("A page.")
    sum(part.value for part in parts)            # logit.of("A page.")

A logit is linear: the mean, over a text's features, of one number a row. Which logit it is depends on the loss:

- softmax over two labels: log p / (1 - p) of the label;
- `ova` and `ns`: log p / (1 - p) of the label, before the library's table;
- softmax over more labels: the label's output before the softmax, which is not linear (compare two labels' outputs);
- hierarchical softmax: the sum, over the branches from the root to the label, of the log-odds of taking them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.models.fasttext.features_kernel import BUCKET, MAXN, NGRAMS, WORDS, add_subwords, bucket_row, is_label
from curate.models.fasttext.file import HIERARCHICAL, SOFTMAX, FastTextFile, read_model
from curate.models.fasttext.labels import PREFIX, find_label
from curate.models.fasttext.linear import Features, features, linear_model, output, valid
from curate.models.fasttext.tree import build_tree, path_to
from curate.models.fasttext.words_kernel import find_words, split_words, strip
from curate.text.batch import TextBatch

_MIX = 116049371
_END = "</s>"


@dataclass(frozen=True)
class Contribution:
    """The part of one word or n-gram, all its occurrences together; a word's includes its character n-grams.

    `</s>` is the end of the text.
    """

    text: str
    count: int
    value: float


@dataclass(frozen=True)
class Logit:
    """The logit of a label, as a table of one number a row."""

    label: str
    meaning: str
    features: Features

    def of(self, text: str) -> float | None:
        """The logit for a text; None where it has no features."""
        sums, counts = self.features.sums(TextBatch.of([text]))
        return float(sums[0, 0] / counts[0]) if counts[0] else None

    def contributions(self, text: str) -> list[Contribution]:
        """The parts of the logit for a text, in the order in which they first occur; they add up to it."""
        words = _words(text, self.features)
        parts: dict[str, list[float]] = {}
        size = 0
        for word, _, value, rows in words:
            if rows:
                parts.setdefault(word, []).append(value)
            size += rows
        longest, bucket = int(self.features.settings[NGRAMS]), int(self.features.settings[BUCKET])
        for i, (_, first, _, _) in enumerate(words):
            key = first
            for j in range(i + 1, min(len(words), i + longest)):
                key = (key * _MIX + words[j][1]) % 2**64
                row = bucket_row(np.int64(key % bucket), self.features.pruned, self.features.settings[WORDS])
                if row >= 0:
                    phrase = " ".join(word for word, *_ in words[i : j + 1])
                    parts.setdefault(phrase, []).append(float(self.features.table[row, 0]))
                    size += 1
        return [Contribution(name, len(values), sum(values) / size) for name, values in parts.items()]


@dataclass(frozen=True)
class Moved:
    """The score that a model gives a text, the logit behind it, and the parts of that."""

    label: str
    score: float
    meaning: str
    logit: float
    contributions: list[Contribution]


def moved_by(path: str, label: str | None, text: str) -> Moved:
    """What moved the probability of a label for a text. The label may be named without its prefix.

    Raises:
        ModelError: the file is missing, damaged or not a classifier, or has no such label.
    """
    file = read_model(path)
    wanted = find_label(file, label)
    _, scores = linear_model(file, [wanted]).predict(TextBatch.of([text]))
    logit = label_logit(file, wanted)
    name = wanted.removeprefix(PREFIX)
    return Moved(name, float(scores[0]), logit.meaning, logit.of(text) or 0.0, logit.contributions(text))


def label_logit(file: FastTextFile, label: str) -> Logit:
    """The logit of a label, spelt as in the file.

    Raises:
        ModelError: the file holds numbers that are not finite.
    """
    weights = output(file)
    at = file.labels.index(label)
    if file.loss == HIERARCHICAL:
        path = path_to(build_tree(file.label_counts), at)
        signs = [(node - len(weights), 1.0 if right else -1.0) for node, right in path]
        direction = np.array([sign * weights[node] for node, sign in signs]).reshape(-1, file.dimension).sum(axis=0)
        meaning = "sum of the log-odds of the branches that lead to it"
    elif file.loss == SOFTMAX and len(weights) == 2:
        direction, meaning = weights[at] - weights[1 - at], "log-odds"
    else:
        direction, meaning = weights[at], "output before the softmax" if file.loss == SOFTMAX else "log-odds"
    return Logit(label, meaning, features(file, direction[None, :]))


def _words(text: str, known: Features) -> list[tuple[str, int, float, int]]:
    """Each word of a text but labels: itself, its hash as n-grams have it, and the sum and number of its rows."""
    batch = valid(TextBatch.of([text]))
    start, end = strip(batch.data, batch.offsets[0], batch.offsets[1])
    if start == end:
        return []
    room = end - start + 2
    starts, ends, hashes = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.uint32)
    others, found = np.empty(room, np.uint64), np.empty(room, np.int64)
    count, _ = split_words(batch.data, start, end, starts, ends, hashes, others, 0, room)
    find_words(hashes, others, 0, count, known.slots, found)
    words = []
    for i in range(count):
        number, first, last = int(found[i]), int(starts[i]), int(ends[i])
        if number >= known.settings[WORDS] or (number < 0 and is_label(batch.data, first, last)):
            continue
        word = batch.data[first:last].tobytes().decode() or _END
        if number >= 0:
            value, rows = float(known.table[number, 0]), int(known.sizes[number]) if len(known.sizes) else 1
        else:
            value, rows = (0.0, 0) if word == _END else _unknown(known, batch, first, last)
        words.append((word, int(hashes[i].astype(np.int32)), value, rows))
    return words


def _unknown(known: Features, batch: TextBatch, start: int, end: int) -> tuple[float, int]:
    """The sum of the rows of an unknown word's character n-grams, and how many they are."""
    if known.settings[MAXN] <= 0:
        return 0.0, 0
    sums = np.zeros((1, 1))
    rows = add_subwords(batch.data, start, end, known.settings, known.pruned, known.table, sums, 0)
    return float(sums[0, 0]), rows
