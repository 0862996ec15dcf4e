"""Perplexity correlations (Thrush et al. 2024): which domains good models predict well, and a budget filled with those.

    matrix = read_matrix("bits_per_byte.csv")           # a row a domain, a column a model
    scores = read_scores("benchmarks.csv")              # a row a model
    gammas = correlate(matrix.of(list(scores)), np.array(list(scores.values())), "sign_cdf")
    taken = fill(gammas, matrix.domains, tokens, budget=1e9, cap=1.0)

With x the bits per byte of N models on one domain and y their benchmark error, the estimate of the domain is

    `sign_cdf`  gamma = 2 / (N (N - 1)) sum over i < j of sign(y_j - y_i) (CDF(x_j) - CDF(x_i))
    `spearman`  the correlation of the ranks of x and y

It is high where the models that err less also need fewer bits. Equal values share the mean of their ranks, and CDF
is rank / N, so a tie does not depend on the order of the columns; without ties gamma = (N + 1) / (3 N) spearman.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from curate.core.csv_table import read_csv_table
from curate.core.errors import ConfigError, nearest
from curate.models.stats import ranks
from curate.text.native import Floats

Estimator = Literal["sign_cdf", "spearman"]


@dataclass(frozen=True)
class Matrix:
    """Bits per byte: `values[d, m]` of model m on domain d, NaN where it is not known."""

    path: str
    domains: list[str]
    models: list[str]
    values: Floats

    def of(self, models: Sequence[str]) -> Floats:
        """The columns of some models, in their order.

        Raises:
            ConfigError: one of them has no column, or they are fewer than two.
        """
        place = {name: i for i, name in enumerate(self.models)}
        for name in models:
            if name not in place:
                raise ConfigError(f"{self.path}: no column for the model {name!r}; {nearest(name, place)}")
        if len(models) < 2:
            raise ConfigError(f"{self.path}: at least 2 models are needed, {len(models)} have scores; add others")
        return self.values[:, [place[name] for name in models]]


def read_matrix(path: str) -> Matrix:
    """A CSV file with a header: the first column names the domain, each other a model; an empty cell is not known.

    Raises:
        ConfigError: the file is not such a table; with the line.
    """
    table = read_csv_table(path)
    if not table.rows:
        raise ConfigError(f"{path}: holds no domain; the first column names domains, each other column a model")
    return Matrix(path, list(table.rows), table.columns, np.array(list(table.rows.values()), dtype=np.float64))


def read_scores(path: str) -> dict[str, float]:
    """A CSV file with a header: the first column names a model, each other a benchmark, where higher is better.

    A model's score is the mean over the benchmarks. A model with an empty cell has none, as means over different
    benchmarks do not compare.

    Raises:
        ConfigError: the file is not such a table; with the line.
    """
    means = {name: sum(values) / len(values) for name, values in read_csv_table(path).rows.items()}
    return {name: mean for name, mean in means.items() if not math.isnan(mean)}


def correlate(values: Floats, scores: Floats, estimator: Estimator) -> Floats:
    """The estimate of each domain; NaN for one that fewer than two models have a value for.

    A domain, or scores, that are the same for every model correlate with nothing: 0.0.

    Args:
        values: bits per byte, a row a domain and a column a model; NaN where not known.
        scores: of the models, higher is better.
        estimator: see above.
    """
    return np.array([_estimate(row, -scores, estimator) for row in values], dtype=np.float64)


def _estimate(bits: Floats, errors: Floats, estimator: Estimator) -> float:
    known = ~np.isnan(bits)
    n = int(known.sum())
    if n < 2:
        return math.nan
    x, y = ranks(bits[known]), ranks(errors[known])
    if estimator == "sign_cdf":
        # For each model: how many err less, minus how many err more.
        signs = 2 * y - n - 1
        return float(2 / (n * (n - 1)) * (signs @ x) / n)
    x, y = x - (n + 1) / 2, y - (n + 1) / 2
    spread = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / spread if spread else 0.0


def fill(gammas: Floats, domains: Sequence[str], tokens: npt.NDArray[np.int64], *, budget: float, cap: float) -> Floats:
    """How many tokens each domain gives: the highest gammas first, each up to its cap, until the budget is spent.

    It is the linear projection of Thrush et al., which maximises the sum of gamma over the tokens. Ties go to the
    lower name. A domain without an estimate gives none.

    Args:
        gammas: of the domains.
        domains: their names.
        tokens: how many each has.
        budget: how many to take in all.
        cap: a domain gives at most this many times its tokens.
    """
    taken = np.zeros(len(gammas), dtype=np.float64)
    for i in order(gammas, domains):
        taken[i] = min(cap * float(tokens[i]), budget)
        budget -= taken[i]
    return taken


def order(gammas: Floats, domains: Sequence[str]) -> Iterator[int]:
    """The domains that have an estimate, the highest first, ties by name."""
    known = [i for i, gamma in enumerate(gammas) if not math.isnan(gamma)]
    yield from sorted(known, key=lambda i: (-gammas[i], domains[i]))
