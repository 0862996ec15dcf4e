"""Whether the small model will do, predicted from the prompt alone.

    features = hashed_features(prompts)                       # or embeddings, one row a prompt
    router = fit_logistic(features, small_was_good)
    chance = router.predict(hashed_features(new_prompts))     # that the small model's answer is good
    to_large = chance < threshold_for(chance, share=0.3)

After RouteLLM (Ong et al. 2024), which learns such routers from preferences; here from whether the small model was
good enough. Without an encoder, `hashed_features` makes vectors of the words and runs of letters of a text.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import ConfigError, ModelError
from curate.core.files import atomic_output, open_input
from curate.models.linear import Linear, fit_linear, matrix
from curate.text.batch import TextBatch

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

WIDTH = 4096
_LETTERS = (3, 4, 5)  # lengths of the runs of characters
_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # of splitmix64 (Steele et al. 2014)
_DECIMALS = 9  # of a similarity: equal vectors must tie


@dataclass(frozen=True)
class Logistic:
    """A router by logistic regression; class 1 is "the small model is good"."""

    linear: Linear

    def predict(self, features: Floats) -> Floats:
        """The chance that the small model is good, for each row."""
        chance: Floats = self.linear.probabilities(matrix(features, len(self.linear.mean)))[:, 1]
        return chance


@dataclass(frozen=True)
class Nearest:
    """A router by the nearest prompts whose outcome is known.

    Attributes:
        vectors: of those prompts, each of length 1.
        good: their outcomes.
        k: how many are asked.
    """

    vectors: Floats
    good: Floats
    k: int

    def predict(self, features: Floats) -> Floats:
        """The mean outcome of the `k` nearest by cosine, weighted by it; the first rows among equals."""
        found = np.empty(len(features))
        for at in range(0, len(features), 1024):
            some = _unit(matrix(features[at : at + 1024], self.vectors.shape[1]))
            near = np.round(some @ self.vectors.T, _DECIMALS)
            first = np.argsort(-near, axis=1, kind="stable")[:, : self.k]
            weight = np.maximum(np.take_along_axis(near, first, axis=1), 1e-6)
            found[at : at + 1024] = (weight * self.good[first]).sum(1) / weight.sum(1)
        return found


def fit_logistic(
    features: Floats, good: Bools, *, l2: float = 1.0, weights: Floats | None = None, standardise: bool = True
) -> Logistic:
    """A router by logistic regression; arguments and errors are those of `fit_linear`."""
    return Logistic(
        fit_linear(
            features,
            np.asarray(good, dtype=np.bool_).astype(np.int64),
            classes=2,
            l2=l2,
            weights=weights,
            standardise=standardise,
        )
    )


def fit_knn(features: Floats, good: Bools, *, k: int = 50) -> Nearest:
    """A router by the `k` nearest of these prompts.

    Raises:
        ConfigError: there are fewer prompts than `k`, features that are not finite, or not one outcome a prompt.
    """
    values, outcomes = matrix(features, features.shape[-1]), np.asarray(good, dtype=np.float64)
    if outcomes.shape != (len(values),) or not 1 <= k <= len(values):
        raise ConfigError(f"fit_knn: {len(values)} rows, {outcomes.shape} outcomes and k {k}; k must be 1 to the rows")
    if not np.isfinite(values).all():
        raise ConfigError("fit_knn: features must be finite; leave prompts without an embedding out first")
    return Nearest(_unit(values), outcomes, k)


def hashed_features(texts: Sequence[str], *, width: int = WIDTH, idf: Floats | None = None) -> Floats:
    """TF-IDF of the words, pairs of words and runs of 3 to 5 characters of each text, hashed to `width` numbers.

    Lower case; log(1 + count) times `idf`, each row brought to length 1; zeros for an empty text. The same text
    gives the same numbers in any company. 8 * width bytes a text.

    Args:
        texts: to turn into vectors.
        width: of a vector; more keeps more words apart.
        idf: what `inverse_frequencies` gave for the training texts; ones by default.
    """
    if width < 1 or (idf is not None and idf.shape != (width,)):
        raise ConfigError(f"hashed_features: width {width} must be 1 or more, and idf have so many numbers")
    rows, keys = _grams([text.lower() for text in texts])
    at = rows * width + (keys % np.uint64(width)).astype(np.int64)
    counts = np.bincount(at, minlength=len(texts) * width).reshape(len(texts), width)
    values = np.log1p(counts) * (1.0 if idf is None else idf)
    return _unit(values)


def inverse_frequencies(features: Floats) -> Floats:
    """The weight of each hashed feature by how few texts have it: 1 + ln((1 + texts) / (1 + texts that have it))."""
    found: Floats = 1.0 + np.log((1.0 + len(features)) / (1.0 + (features > 0).sum(0)))
    return found


def threshold_for(chance: Floats, *, share: float) -> float:
    """The threshold below which at most `share` of the rows lie, as near to it as ties allow: those go to the large.

    Raises:
        ConfigError: there are no rows, or `share` is not from 0 to 1.
    """
    if not len(chance) or not 0 <= share <= 1:
        raise ConfigError(f"threshold_for: share {share} must be 0 to 1, and there must be rows")
    sent = int(np.floor(share * len(chance) + 1e-9))
    return float(np.sort(chance)[sent]) if sent < len(chance) else float("inf")


def save_router(router: Logistic | Nearest, path: str) -> None:
    """Write a router as an .npz file, the same bytes for the same router."""
    if isinstance(router, Logistic):
        one = router.linear
        arrays = {"mean": one.mean, "scale": one.scale, "weight": one.weight, "bias": one.bias}
    else:
        arrays = {"vectors": router.vectors, "good": router.good, "k": np.array(router.k)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with atomic_output(path) as out:
        out.write(buffer.getvalue())


def load_router(path: str) -> Logistic | Nearest:
    """Read what `save_router` wrote; nothing in the file is run.

    Raises:
        ModelError: it is damaged, not finite, or something else.
    """
    try:
        with open_input(path) as stream, np.load(io.BytesIO(stream.read()), allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: not a router ({error}); fit it again") from error
    fits = all(np.issubdtype(each.dtype, np.number) and np.isfinite(each).all() for each in held.values())
    if fits and set(held) == {"mean", "scale", "weight", "bias"}:
        one = Linear(**held)
        if one.weight.shape == (len(one.mean), 2) and one.scale.shape == one.mean.shape and one.bias.shape == (2,):
            return Logistic(one)
    if fits and set(held) == {"vectors", "good", "k"} and held["k"].shape == () and held["vectors"].ndim == 2:
        two = Nearest(held["vectors"], held["good"], int(held["k"]))
        if two.good.shape == (len(two.vectors),) and 1 <= two.k <= len(two.vectors):
            return two
    raise ModelError(f"{path}: not a router, or a damaged one; fit it again")


def _unit(values: Floats) -> Floats:
    length = np.sqrt((values**2).sum(1, keepdims=True))
    unit: Floats = values / np.maximum(length, 1e-12)
    return unit


def _grams(texts: Sequence[str]) -> tuple[Ints, Keys]:
    """The text and the hash of each word, pair of words and run of characters."""
    words = TextBatch.of(texts).words("uax29")
    row = np.repeat(np.arange(len(texts)), np.diff(words.offsets))
    pairs = row[1:] == row[:-1]
    rows, keys = [row, row[1:][pairs]], [words.hash, (_mix(words.hash[:-1]) + words.hash[1:])[pairs]]
    letters = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    row = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    run = letters.copy()
    for size in range(2, max(_LETTERS) + 1):
        run = _mix(run[:-1]) + letters[size - 1 :]
        if size in _LETTERS:
            whole = row[: len(run)] == row[size - 1 :]
            rows.append(row[: len(run)][whole])
            keys.append(run[whole])
    return np.concatenate(rows), _mix(np.concatenate(keys))


def _mix(keys: Keys) -> Keys:
    """Keys spread over 64 bits (splitmix64)."""
    mixed = keys + np.uint64(_ODD[0])
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_ODD[1])
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_ODD[2])
    found: Keys = mixed ^ (mixed >> np.uint64(31))
    return found
