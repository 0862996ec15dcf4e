from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import ConfigError, ModelError
from curate.models.linear import Linear
from curate.models.stats import auroc
from curate.steps.route.model import (
    Logistic,
    Nearest,
    fit_knn,
    fit_logistic,
    hashed_features,
    inverse_frequencies,
    load_router,
    save_router,
    threshold_for,
)

Floats = npt.NDArray[np.float64]
TEXTS = ["How deep is a fathom ?", "Who was Galileo ?", "", "漢字 and é", "How deep is a fathom ?"]


def two_blobs(rows: int = 400, seed: int = 0) -> tuple[Floats, npt.NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    good = rng.random(rows) < 0.5
    return rng.normal(size=(rows, 5)) + 0.8 * good[:, None] * np.array([1, 1, 0, 0, 0]), good


def test_a_constant_feature_leaves_the_share_of_the_good() -> None:
    good = np.repeat([True, False], [30, 10])
    assert fit_logistic(np.ones((40, 1)), good).predict(np.ones((1, 1))) == pytest.approx([0.75], abs=1e-4)


def test_the_slope_is_that_of_the_exact_solution() -> None:
    # One binary feature without a penalty: the log odds of both groups are met.
    features = np.repeat([[0.0], [1.0]], [100, 100], axis=0)
    good = np.concatenate([np.arange(100) < 20, np.arange(100) < 70])
    router = fit_logistic(features, good, l2=1e-9)
    assert router.predict(np.array([[0.0], [1.0]])) == pytest.approx([0.2, 0.7], abs=1e-4)


def test_the_weight_of_a_row_is_that_of_so_many_copies() -> None:
    features, good = two_blobs(60)
    weights = np.arange(60) % 3
    weighted = fit_logistic(features, good, weights=weights.astype(float), standardise=False)
    copied = fit_logistic(np.repeat(features, weights, axis=0), np.repeat(good, weights), standardise=False)
    assert weighted.predict(features) == pytest.approx(copied.predict(features), abs=1e-4)


@pytest.mark.parametrize("kind", ["logistic", "knn"])
def test_a_router_orders_prompts_that_it_did_not_see(kind: str) -> None:
    features, good = two_blobs()
    router = fit_logistic(features, good) if kind == "logistic" else fit_knn(features, good, k=50)
    unseen, outcome = two_blobs(seed=1)
    chance = router.predict(unseen)
    assert auroc(chance, outcome) > 0.7
    assert chance.min() >= 0 and chance.max() <= 1
    one = router.predict(unseen[:1])
    assert one == pytest.approx(chance[:1], abs=1e-12)


def test_the_nearest_are_asked_and_the_first_of_equals() -> None:
    vectors = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    router = fit_knn(vectors, np.array([True, False, False, True]), k=1)
    assert router.predict(np.array([[5.0, 0.0], [0.0, 0.1]])).tolist() == [1.0, 0.0]
    assert fit_knn(vectors, np.array([True, False, False, True]), k=2).predict(vectors[:1]).tolist() == [0.5]


def test_a_saved_router_says_the_same_in_the_same_bytes(tmp_path: Path) -> None:
    features, good = two_blobs()
    for router in (fit_logistic(features, good), fit_knn(features, good, k=9)):
        one, two = str(tmp_path / "one.npz"), str(tmp_path / "two.npz")
        save_router(router, one)
        save_router(router, two)
        assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
        assert (load_router(one).predict(features) == router.predict(features)).all()


def test_a_file_that_is_no_router_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "router.npz"
    zeros = np.zeros(2)
    for write in (
        lambda: path.write_bytes(b"\x80\x04K\x01."),
        lambda: path.write_bytes(b""),
        lambda: np.savez(path, weight=np.array([{"a": 1}], dtype=object)),
        lambda: np.savez(path, weight=zeros),
        lambda: save_router(Logistic(Linear(zeros, zeros + 1, np.full((2, 2), np.nan), zeros)), str(path)),
        lambda: save_router(Logistic(Linear(zeros, zeros + 1, np.zeros((2, 3)), zeros)), str(path)),
        lambda: save_router(Nearest(np.zeros((2, 3)), zeros, 3), str(path)),
    ):
        write()
        with pytest.raises(ModelError, match="not a router"):
            load_router(str(path))


def test_hashed_features_have_length_one_and_ignore_case_and_company() -> None:
    found = hashed_features(TEXTS, width=512)
    assert np.sqrt((found**2).sum(1)) == pytest.approx([1, 1, 0, 1, 1])
    assert (found[0] == found[4]).all() and (found[0] != found[1]).any()
    for i, text in enumerate(TEXTS):
        assert (hashed_features([text.upper() if i < 2 else text], width=512)[0] == found[i]).all()


def test_texts_that_share_words_are_near() -> None:
    near = hashed_features(["the deep blue sea", "a deep blue sea", "who painted this"])
    assert near[0] @ near[1] > 0.5 > 0.2 > near[0] @ near[2]


@given(st.lists(st.text(max_size=20), max_size=5))
def test_any_text_has_features(texts: list[str]) -> None:
    found = hashed_features([text.encode("utf-8", "replace").decode() for text in texts], width=64)
    assert found.shape == (len(texts), 64) and np.isfinite(found).all()


def test_a_feature_of_few_texts_weighs_more() -> None:
    idf = inverse_frequencies(np.array([[1.0, 0.5, 0], [1.0, 0, 0], [1.0, 0, 0]]))
    assert idf == pytest.approx([1, 1 + np.log(2), 1 + np.log(4)])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50), st.floats(0, 1))
def test_at_most_the_wanted_share_goes_to_the_large_model(values: list[int], share: float) -> None:
    chance = np.array(values, dtype=float)
    threshold = threshold_for(chance, share=share)
    assert np.mean(chance < threshold) <= share + 1e-9
    higher = chance[chance >= threshold]
    if len(higher) and share < 1:  # the next higher threshold would send too many
        assert np.mean(chance <= higher.min()) > share


def test_all_or_none_can_go_to_the_large_model() -> None:
    chance = np.array([0.2, 0.4])
    assert (chance < threshold_for(chance, share=1.0)).all()
    assert not (chance < threshold_for(chance, share=0.0)).any()


def test_shapes_that_do_not_match_are_refused() -> None:
    features, good = two_blobs(20)
    with pytest.raises(ConfigError, match="one a row"):
        fit_logistic(features, good[:3])
    with pytest.raises(ConfigError, match="l2 above 0"):
        fit_logistic(features, good, l2=0)
    with pytest.raises(ConfigError, match="k must be 1"):
        fit_knn(features, good, k=21)
    with pytest.raises(ConfigError, match="must be finite"):
        fit_knn(features * np.nan, good, k=3)
    with pytest.raises(ConfigError, match="make them the same way"):
        fit_logistic(features, good).predict(features[:, :2])
    with pytest.raises(ConfigError, match="share 2"):
        threshold_for(np.ones(2), share=2)
    with pytest.raises(ConfigError, match="width 0"):
        hashed_features(TEXTS, width=0)


def test_real_prompts_that_the_small_model_fails_are_found(shared: Path) -> None:
    with zstandard.open(shared / "data/router_mmlu.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        rows = [orjson.loads(line) for line in stream][::4]
    features = hashed_features([row["prompt"] for row in rows], width=1024)
    good = np.array([row["mixtral_correct"] for row in rows])
    learnt = np.arange(len(rows)) % 2 == 0
    router = fit_logistic(features[learnt], good[learnt], standardise=False)
    assert auroc(router.predict(features[~learnt]), good[~learnt]) > 0.6
