"""A router that is fitted on graded prompts, and what it says of those prompts when it has not seen them.

learnt = Learnt(hashed_features(prompts).astype(np.float32), good, id_hashes(ids))
chance = cross_fit(learnt, hashed=True, method="logistic")      # of each prompt, by a fit on the others' folds
auroc_interval(chance, good)                                    # Interval(value=0.71, low=0.68, high=0.74)
fit(learnt, hashed=True, method="logistic").predict(hashed_features(new_prompts))
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import xxhash

from curate.core import files
from curate.models.stats import Interval, auroc, bootstrap
from curate.steps.route.model import (
    Logistic,
    Nearest,
    fit_knn,
    fit_logistic,
    inverse_frequencies,
    load_router,
    save_router,
)

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Method = Literal["logistic", "knn"]

FOLDS = 5
LEAST = 20  # graded prompts of each outcome
_NEIGHBOURS = 50
# Penalties of hashed words, and of embeddings that are brought to variance 1: those of benchmarks/routing.py.
_L2_WORDS, _L2_EMBEDDINGS = 3.0, 300.0
# Of a chance: the last bits of a matrix product may depend on the number of threads.
_DECIMALS = 9


@dataclass(frozen=True)
class Learnt:
    """Graded prompts: their features, whether the small model was good, and the hashes of their ids."""

    features: Features
    good: Bools
    hashes: Hashes

    def take(self, rows: Ints) -> Learnt:
        """Those prompts."""
        return Learnt(self.features[rows], self.good[rows], self.hashes[rows])


@dataclass(frozen=True)
class Fitted:
    """A router, and the weights of hashed words that it was fitted with; None for embeddings."""

    router: Logistic | Nearest
    idf: Floats | None

    def predict(self, features: Features | Floats) -> Floats:
        """The chance that the small model is good, for each row, to nine decimals."""
        chance: Floats = np.round(self.router.predict(_weighed(features, self.idf)), _DECIMALS)
        return chance

    def save(self, path: str) -> None:
        """Write it to two files whose names begin with `path`."""
        save_router(self.router, f"{path}.npz")
        if self.idf is not None:
            with files.atomic_output(f"{path}.idf.npy") as out:
                np.save(out, self.idf, allow_pickle=False)

    @classmethod
    def load(cls, path: str) -> Fitted:
        """What `save` wrote."""
        words = f"{path}.idf.npy"
        idf = np.load(io.BytesIO(files.read_bytes(words)), allow_pickle=False) if files.exists(words) else None
        return cls(load_router(f"{path}.npz"), idf)


def id_hashes(ids: Sequence[str]) -> Hashes:
    """xxh3-64 of each id: says which rows are learnt from when there are too many, and in which fold one lies."""
    return np.fromiter((xxhash.xxh3_64_intdigest(each.encode()) for each in ids), np.uint64, len(ids))


def fit(learnt: Learnt, *, hashed: bool, method: Method) -> Fitted:
    """Fit a router.

    Args:
        learnt: graded prompts.
        hashed: whether the features are those of `hashed_features`, which are weighed by how rare they are.
        method: `logistic` or `knn`.
    """
    idf = inverse_frequencies(learnt.features.astype(np.float64)) if hashed else None
    values = _weighed(learnt.features, idf)
    if method == "knn":
        return Fitted(fit_knn(values, learnt.good, k=min(_NEIGHBOURS, len(values))), idf)
    l2 = _L2_WORDS if hashed else _L2_EMBEDDINGS
    return Fitted(fit_logistic(values, learnt.good, l2=l2, standardise=not hashed), idf)


def cross_fit(learnt: Learnt, *, hashed: bool, method: Method) -> Floats:
    """For each prompt the chance by a router that was fitted without the prompts of its fold; arguments as of `fit`."""
    fold = (learnt.hashes % np.uint64(FOLDS)).astype(np.int64)
    chance = np.empty(len(fold))
    for number in range(FOLDS):
        held = np.flatnonzero(fold == number)
        if len(held):
            others = learnt.take(np.flatnonzero(fold != number))
            chance[held] = fit(others, hashed=hashed, method=method).predict(learnt.features[held])
    return chance


def auroc_interval(chance: Floats, good: Bools) -> Interval:
    """The AUROC of the chances, with its bootstrap interval over the rows; draws of one outcome count for nothing."""

    def area(rows: Ints) -> float:
        drawn = good[rows]
        return auroc(chance[rows], drawn) if drawn.any() and not drawn.all() else np.nan

    return bootstrap(area, len(good))


def _weighed(features: Features | Floats, idf: Floats | None) -> Floats:
    """The features as float64; hashed ones times their weights, each row brought to length 1 again."""
    values = features.astype(np.float64)
    if idf is not None:
        values *= idf
        values /= np.maximum(np.sqrt(np.einsum("ij,ij->i", values, values)), 1e-12)[:, None]
    return values
