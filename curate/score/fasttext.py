"""Scorers that ask a supervised fastText model: `quality`, the probability of a label, and `language`.

    scorer = quality(model="quality.bin", label="hq")
    scorer(TextBatch.of(["A page."]))[""]        # its probability, 0 to 1

A text is given to the model as one line, its lines joined by spaces, as DCLM does (Li et al. 2024). The
library adds 1e-5 to every probability that it returns; the scores here are without it. (With
hierarchical softmax it enters at each branch, and what is left after this is below 1e-3.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import fasttext
import pyarrow as pa

from curate.errors import ModelError, nearest
from curate.files import ModelFile
from curate.score.fasttext_file import Head, read_head
from curate.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch

PREFIX = "__label__"
# What the library adds to a probability before its logarithm (std_log in its loss.cc).
EPSILON = 1e-5
POSITIVE = "hq"
ALL = -1

Predictions = list[tuple[list[str], list[float]]]


def quality(*, model: ModelFile, label: str | None = None) -> Scorer:
    """The probability of one label: `""`, float64. A text without words gets 0.0.

    Args:
        model: a supervised fastText model, `.bin` or `.ftz`.
        label: whose probability, with or without `__label__`. It may be left out for a model of two
            labels of which one is `hq`, as `curate.train.fasttext` makes them.

    Raises:
        ModelError: the file is missing, damaged or not a classifier, or has no such label.
    """
    head = read_head(model)
    wanted = _label(head, label)
    predict = _predictor(head)

    def score(batch: TextBatch) -> Columns:
        values = []
        for labels, probabilities in predict(batch.strings(), ALL):
            found = dict(zip(labels, probabilities, strict=True))
            values.append(found.get(wanted, 0.0))
        return {"": pa.array(values, pa.float64())}

    return score


def language(*, model: ModelFile, languages: list[str] | None = None) -> Scorer:
    """The most probable label without its prefix, `""` (string), and its probability, `score` (float64).

    A text without words gets a null label and the score 0.0, and so does one for which each of `languages`
    is less probable than 1e-5, where a model with hierarchical softmax (lid.176 is one) stops looking.

    Args:
        model: a language identifier, such as fastText's `lid.176.ftz`.
        languages: choose among these labels only; the probabilities stay those over all labels.

    Raises:
        ModelError: the file is missing, damaged or not a classifier, or does not know one of the languages.
    """
    head = read_head(model)
    wanted = None if languages is None else {_label(head, each) for each in languages}
    if wanted is not None and not wanted:
        raise ModelError(f"{head.path}: `languages` is empty; name one or leave it out")
    predict = _predictor(head)

    def score(batch: TextBatch) -> Columns:
        names: list[str | None] = []
        values: list[float] = []
        for labels, probabilities in predict(batch.strings(), 1 if wanted is None else ALL):
            best = next(
                ((x, p) for x, p in zip(labels, probabilities, strict=True) if not wanted or x in wanted),
                None,
            )
            names.append(None if best is None else best[0].removeprefix(PREFIX))
            values.append(0.0 if best is None else best[1])
        return {"": pa.array(names, pa.string()), "score": pa.array(values, pa.float64())}

    return score


def _label(head: Head, label: str | None) -> str:
    """The label as the model spells it."""
    if label is None:
        if len(head.labels) == 2 and PREFIX + POSITIVE in head.labels:
            return PREFIX + POSITIVE
        raise ModelError(f"{head.path}: name the label whose probability is the score; known: {_known(head, '')}")
    for spelling in (label, PREFIX + label):
        if spelling in head.labels:
            return spelling
    hint = nearest(label.removeprefix(PREFIX), _names(head))
    listed = "" if hint.startswith("known") else f" (known: {_known(head, label)})"
    raise ModelError(f"{head.path}: the model has no label {label!r}; {hint}{listed}")


def _names(head: Head) -> list[str]:
    return sorted(label.removeprefix(PREFIX) for label in head.labels)


def _known(head: Head, label: str) -> str:
    """Some twenty labels, those that start like `label` first."""
    names = sorted(_names(head), key=lambda name: (name[:1] != label.removeprefix(PREFIX)[:1], name))
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _predictor(head: Head) -> Callable[[Sequence[str], int], Predictions]:
    """A function from texts to labels, the most probable first, and their probabilities."""
    try:
        loaded = fasttext.load_model(head.path)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ModelError(f"{head.path}: fastText cannot load it ({error}); get the file again") from None

    def predict(texts: Sequence[str], k: int) -> Predictions:
        lines = [" ".join(text.strip().splitlines()) for text in texts]
        asked = [i for i, line in enumerate(lines) if line]
        answers: Predictions = [([], []) for _ in lines]
        if asked:
            # A list, as the library's way for a single string fails under numpy 2.
            labels, probabilities = loaded.predict([lines[i] for i in asked], k=k)
            for i, names, values in zip(asked, labels, probabilities, strict=True):
                answers[i] = (list(names), [min(max(float(p) - EPSILON, 0.0), 1.0) for p in values])
        return answers

    return predict
