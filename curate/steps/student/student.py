"""A small classifier trained on given rows, to see whether synthetic rows help on real test data.

    students = [train_student(texts, labels, seed=seed, kind="fasttext") for seed in range(3)]
    report = evaluate(students, test_texts, test_labels)
    report.accuracy                      # Interval(value=0.81, low=0.77, high=0.84)
    difference(students, others, test_texts, test_labels)   # of the accuracies, on the same rows

`logistic` is logistic regression on hashed words and runs of characters, or on embeddings; there is no chance in it,
so one student is enough. `fasttext` is fastText with one thread, another model for every seed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from curate.core.errors import ConfigError, nearest
from curate.models.fasttext.run import PREFIX, one_line, run_fasttext
from curate.models.linear import Linear, fit_linear
from curate.models.stats import Interval, bootstrap
from curate.steps.route.model import hashed_features, inverse_frequencies

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kind = Literal["logistic", "fasttext"]
Embed = Callable[[Sequence[str]], Floats]

# Small data: more passes and a higher rate than the library's own, and few buckets.
_FASTTEXT = {"wordNgrams": 2, "lr": 0.5, "dim": 50, "epoch": 50, "minCount": 1, "bucket": 50_000}


class Student(Protocol):
    """A classifier of texts."""

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The label of each text."""
        ...


@dataclass(frozen=True)
class Report:
    """How well students do on a test set, see `evaluate`.

    Attributes:
        accuracy: the share of rows that are right.
        macro_f1: the mean F1 of the classes that the test set has.
        rows: of the test set.
        students: how many.
    """

    accuracy: Interval
    macro_f1: Interval
    rows: int
    students: int


@dataclass(frozen=True)
class _Logistic:
    labels: list[str]
    linear: Linear
    features: Embed

    def predict(self, texts: Sequence[str]) -> list[str]:
        chance = self.linear.probabilities(self.features(texts))
        return [self.labels[i] for i in chance.argmax(1).tolist()]


class _Model(Protocol):
    def predict(self, text: list[str], k: int) -> tuple[list[list[str]], list[Floats]]: ...


@dataclass(frozen=True)
class _FastText:
    labels: list[str]
    model: _Model

    def predict(self, texts: Sequence[str]) -> list[str]:
        names, _ = self.model.predict([one_line(text) for text in texts], k=1)
        return [self.labels[int(each[0][len(PREFIX) :])] for each in names]


def train_student(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    seed: int = 0,
    kind: Kind = "logistic",
    weights: Floats | None = None,
    embed: Embed | None = None,
    l2: float = 0.03,
) -> Student:
    """Train a classifier; the same arguments give the same one.

    Args:
        texts: of the rows, in any language.
        labels: of the same rows, two at least.
        seed: of fastText; logistic regression does not use chance.
        kind: `logistic` or `fasttext`.
        weights: of the rows, 0 or more; only for `logistic`.
        embed: makes features of texts, for `logistic`; hashed words and characters by default.
        l2: the penalty of `logistic`; for embeddings of some hundred numbers take 10 to 100.

    Raises:
        ConfigError: an argument that the kind does not take, no texts, one label alone, or numbers that do not match.
        RunError: fastText could not train.
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"no student {kind!r}; {nearest(kind, get_args(Kind))}")
    names = sorted(set(labels))
    if len(texts) != len(labels) or len(names) < 2:
        raise ConfigError(
            f"a student needs a label for each text and two labels at least; there are {len(texts)} texts,"
            f" {len(labels)} labels and {len(names)} different ones"
        )
    numbers = np.searchsorted(np.array(names, dtype=object), np.array(labels, dtype=object)).astype(np.int64)
    if kind == "fasttext":
        if weights is not None or embed is not None:
            raise ConfigError("a fastText student takes neither weights nor embeddings; use kind 'logistic'")
        return _FastText(names, _fasttext(texts, numbers, seed))
    features = embed or _hashed(texts)
    linear = fit_linear(
        features(texts), numbers, classes=len(names), l2=l2, weights=weights, standardise=embed is not None
    )
    return _Logistic(names, linear, features)


def evaluate(
    students: Sequence[Student], texts: Sequence[str], labels: Sequence[str], *, seed: int = 0, draws: int = 500
) -> Report:
    """Accuracy and macro-F1, means over the students, with 95% intervals.

    The intervals are of the bootstrap: rows and students are drawn again with replacement, so that they hold both what
    another test set and what other seeds would change.

    Raises:
        ConfigError: no students, no rows, or not one label a text.
    """
    truth, predicted = _predictions(students, texts, labels)
    classes = int(max(truth.max(), predicted.max())) + 1

    def accuracy(who: Ints, rows: Ints) -> float:
        return float((predicted[np.ix_(who, rows)] == truth[rows]).mean())

    def f1(who: Ints, rows: Ints) -> float:
        return float(np.mean([macro_f1(predicted[i, rows], truth[rows], classes) for i in who]))

    one, two = (bootstrap(each, *predicted.shape, seed=seed, draws=draws) for each in (accuracy, f1))
    return Report(one, two, len(truth), len(predicted))


def difference(
    one: Sequence[Student],
    other: Sequence[Student],
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    seed: int = 0,
    draws: int = 500,
) -> Interval:
    """How much more accurate `one` is than `other`, as many students each, on the same drawn rows."""
    if len(one) != len(other):
        raise ConfigError(f"difference: {len(one)} students against {len(other)}; train as many of both")
    truth, predicted = _predictions([*one, *other], texts, labels)
    right = (predicted == truth).astype(np.float64)
    gain = right[: len(one)] - right[len(one) :]
    return bootstrap(lambda who, rows: float(gain[np.ix_(who, rows)].mean()), *gain.shape, seed=seed, draws=draws)


def macro_f1(predicted: Ints, truth: Ints, classes: int) -> float:
    """The mean over the classes that `truth` has of 2 right / (predicted + true)."""
    right = np.bincount(truth[predicted == truth], minlength=classes)
    true, called = np.bincount(truth, minlength=classes), np.bincount(predicted, minlength=classes)
    there = true > 0
    return float((2 * right[there] / (true + called)[there]).mean())


def _predictions(students: Sequence[Student], texts: Sequence[str], labels: Sequence[str]) -> tuple[Ints, Ints]:
    """The true classes as numbers, and those that each student says, shape (students, rows)."""
    if not students or not texts or len(texts) != len(labels):
        raise ConfigError(
            f"nothing to evaluate: {len(students)} students, {len(texts)} texts, {len(labels)} labels; give one a text"
        )
    said = [student.predict(texts) for student in students]
    number = {name: i for i, name in enumerate(sorted({*labels, *(name for each in said for name in each)}))}
    truth = np.array([number[name] for name in labels])
    return truth, np.array([[number[name] for name in each] for each in said])


def _hashed(texts: Sequence[str]) -> Embed:
    idf = inverse_frequencies(hashed_features(texts))
    return lambda some: hashed_features(some, idf=idf)


def _fasttext(texts: Sequence[str], numbers: Ints, seed: int) -> _Model:
    import fasttext

    lines = [f"{PREFIX}{number} {one_line(text)}\n" for text, number in zip(texts, numbers.tolist(), strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        saved = os.path.join(folder, "model.bin")
        run_fasttext(lines, saved, {"seed": seed, **_FASTTEXT}, seed)
        model: _Model = fasttext.load_model(saved)
        return model
