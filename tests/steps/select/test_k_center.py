"""The selector `k_center`: farthest-first traversal, against plain code and the best there is."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.steps.select import k_center
from curate.steps.select.farthest import Farthest
from tests.helpers import rows
from tests.steps.select.picks import selected, taken
from tests.steps.select.pools import beside
from tests.steps.select.spaces import ALONE, Array, random_vectors, space, unit


def picks(tmp_path: Path, vectors: Array, budget: int, **config: object) -> Dataset:
    docs, known = space(tmp_path, vectors)
    arguments = {"features": "vectors", "first": "00000", **config}
    return selected(tmp_path, [docs], {"vectors": known}, resources=ALONE, budget=budget, k_center=arguments)


def plain(vectors: Array, count: int) -> list[int]:
    """Farthest-first from row 0, by a distance of every pair."""
    found = [0]
    near = np.square(vectors - vectors[0]).sum(axis=1)
    while len(found) < count:
        ready = np.setdiff1d(np.arange(len(vectors)), found)
        found.append(int(ready[np.argmax(near[ready])]))
        near = np.minimum(near, np.square(vectors - vectors[found[-1]]).sum(axis=1))
    return found


def traversed(found: Farthest, vectors: Array, count: int) -> list[int]:
    """What comes next, from row 0 on."""
    order = [0]
    while len(order) < count:
        found.leave(np.array([order[-1]]))
        found.add(vectors[order[-1]])
        place, _ = found.next() or (-1, 0)
        order.append(place)
    return order


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(2, 60),
    width=st.integers(2, 9),
    different=st.sampled_from([None, 5, 30]),
)
@settings(max_examples=60)
def test_the_traversal_is_that_of_plain_code_and_equal_rows_come_in_order(
    seed: int, count: int, width: int, different: int | None
) -> None:
    vectors = random_vectors(seed, 60, width, different=different)
    assert traversed(Farthest(vectors), vectors, count) == plain(vectors, count)


def test_few_working_rows_give_the_same_centres(tmp_path: Path) -> None:
    vectors = random_vectors(1, 700, 8)
    directions = unit(vectors).astype(np.float32)
    few = traversed(Farthest(directions, least=5), directions, 300)
    assert few == plain(directions, 300)
    assert taken(picks(tmp_path, vectors, 300)) == [f"{i:05d}" for i in few]


@given(seed=st.integers(0, 1000), count=st.integers(1, 4))
@settings(max_examples=8)
def test_the_radius_is_at_most_twice_the_best_there_is(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
) -> None:
    vectors = random_vectors(seed, 11, 3)
    data = picks(tmp_path_factory.mktemp("radius"), vectors, count, metric="l2")
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    best = min(distances[:, list(some)].min(axis=1).max() for some in itertools.combinations(range(11), count))
    mine = distances[:, [int(each) for each in taken(data)]].min(axis=1).max()
    assert data.manifest.details["radius"] == pytest.approx(mine, rel=1e-4, abs=1e-6)
    assert mine <= 2 * best + 1e-9


def test_cosine_looks_at_directions_and_l2_at_lengths_too(tmp_path: Path) -> None:
    vectors = np.array([[1, 0], [5, 0], [0, 1], [0.9, 0.1]], np.float32)
    assert taken(picks(tmp_path / "cosine", vectors, 2, metric="cosine")) == ["00000", "00002"]
    assert taken(picks(tmp_path / "l2", vectors, 2, metric="l2")) == ["00000", "00001"]
    found = {row["id"]: row["score"] for row in rows(picks(tmp_path / "cosine", vectors, 2, metric="cosine"))}
    assert found["00002"] == pytest.approx(1.0) and found["00000"] == found["00002"]


def test_the_first_is_given_drawn_by_the_seed_or_the_medoid(tmp_path: Path) -> None:
    vectors = random_vectors(3, 40, 4)
    docs, known = space(tmp_path, vectors)

    def first(**config: object) -> str:
        found = selected(
            tmp_path, [docs], {"v": known}, resources=ALONE, budget=3, k_center={"features": "v", **config}
        )
        return taken(found)[0]

    assert first(first="00017") == "00017"
    cosines = unit(vectors) @ unit(vectors).T
    assert first(first="medoid") == f"{int(cosines.sum(axis=0).argmax()):05d}"
    assert len({first(seed=seed) for seed in range(8)}) > 3
    with pytest.raises(ConfigError, match="'nobody' may not be taken"):
        first(first="nobody")


def test_earlier_picks_are_centres_from_the_start_and_not_taken_again(tmp_path: Path) -> None:
    vectors = random_vectors(4, 50, 5)
    docs, known = space(tmp_path, vectors)
    both = {"v": known}
    whole = selected(tmp_path, [docs], both, resources=ALONE, budget=20, k_center={"features": "v", "first": "00003"})
    one = selected(tmp_path, [docs], both, resources=ALONE, budget=12, k_center={"features": "v", "first": "00003"})
    again = {"features": "v", "already": "one"}
    two = selected(tmp_path, [docs], {**both, "one": one}, resources=ALONE, budget=8, k_center=again)
    assert taken(one) + taken(two) == taken(whole)
    assert sum(row["reason"] == "taken by one" for row in rows(two)) == 12


def test_rows_without_a_feature_are_left_out_with_its_reason(tmp_path: Path) -> None:
    vectors = random_vectors(5, 20, 3)
    vectors[::4] = 0
    docs, known = space(tmp_path, vectors)
    found = rows(selected(tmp_path, [docs], {"v": known}, resources=ALONE, budget=1.0, k_center={"features": "v"}))
    assert [row["id"] for row in found if row["reason"] == "no-supervised-token"] == [
        f"{i:05d}" for i in range(0, 20, 4)
    ]
    assert all(np.isfinite(row["score"]) for row in found if row["keep"])
    assert sum(row["keep"] for row in found) == 15


@given(seed=st.integers(0, 1000), most=st.integers(1, 6), limit=st.integers(3, 60))
@settings(max_examples=8)
def test_quotas_and_sums_are_filled_exactly(
    tmp_path_factory: pytest.TempPathFactory, seed: int, most: int, limit: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("quota")
    docs, known = space(tmp_path, random_vectors(seed, 30, 3, different=12), kind=[f"k{i % 3}" for i in range(30)])
    costs = beside(tmp_path / "costs", docs, {"tokens": [float(3 + i % 7) for i in range(30)]})
    arguments = {"features": "v", "seed": seed}
    quota = {"column": "kind", "others": most}
    found = selected(tmp_path, [docs], {"v": known}, resources=ALONE, budget=3 * most, quota=quota, k_center=arguments)
    assert np.bincount([int(each) % 3 for each in taken(found)]).tolist() == [most] * 3
    by_sum = selected(
        tmp_path,
        [docs, costs],
        {"v": known},
        resources=ALONE,
        budget={"sum": "tokens", "limit": float(limit)},
        k_center=arguments,
    )
    spent = sum(3 + int(each) % 7 for each in taken(by_sum))
    left = [3 + i % 7 for i in range(30) if f"{i:05d}" not in taken(by_sum)]
    assert spent <= limit and all(spent + cost > limit for cost in left)


def test_a_run_that_was_killed_goes_on_from_its_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(k_center, "_PICKS", 10)
    vectors = random_vectors(6, 200, 4, different=90)
    whole = rows(picks(tmp_path / "whole", vectors, 120))
    adds: list[int] = []
    plain_add = Farthest.add

    def add(self: Farthest, centre: Array) -> None:
        adds.append(1)
        if len(adds) == 57:
            raise KeyboardInterrupt
        plain_add(self, centre)

    monkeypatch.setattr(Farthest, "add", add)
    with pytest.raises(KeyboardInterrupt):
        picks(tmp_path / "killed", vectors, 120)
    kept = next((tmp_path / "killed").rglob("centres.npy"))
    assert len(np.load(kept)) == 50
    assert rows(picks(tmp_path / "killed", vectors, 120)) == whole
