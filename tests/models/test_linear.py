from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from threadpoolctl import threadpool_limits

from curate.models.linear import fit_linear

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def three_blobs(rows: int, width: int) -> tuple[Floats, Ints]:
    labels = np.arange(rows) % 3
    return np.random.default_rng(0).normal(size=(rows, width)) + 3 * np.eye(3, width)[labels], labels


def test_several_classes_are_distinguished_and_their_chances_add_up() -> None:
    features, labels = three_blobs(300, 4)
    chance = fit_linear(features, labels, classes=3).probabilities(features)
    assert np.mean(chance.argmax(1) == labels) > 0.9
    assert chance.sum(1) == pytest.approx(np.ones(300))


@pytest.mark.parametrize("l2", [0.03, 1.0, 300.0])
def test_the_solution_is_where_the_loss_is_flat(l2: float) -> None:
    features, labels = three_blobs(300, 40)
    weights = 1.0 + np.arange(300) % 4
    found = fit_linear(features, labels, classes=3, l2=l2, weights=weights)
    off = weights[:, None] * (found.probabilities(features) - np.eye(3)[labels])
    slope = ((features - found.mean) / found.scale).T @ off + l2 * found.weight
    assert np.sqrt((slope**2).sum() + (off.sum(0) ** 2).sum()) < 1e-5 * weights.sum()


def test_the_bits_are_those_of_one_thread_however_many_there_are() -> None:
    features, labels = three_blobs(200, 4000)  # from 10,000 numbers on, OpenBLAS shares a dot product among threads
    every = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            found = fit_linear(features, labels, classes=3)
        every.append(found.weight.tobytes() + found.bias.tobytes())
    assert every[0] == every[1]
