"""Scorers that ask a supervised fastText model: `quality`, the probability of a label, and `language`.

    scorer = quality(model="quality.bin", label="hq")
    scorer(TextBatch.of(["A page."]))[""]        # its probability, 0 to 1

A text is given to the model as one line, its lines joined by spaces, as DCLM does (Li et al. 2024); the
model is applied by `curate.models.fasttext.linear`, without the library. A score is the library's without the 1e-5 that
it adds to every probability, within 1e-5 of it. Three places where this shows:

- With hierarchical softmax 1e-5 enters at every branch of the tree; that is kept, so that scores stay comparable.
  They are above the product of the branches' probabilities by less than 1e-3.
- With `ova` and `ns` the library looks the logistic function up in a table of 512 steps from -8 to 8, and so does
  this: scores are multiples of that table. A logit within rounding of a step may get the step beside it.
- The library sums in 32 bits. Over some hundred thousand words its error passes 1e-5; this sums in 64.
"""

from __future__ import annotations

from curate.core.errors import ModelError
from curate.core.files import ModelFile
from curate.models.fasttext.file import read_model
from curate.models.fasttext.labels import PREFIX, find_label
from curate.models.fasttext.linear import linear_model
from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.columns import column, names


def quality(*, model: ModelFile, label: str | None = None) -> Scorer:
    """The probability of one label: `""`, float64. A text without words gets 0.0.

    Args:
        model: a supervised fastText model, `.bin` or `.ftz`.
        label: whose probability, with or without `__label__`. It may be left out for a model of two
            labels of which one is `hq`, as `curate.models.fasttext.train` makes them.

    Raises:
        ModelError: the file is missing, damaged or not a classifier, or has no such label.
    """
    file = read_model(model)
    loaded = linear_model(file, [find_label(file, label)])

    def score(batch: TextBatch) -> Columns:
        return {"": column(loaded.predict(batch)[1])}

    return score


def language(*, model: ModelFile, languages: list[str] | None = None) -> Scorer:
    """The most probable label without its prefix, `""` (string), and its probability, `score` (float64).

    A text without words gets a null label and the score 0.0. Of equally probable labels the model's last is named.

    Args:
        model: a language identifier, such as fastText's `lid.176.ftz`.
        languages: choose among these labels only; the probabilities stay those over all labels.

    Raises:
        ModelError: the file is missing, damaged or not a classifier, or does not know one of the languages.
    """
    file = read_model(model)
    wanted = None if languages is None else [find_label(file, each) for each in languages]
    if wanted == []:
        raise ModelError(f"{file.path}: `languages` is empty; name one or leave it out")
    loaded = linear_model(file, wanted)
    known = names([each.removeprefix(PREFIX) for each in file.labels])

    def score(batch: TextBatch) -> Columns:
        best, scores = loaded.predict(batch)
        return {"": known.take(column(best, best >= 0)), "score": column(scores)}

    return score
