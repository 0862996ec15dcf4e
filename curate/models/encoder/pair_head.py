"""Whether one text follows from another, by a linear head over what a frozen encoder says of both.

    save_pair_head("models/nli", PairHead(weight, bias, PairSettings(context=128)))
    head = load_pair_head("models/nli")
    head.probabilities(features(u, v, words))    # float64 (pairs, 3), in the order of LABELS

The features of a pair are u, v, |u - v| and u * v of the embeddings u of the premise and v of the hypothesis (those
of Conneau et al. 2017, arXiv 1705.02364), their cosine, and what `word_features` counts.
The folder holds `entailment.json`, `entailment.safetensors`, and the encoder's files below `encoder/`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import Field, ValidationError

from curate.core.config import Model
from curate.core.errors import ModelError
from curate.core.files import atomic_output, join
from curate.models.encoder.encoder import Embeddings
from curate.models.lm.folder import local_folder
from curate.models.stats import softmax

Array = npt.NDArray[np.float64]
LABELS = ("entailment", "neutral", "contradiction")
SETTINGS, WEIGHTS, ENCODER = "entailment.json", "entailment.safetensors", "encoder"
WORD_FEATURES = 7
DECIMALS = 6  # of a probability
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_NEGATIONS = frozenset(
    ["no", "not", "nobody", "none", "never", "nothing", "nowhere", "neither", "nor", "without", "cannot"]
)


class PairSettings(Model):
    """What goes with a head: how many tokens are read of a text."""

    context: int = Field(ge=1)


@dataclass(frozen=True)
class PairHead:
    """A multinomial logistic regression: `weight` (labels, features) and `bias` (labels), in the order of LABELS."""

    weight: Array
    bias: Array
    settings: PairSettings

    def probabilities(self, pairs: Array) -> Array:
        """Those of each label, (pairs, labels), rounded to 6 decimals; NaN where a feature is."""
        # Row by row, as the bits of a matrix product may depend on how many rows it has.
        logits = np.array([self.weight @ row + self.bias for row in pairs]).reshape(len(pairs), len(LABELS))
        return np.round(softmax(logits), DECIMALS)


def feature_count(width: int) -> int:
    """How many features a pair has, where an encoder gives so many numbers a text."""
    return 4 * width + 1 + WORD_FEATURES


def features(premises: Embeddings, hypotheses: Embeddings, words: Array) -> Array:
    """The features of each pair, (pairs, `feature_count`), from the embeddings and `word_features`."""
    lengths = [np.sqrt(np.einsum("ij,ij->i", each, each)) for each in (premises, hypotheses)]
    cosines = np.einsum("ij,ij->i", premises, hypotheses) / np.maximum(lengths[0] * lengths[1], 1e-12)
    return np.concatenate(
        [premises, hypotheses, abs(premises - hypotheses), premises * hypotheses, cosines[:, None], words], axis=1
    )


def word_features(pairs: Sequence[tuple[str, str]]) -> Array:
    """What the words of each pair of premise and hypothesis say, (pairs, WORD_FEATURES); case is ignored.

    The part of the hypothesis's words that are in the premise, and of the premise's in the hypothesis; the log of the
    ratio of their lengths in words; whether one alone has an English negation, and whether that is the hypothesis; and
    how many words each has that the other has not.
    """
    found = np.zeros((len(pairs), WORD_FEATURES))
    for i, (premise, hypothesis) in enumerate(pairs):
        first, second = _WORD.findall(premise.lower()), _WORD.findall(hypothesis.lower())
        one, other = set(first), set(second)
        both = len(one & other)
        denied, denies = _negated(one), _negated(other)
        found[i] = (
            both / max(1, len(other)),
            both / max(1, len(one)),
            math.log((1 + len(second)) / (1 + len(first))),
            denied != denies,
            denies and not denied,
            len(other - one),
            len(one - other),
        )
    return found


def _negated(words: set[str]) -> bool:
    return any(word in _NEGATIONS or word.endswith(("n't", "n’t")) for word in words)


def save_pair_head(folder: str, head: PairHead) -> None:
    """Write the head's two files into a folder, local or remote."""
    from safetensors.numpy import save

    with atomic_output(join(folder, WEIGHTS)) as out:
        out.write(save({"weight": np.ascontiguousarray(head.weight), "bias": np.ascontiguousarray(head.bias)}))
    with atomic_output(join(folder, SETTINGS)) as out:
        out.write(orjson.dumps(head.settings.model_dump(), option=orjson.OPT_INDENT_2) + b"\n")


def load_pair_head(path: str) -> PairHead:
    """Read the head of a folder.

    Raises:
        ModelError: the folder is not there, or is not whole.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = local_folder(path, SETTINGS)
    try:
        with open(os.path.join(path, SETTINGS), "rb") as stream:
            settings = PairSettings.model_validate_json(stream.read())
        tensors = load_file(os.path.join(path, WEIGHTS))
        head = PairHead(tensors["weight"].astype(np.float64), tensors["bias"].astype(np.float64), settings)
    except (OSError, KeyError, ValidationError, SafetensorError) as error:
        raise ModelError(f"{path}: its head cannot be read ({type(error).__name__}); train it again") from None
    if head.weight.shape != (len(LABELS), head.weight.size // len(LABELS)) or head.bias.shape != (len(LABELS),):
        raise ModelError(f"{path}: its head is not of {len(LABELS)} labels; train it again")
    if not (np.isfinite(head.weight).all() and np.isfinite(head.bias).all()):
        raise ModelError(f"{path}: its head holds numbers that are not finite; train it again")
    return head
