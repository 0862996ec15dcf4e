"""Perplexity correlations against what the authors' package (perplexity-correlations 0.1.2, MIT) computes.

From the real matrix without its second copy of Amber: the error of a model is its mean bits per byte on every other
domain, and `sign_cdf` and `spearmanr` estimate the rest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.steps.train.correlations import correlate, fill, read_matrix

# gamma and rho of the three highest and the three lowest domains.
PUBLISHED = {
    "Circus by Nourse, Alan Edward": (0.3369179740849985, 0.9995233231188287),
    "Monopoly by Roberts, Scott; Phillips, Vic": (0.33690649711354187, 0.9994892747701737),
    "Grifters' Asteroid by Gold, H. L. (Horace Leonard)": (0.33690075862781305, 0.9994722505958461),
    "Dark Side Lite by David Edelstein": (0.3349439349944336, 0.9936670071501532),
    "Let Si Get This by David Plotz": (0.3347947343654955, 0.993224378617637),
    "Warrior Queens by David Edelstein": (0.33256820190288183, 0.9866189989785495),
}


def test_the_estimates_equal_those_of_the_authors_package_on_the_real_matrix(shared: Path) -> None:
    matrix = read_matrix(str(shared / "data/perplexity_corr_bpb.dev.csv"))
    assert matrix.values.shape == (263, 90) and not np.isnan(matrix.values).any()
    models = [name for name in matrix.models if "'amber'" not in name]
    values = matrix.of(models)
    scores, names = -values[::2].mean(axis=0), matrix.domains[1::2]
    gammas, rhos = (correlate(values[1::2], scores, each) for each in ("sign_cdf", "spearman"))
    assert gammas.tolist() == pytest.approx((rhos * (89 + 1) / (3 * 89)).tolist(), abs=1e-12)
    for name, (gamma, rho) in PUBLISHED.items():
        assert gammas[names.index(name)] == pytest.approx(gamma, abs=1e-12)
        assert rhos[names.index(name)] == pytest.approx(rho, abs=1e-12)
    assert [names[i] for i in np.argsort(-gammas)[[0, 1, 2, -3, -2, -1]]] == list(PUBLISHED)


def test_the_projection_is_that_of_the_authors_example() -> None:
    gammas, tokens = np.array([-0.3, 4, 1, 0.9, 0]), np.array([2, 5, 9, 4, 10])
    assert fill(gammas, list("abcde"), tokens, budget=10, cap=1.0).tolist() == [0, 5, 5, 0, 0]
