"""The selector `facility_location` against plain greedy, and against the best there is."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.dataset import Dataset
from curate.steps.select.facility_location import nearest_neighbours
from curate.steps.select.pool import Floats
from tests.helpers import rows
from tests.steps.select.picks import selected, taken
from tests.steps.select.pools import beside
from tests.steps.select.spaces import ALONE, Array, random_vectors, space, unit


def picks(folder: Path, vectors: Array, budget: object, **config: object) -> Dataset:
    docs, known = space(folder, vectors)
    arguments = {"features": "v", **config}
    return selected(folder, [docs], {"v": known}, resources=ALONE, budget=budget, facility_location=arguments)


def graph(vectors: Array, neighbours: int) -> Floats:
    """What row i has of column j, from all cosines."""
    cosines = unit(vectors) @ unit(vectors).T
    np.fill_diagonal(cosines, 1.0)
    for row in cosines:
        others = np.argsort(-row, kind="stable")
        row[others[neighbours + 1 :]] = 0
    return np.maximum(cosines, 0)


@given(seed=st.integers(0, 1000), rows=st.integers(1, 40), neighbours=st.integers(1, 12))
@settings(max_examples=20)
def test_neighbours_are_the_nearest_others_whatever_the_blocks(seed: int, rows: int, neighbours: int) -> None:
    vectors = unit(random_vectors(seed, rows, 4)).astype(np.float32)
    found, cosines = nearest_neighbours(vectors, neighbours)
    all_cosines = unit(vectors) @ unit(vectors).T
    np.fill_diagonal(all_cosines, -np.inf)
    expected = -np.sort(-all_cosines, axis=1)[:, :neighbours]
    np.testing.assert_allclose(-np.sort(-cosines, axis=1)[:, : rows - 1], expected[:, : rows - 1], atol=1e-6)
    there = np.isfinite(cosines)
    assert (found[there] != np.nonzero(there)[0]).all()
    again, _ = nearest_neighbours(vectors, neighbours, block=7)
    assert (np.sort(again) == np.sort(found)).all()


@given(seed=st.integers(0, 1000), count=st.integers(1, 5))
@settings(max_examples=10)
def test_without_a_sample_it_is_the_plain_greedy_and_near_the_best_there_is(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
) -> None:
    vectors = random_vectors(seed, 13, 3)
    data = picks(tmp_path_factory.mktemp("greedy"), vectors, count, epsilon=0.0, neighbours=4)
    has = graph(vectors, 4)
    covered, order, gains = np.zeros(13), [], []
    for _ in range(count):
        raised = np.maximum(has - covered[:, None], 0).sum(axis=0)
        raised[order] = -1
        order.append(int(raised.round(6).argmax()))
        gains.append(raised.max())
        covered = np.maximum(covered, has[:, order[-1]])
    assert taken(data) == [f"{row:05d}" for row in order]
    scores = {row["id"]: row["score"] for row in rows(data)}
    np.testing.assert_allclose([scores[each] for each in taken(data)], gains, atol=1e-5)
    assert data.manifest.details["covered"] == pytest.approx(covered.sum(), abs=1e-4)
    best = max(has[:, list(some)].max(axis=1).sum() for some in itertools.combinations(range(13), count))
    assert covered.sum() >= (1 - 1 / np.e) * best


def test_samples_lose_little_and_follow_from_the_seed_and_the_ids(tmp_path: Path) -> None:
    vectors = random_vectors(1, 400, 6)
    whole = picks(tmp_path / "whole", vectors, 40, epsilon=0.0)
    some = picks(tmp_path / "some", vectors, 40, epsilon=0.1)
    assert float(some.manifest.details["covered"]) > 0.95 * float(whole.manifest.details["covered"])  # type: ignore[arg-type]
    assert taken(picks(tmp_path / "again", vectors, 40, epsilon=0.1)) == taken(some)
    assert taken(picks(tmp_path / "other", vectors, 40, epsilon=0.1, seed=1)) != taken(some)


@given(seed=st.integers(0, 1000), most=st.integers(1, 5), limit=st.integers(3, 50))
@settings(max_examples=8)
def test_quotas_and_sums_are_filled_exactly(
    tmp_path_factory: pytest.TempPathFactory, seed: int, most: int, limit: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("quota")
    docs, known = space(tmp_path, random_vectors(seed, 30, 3, different=11), kind=[f"k{i % 3}" for i in range(30)])
    costs = beside(tmp_path / "costs", docs, {"tokens": [3.0 + i % 7 for i in range(30)]})

    def found(name: str, **config: object) -> list[str]:
        arguments = {"features": "v", "epsilon": 0.2}
        return taken(
            selected(
                tmp_path / name, [docs, costs], {"v": known}, resources=ALONE, facility_location=arguments, **config
            )
        )

    by_kind = found("kind", budget=3 * most, quota={"column": "kind", "others": most})
    assert np.bincount([int(each) % 3 for each in by_kind]).tolist() == [most] * 3
    by_sum = found("sum", budget={"sum": "tokens", "limit": float(limit)})
    spent = sum(3 + int(each) % 7 for each in by_sum)
    assert spent <= limit and all(spent + 3 + i % 7 > limit for i in range(30) if f"{i:05d}" not in by_sum)
