"""Logistic regression of several classes, without chance: what routers and small students are made of.

model = fit_linear(features, labels, classes=6)           # features (rows, width), labels 0 to 5
model.probabilities(features)                             # (rows, 6)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import ConfigError
from curate.models.stats import softmax

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MEMORY = 12  # steps that L-BFGS remembers
_STEPS = 200


@dataclass(frozen=True)
class Linear:
    """Logistic regression of several classes: softmax(((x - mean) / scale) weight + bias).

    Attributes:
        mean, scale: of each feature, shape (width,).
        weight: shape (width, classes).
        bias: shape (classes,).
    """

    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats

    def probabilities(self, features: Floats) -> Floats:
        """The chance of each class, shape (rows, classes)."""
        folded = self.weight / self.scale[:, None]
        return softmax(features @ folded + (self.bias - self.mean @ folded))


def fit_linear(
    features: Floats,
    labels: Ints,
    *,
    classes: int,
    l2: float = 1.0,
    weights: Floats | None = None,
    standardise: bool = True,
) -> Linear:
    """Logistic regression by L-BFGS-B (Byrd et al. 1995) from zero, on one thread: no chance in it.

    Minimises the sum of `weights` times the negative log likelihood, plus `l2` / 2 times the squared weights. Ends when
    the gradient's length is below 1e-5 of the sum of `weights`, after 200 steps, or when no step gains.

    Args:
        features: shape (rows, width).
        labels: 0 up to `classes`.
        classes: how many there are.
        l2: of the weights, not of the biases; above 0.
        weights: of the rows, 0 or more; 1 each by default.
        standardise: bring every feature to mean 0 and variance 1 first: yes for embeddings, no for hashed words,
            where it would make rare ones loud.

    Raises:
        ConfigError: shapes that do not match, or values that are out of range or not finite.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    values, truth = matrix(features, features.shape[-1]), np.asarray(labels, dtype=np.int64)
    rows = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(values) or truth.shape != (len(values),) or rows.shape != truth.shape:
        raise ConfigError(
            f"fit_linear: {len(values)} rows of features, labels {truth.shape}, weights {rows.shape}; give one a row"
        )
    if truth.min() < 0 or truth.max() >= classes or l2 <= 0 or not (rows >= 0).all() or not np.isfinite(values).all():
        raise ConfigError("fit_linear: labels must be 0 up to classes, l2 above 0, weights 0 or more, features finite")
    mean, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    if standardise:
        mean, deviation = values.mean(0), values.std(0)
        scale = np.where(deviation > 1e-12, deviation, 1.0)
        values = (values - mean) / scale
    wanted = np.zeros((len(values), classes))
    wanted[np.arange(len(values)), truth] = 1.0
    width = values.shape[1]

    def loss(point: Floats) -> tuple[float, Floats]:
        weight, bias = point[: width * classes].reshape(width, classes), point[width * classes :]
        chance = softmax(values @ weight + bias)
        off = rows[:, None] * (chance - wanted)
        likely = np.log(np.maximum(chance[np.arange(len(values)), truth], 1e-300))
        total = -float(rows @ likely) + l2 / 2 * float((weight**2).sum())
        return total, np.concatenate([(values.T @ off + l2 * weight).ravel(), off.sum(0)])

    start = np.zeros((width + 1) * classes)
    # `gtol` bounds the largest number of the gradient; its length is at most that times the root of how many there are.
    tolerance = 1e-5 * max(1.0, float(rows.sum())) / len(start) ** 0.5
    options = {"maxcor": _MEMORY, "maxiter": _STEPS, "gtol": tolerance, "ftol": 0.0}
    # Several threads add up in another order, so that the bits would depend on the number of cores.
    with threadpool_limits(1, "blas"):
        best = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    return Linear(mean, scale, best[: width * classes].reshape(width, classes), best[width * classes :])


def matrix(features: Floats, width: int) -> Floats:
    """The features as float64 rows of `width` numbers.

    Raises:
        ConfigError: they have another shape.
    """
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != width:
        raise ConfigError(f"features have shape {values.shape}, expected (rows, {width}); make them the same way")
    return values
