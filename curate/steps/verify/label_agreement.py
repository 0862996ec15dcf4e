"""The verifier `label_agreement`: whether a small classifier of real rows gives a synthetic row its label too.

    verifier = label_agreement(model="topics.bin")
    verifier(VerifyBatch.of([{"id": "a", "text": "When was he born?", "label": "NUM"}]))["agrees"]

The classifier is a supervised fastText model of any number of labels with the loss softmax, as the `train` step and
`fasttext supervised` make them. A row whose own label has a low probability is mislabelled, or unlike all real rows.
"""

from __future__ import annotations

import pyarrow as pa

from curate.core.errors import ConfigError, ModelError
from curate.core.files import ModelFile
from curate.models.fasttext.file import SOFTMAX, read_model
from curate.models.fasttext.labels import PREFIX
from curate.models.fasttext.linear import features, output
from curate.models.stats import softmax
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch
from curate.steps.verify.similarity import DECIMALS


def label_agreement(*, model: ModelFile, column: str = "text", label: str = "label") -> Verifier:
    """The predicted `label` (string) and its `probability`, that of the row's `own` label, and whether it `agrees`.

    Probabilities are float64, rounded to 6 decimals. All four are null for a text without a word that counts; `own` and
    `agrees` also where the row has no label, or one that the model does not know. Of equally probable labels the
    model's first is named, which is the one with most real rows.

    Args:
        model: a supervised fastText model, `.bin` or `.ftz`, or a step that trains one.
        column: the text.
        label: the column of the rows' own labels, with or without `__label__`.

    Raises:
        ModelError: the file is missing, damaged or not a classifier with softmax.
    """
    file = read_model(model)
    if file.loss != SOFTMAX:
        raise ModelError(
            f"{file.path}: its probabilities are not of one whole (not softmax); train it with loss softmax"
        )
    table, weights = features(file, None), output(file)
    names = [each.removeprefix(PREFIX) for each in file.labels]
    number = {name: i for i, name in enumerate(names)}

    def verify(batch: VerifyBatch) -> Columns:
        own = [None if each is None else number.get(each.removeprefix(PREFIX)) for each in _labels(batch, label)]
        sums, counts = table.sums(batch.batch(column))
        chosen: list[str | None] = []
        best: list[float | None] = []
        given: list[float | None] = []
        agrees: list[bool | None] = []
        for row, count, known in zip(sums, counts, own, strict=True):
            likely = softmax(weights @ (row / count)) if count else None
            top = None if likely is None else int(likely.argmax())
            chosen.append(None if top is None else names[top])
            best.append(None if likely is None or top is None else round(float(likely[top]), DECIMALS))
            given.append(None if likely is None or known is None else round(float(likely[known]), DECIMALS))
            agrees.append(None if top is None or known is None else top == known)
        return {
            "label": pa.array(chosen, pa.string()),
            "probability": pa.array(best, pa.float64()),
            "own": pa.array(given, pa.float64()),
            "agrees": pa.array(agrees, pa.bool_()),
        }

    return verify


def _labels(batch: VerifyBatch, column: str) -> list[str | None]:
    """The rows' labels; whole numbers and booleans as they are written in a model."""
    names = batch.rows.schema.names
    kind = batch.rows.schema.field(column).type if column in names else None
    if kind is not None and (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return [None if each is None else str(each).lower() for each in batch.rows.column(column).to_pylist()]
    try:
        return batch.texts(column)
    except ConfigError as error:
        raise ConfigError(f"label_agreement: {error}; `label:` is the column of the rows' labels") from None
