"""The scorer `dsir`: the log importance weight of a text, by a model that the `train` step made.

    scorer = dsir(model="ratios.dsir")
    scorer(TextBatch.of(["A page."]))[""]        # above 0 for a text like the target

Xie et al. 2023, "Data Selection for Language Models via Importance Resampling". To resample by it:

    rules: [{column: dsir, sample: {count: 100000}}]
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from curate.core.config import Model
from curate.core.errors import ModelError
from curate.core.files import ModelFile, exists, is_folder, read_bytes
from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.columns import column
from curate.text.native import Floats
from curate.text.rules.hashed_ngrams import HashedNgrams, HashName


def dsir(*, model: ModelFile) -> Scorer:
    """The sum of the log weights of a text's hashed unigrams and bigrams: `""`, float64.

    It is the logarithm of how much likelier the text is under the target's bag of n-grams than under the raw
    pool's, so it grows with the length of the text. A text without a word has 0.0, as it says nothing either way.

    Args:
        model: what the method `dsir` of the `train` step wrote.

    Raises:
        ModelError: the file is missing, or is not such a model.
    """
    ngrams, weights = _load(model)

    def score(batch: TextBatch) -> Columns:
        return {"": column(ngrams.sum(batch, weights))}

    return score


# No share of a bucket has a larger logarithm, so that the sum over any text is a finite number.
LogWeight = Annotated[float, Field(ge=-1000, le=1000)]


class _File(Model):
    """What `curate.steps.train.dsir.write_model` writes."""

    kind: Literal["dsir"]
    hash: HashName
    log_weights: Annotated[list[LogWeight], Field(min_length=1)]


def _load(path: str) -> tuple[HashedNgrams, Floats]:
    if not exists(path):
        raise ModelError(f"{path}: no such model file; check `model:` (paths start at the working folder)")
    if is_folder(path):
        raise ModelError(f"{path}: a folder, but this model is a file; name the file")
    try:
        model = _File.model_validate_json(read_bytes(path))
    except ValidationError as error:
        first = error.errors()[0]
        what = ".".join(map(str, first["loc"]))
        raise ModelError(
            f"{path}: is not a DSIR model, or a damaged one ({what + ': ' if what else ''}{first['msg']}); "
            "make one with the method `dsir` of the step `train`"
        ) from None
    return HashedNgrams(model.hash, len(model.log_weights)), np.array(model.log_weights, dtype=np.float64)
