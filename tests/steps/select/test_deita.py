"""The selector `deita`: the best rows that are unlike those taken, and what happens when there are too few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.steps.select import deita
from tests.helpers import rows
from tests.steps.select.picks import selected, taken
from tests.steps.select.pools import beside, dolly, pool
from tests.steps.select.spaces import ALONE, Array, computed, minilm, random_vectors, space, unit


def picks(folder: Path, vectors: Array, budget: object, scores: Array, **config: object) -> Dataset:
    docs, known = space(folder, vectors)
    beside_it = beside(folder / "scores", docs, {"s": [*map(float, scores)]})
    arguments = {"features": "v", "score": "s", **config}
    return selected(folder, [docs, beside_it], {"v": known}, resources=ALONE, budget=budget, deita=arguments)


def plain(vectors: Array, worth: Array, count: int, threshold: float) -> tuple[list[int], int]:
    """One row after the other, and how many were unlike."""
    cosines = unit(vectors) @ unit(vectors).T
    found: list[int] = []
    passed: list[int] = []
    for row in sorted(range(len(worth)), key=lambda row: (-worth[row], row)):
        if len(found) < count and all(cosines[row, other] <= threshold for other in found):
            found.append(row)
        else:
            passed.append(row)
    return [*found, *passed[: count - len(found)]], len(found)


@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 60),
    threshold=st.sampled_from([0.3, 0.9, 0.999]),
    different=st.sampled_from([None, 20]),
)
@settings(max_examples=12)
def test_rows_are_those_of_one_comparison_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, threshold: float, different: int | None
) -> None:
    vectors = random_vectors(seed, 60, 4, different=different)
    scores = np.random.default_rng(seed).integers(1, 5, 60).astype(np.float32)
    expected, unlike = plain(vectors, scores, count, threshold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deita, "_ROWS", 16)
        patch.setattr(deita, "_TAKEN", 4)
        data = picks(tmp_path_factory.mktemp("deita"), vectors, count, scores, threshold=threshold)
    assert taken(data) == [f"{row:05d}" for row in expected]
    assert data.manifest.details["unlike"] == unlike
    assert data.manifest.details["filled_up"] == count - unlike
    assert [row["score"] for row in rows(data)] == scores.tolist()


def test_a_threshold_of_one_passes_over_nothing(tmp_path: Path) -> None:
    vectors = random_vectors(1, 30, 5, different=3)
    found = picks(tmp_path, vectors, 12, np.ones(30, np.float32), threshold=1.0)
    assert taken(found) == [f"{i:05d}" for i in range(12)]
    assert found.manifest.details["filled_up"] == 0


def test_a_row_without_a_score_or_a_feature_is_never_taken(tmp_path: Path) -> None:
    vectors, scores = random_vectors(2, 20, 5), np.ones(20, np.float32)
    vectors[3] = 0
    scores[4:7] = np.nan, np.inf, -np.inf
    found = rows(picks(tmp_path, vectors, 1.0, scores))
    assert [row["reason"] for row in found[3:7]] == ["no-supervised-token", "no s", "no s", "no s"]
    assert [row["keep"] for row in found] == [not 3 <= i < 7 for i in range(20)]


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no column 'deitta'.*did you mean 'deita'"):
        docs, known = space(tmp_path, random_vectors(1, 5, 3))
        scores = beside(tmp_path / "scores", docs, {"deita": [1.0] * 5})
        arguments = {"features": "v", "score": "deitta"}
        selected(tmp_path, [docs, scores], {"v": known}, resources=ALONE, budget=2, deita=arguments)


@pytest.mark.slow
def test_of_rows_that_are_there_twice_one_is_taken(shared: Path, tmp_path: Path) -> None:
    talks = dolly(shared, 40)
    docs = pool(tmp_path / "docs", [*talks, *talks])
    known = computed(tmp_path / "v", docs, embedding={"model": minilm(), "context": 64})
    scores = beside(tmp_path / "scores", docs, {"s": [float(i % 40) for i in range(80)]})
    arguments = {"features": "v", "score": "s"}
    found = selected(tmp_path, [docs, scores], {"v": known}, resources=ALONE, budget=30, deita=arguments)
    assert found.manifest.details["filled_up"] == 0
    assert len({int(each) % 40 for each in taken(found)}) == 30 and max(map(int, taken(found))) < 40
