"""The selectors `rds` and `similarity`: nearness to targets, by turns or by the best, against plain code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.steps.select import rds
from tests.helpers import rows
from tests.steps.select.picks import selected, taken
from tests.steps.select.pools import beside, dolly, flan, pool
from tests.steps.select.spaces import ALONE, Array, computed, features, minilm, random_vectors, space, talks, unit


def inputs(folder: Path, vectors: Array, examples: Array, tasks: Sequence[str] | None = None) -> dict[str, Dataset]:
    columns = {} if tasks is None else {"task": tasks}
    docs, known = space(folder, vectors)
    target, wanted = space(folder, examples, step="target", **columns)
    return {"pool": docs, "pool_v": known, "target": target, "target_v": wanted}


def near(folder: Path, data: dict[str, Dataset], selector: str, budget: object, **config: object) -> Dataset:
    arguments = {"features": "pool_v", "targets": "target", "target_features": "target_v", **config}
    return selected(folder, [data["pool"]], data, resources=ALONE, budget=budget, **{selector: arguments})


def in_turns(scores: Array, count: int) -> tuple[list[int], list[int]]:
    """Columns that take their best row in turn, equal ones by number: rows, and whose they are."""
    found: list[int] = []
    owners: list[int] = []
    while len(found) < count:
        for column in range(scores.shape[1]):
            if len(found) == count:
                break
            left = [row for row in range(len(scores)) if row not in found]
            found.append(min(left, key=lambda row: (-scores[row, column], row)))
            owners.append(column)
    return found, owners


@given(
    seed=st.integers(0, 1000),
    examples=st.integers(1, 6),
    count=st.integers(1, 40),
    different=st.sampled_from([None, 7]),
)
@settings(max_examples=12)
def test_the_examples_of_one_task_take_turns(
    tmp_path_factory: pytest.TempPathFactory, seed: int, examples: int, count: int, different: int | None
) -> None:
    tmp_path = tmp_path_factory.mktemp("turns")
    vectors, wanted = random_vectors(seed, 40, 5, different=different), random_vectors(seed + 1, examples, 5)
    cosines = np.round(unit(vectors) @ unit(wanted).T, 5)
    data = near(tmp_path, inputs(tmp_path, vectors, wanted), "rds", count)
    expected, owners = in_turns(cosines, count)
    assert taken(data) == [f"{row:05d}" for row in expected]
    picks = sorted((row for row in rows(data) if row["keep"]), key=lambda row: row["rank"])
    assert [row["nearest"] for row in picks] == [f"{owner:05d}" for owner in owners]
    assert {row["target"] for row in picks} == {"target"}
    np.testing.assert_allclose([row["score"] for row in picks], cosines[expected, owners], atol=2e-5)
    rest = [row for row in rows(data) if not row["keep"]]
    np.testing.assert_allclose(
        [row["score"] for row in rest], [cosines[int(row["id"])].max() for row in rest], atol=2e-5
    )


def test_short_lists_that_are_filled_again_give_the_same_picks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    vectors, wanted = random_vectors(1, 300, 4), random_vectors(2, 5, 4)
    wanted[3] = wanted[1] = wanted[0]  # which want the same rows
    data = inputs(tmp_path, vectors, wanted)
    whole = rows(near(tmp_path / "long", data, "rds", 250))
    for beyond, most in ((1, 1 << 28), (1, 8 * 5 * 7)):
        monkeypatch.setattr(rds, "_BEYOND", beyond - 50)
        monkeypatch.setattr(rds, "_BYTES", most)
        assert rows(near(tmp_path / f"short{most}", data, "rds", 250)) == whole


@given(seed=st.integers(0, 1000), count=st.integers(1, 30))
@settings(max_examples=8)
def test_several_tasks_take_turns_by_their_nearest_example(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("tasks")
    tasks = ["b", "a", "b", "c", "b"]
    vectors, wanted = random_vectors(seed, 30, 4), random_vectors(seed + 1, 5, 4)
    data = near(tmp_path, inputs(tmp_path, vectors, wanted, tasks), "rds", count, by="task")
    cosines = unit(vectors) @ unit(wanted).T
    members = [[1], [0, 2, 4], [3]]
    expected, owners = in_turns(np.stack([cosines[:, some].max(axis=1) for some in members], axis=1), count)
    assert taken(data) == [f"{row:05d}" for row in expected]
    picks = sorted((row for row in rows(data) if row["keep"]), key=lambda row: row["rank"])
    assert [row["target"] for row in picks] == ["abc"[owner] for owner in owners]
    nearest = [
        members[owner][int(cosines[row, members[owner]].argmax())] for row, owner in zip(expected, owners, strict=True)
    ]
    assert [row["nearest"] for row in picks] == [f"{each:05d}" for each in nearest]


@pytest.mark.parametrize("over_examples", ["mean", "max"])
@pytest.mark.parametrize("over_tasks", ["mean", "max"])
def test_similarity_takes_the_rows_with_the_best_cosines(over_examples: str, over_tasks: str, tmp_path: Path) -> None:
    vectors, wanted, tasks = random_vectors(3, 60, 6), random_vectors(4, 6, 6), ["x", "y", "y", "x", "y", "y"]
    data = inputs(tmp_path, vectors, wanted, tasks)
    found = near(tmp_path, data, "similarity", 15, by="task", over_examples=over_examples, over_tasks=over_tasks)
    cosines = unit(vectors) @ unit(wanted).T
    by_task = np.stack([getattr(cosines[:, some], over_examples)(axis=1) for some in ([0, 3], [1, 2, 4, 5])])
    scores = getattr(by_task, over_tasks)(axis=0)
    assert taken(found) == [f"{row:05d}" for row in np.argsort(-scores)[:15]]
    np.testing.assert_allclose([row["score"] for row in rows(found)], scores, atol=1e-6)
    assert [row["target"] for row in rows(found)] == ["xy"[task] for task in by_task.argmax(axis=0)]


def test_checkpoints_count_by_their_weight(tmp_path: Path) -> None:
    one, two = np.array([[1, 0], [0, 1]], np.float32), np.array([[0, 1], [1, 0]], np.float32)
    docs = pool(tmp_path / "docs", talks(2))
    vectors = np.stack([one, two], axis=1)
    wanted = np.array([[[1, 0], [1, 0]]], np.float32)
    target = pool(tmp_path / "target", talks(1), step="target")
    data = {
        "pool": docs,
        "pool_v": features(tmp_path / "v", docs, vectors, step="pool_v", weights=(0.8, 0.2)),
        "target": target,
        "target_v": features(tmp_path / "w", target, wanted, step="target_v", weights=(0.8, 0.2)),
    }
    assert [row["score"] for row in rows(near(tmp_path, data, "rds", 1))] == pytest.approx([0.8, 0.2])


def test_rows_without_a_feature_and_examples_without_one_take_no_part(tmp_path: Path) -> None:
    vectors, wanted = random_vectors(5, 12, 3), random_vectors(6, 4, 3)
    vectors[::3] = 0
    wanted[1:] = 0
    found = rows(near(tmp_path, inputs(tmp_path, vectors, wanted), "rds", 1.0))
    assert [row["keep"] for row in found] == [i % 3 != 0 for i in range(12)]
    assert {row["nearest"] for row in found if row["keep"]} == {"00000"}
    assert all(row["score"] is None and row["reason"] == "no-supervised-token" for row in found[::3])
    wanted[:] = 0
    with pytest.raises(ConfigError, match="no example of the task target has a feature"):
        near(tmp_path / "none", inputs(tmp_path / "none", vectors, wanted), "rds", 3)


@given(seed=st.integers(0, 1000), most=st.integers(1, 5), limit=st.integers(3, 50))
@settings(max_examples=8)
def test_quotas_and_sums_are_filled_exactly(
    tmp_path_factory: pytest.TempPathFactory, seed: int, most: int, limit: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("quota")
    data = inputs(tmp_path, random_vectors(seed, 30, 3, different=11), random_vectors(seed + 1, 4, 3))
    kinds = beside(
        tmp_path / "kinds",
        data["pool"],
        {"kind": [f"k{i % 3}" for i in range(30)], "tokens": [3.0 + i % 7 for i in range(30)]},
    )
    arguments = {"features": "pool_v", "targets": "target", "target_features": "target_v"}
    quota = {"column": "kind", "others": most}
    for selector in ("rds", "similarity"):
        found = selected(
            tmp_path / selector,
            [data["pool"], kinds],
            data,
            resources=ALONE,
            budget=3 * most,
            quota=quota,
            **{selector: arguments},
        )
        assert np.bincount([int(each) % 3 for each in taken(found)]).tolist() == [most] * 3
        by_sum = taken(
            selected(
                tmp_path / f"{selector}-sum",
                [data["pool"], kinds],
                data,
                resources=ALONE,
                budget={"sum": "tokens", "limit": float(limit)},
                **{selector: arguments},
            )
        )
        spent = sum(3 + int(each) % 7 for each in by_sum)
        assert spent <= limit and all(spent + 3 + i % 7 > limit for i in range(30) if f"{i:05d}" not in by_sum)


@pytest.mark.slow
def test_a_target_of_gsm8k_finds_gsm8k_in_a_mixed_pool(shared: Path, tmp_path: Path) -> None:
    grade_school = flan(shared, "gsm8k", 38)
    others = [talk for task in ("ecqa", "creak", "sensemaking", "qasc") for talk in flan(shared, task, 20)]
    docs = pool(tmp_path / "docs", [*dolly(shared, 40), *grade_school[:30], *others])
    target = pool(tmp_path / "target", grade_school[30:], step="target")
    llama = str(shared / "models" / "tiny-llama")
    for feature in ({"embedding": {"model": minilm(), "context": 64}}, {"rds": {"model": llama, "context": 256}}):
        data = {"pool": docs, "target": target}
        data["pool_v"] = computed(tmp_path / "v", docs, **feature)
        data["target_v"] = computed(tmp_path / "v", target, **feature)
        for selector in ("rds", "similarity"):
            found = taken(near(tmp_path / f"{selector}-{next(iter(feature))}", data, selector, 24))
            share = np.mean([40 <= int(each) < 70 for each in found])
            assert share >= 0.9, (selector, feature, share)
