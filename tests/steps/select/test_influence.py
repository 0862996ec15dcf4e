"""What a selection by gradients promises is so: small settings, run by the steps of a pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.steps.select import influence

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model that every setting begins with."""
    return influence.train_base(shared, tmp_path_factory.mktemp("base"))


def test_a_step_on_a_row_changes_the_loss_of_others_as_its_feature_predicts(
    shared: Path, base: str, tmp_path: Path
) -> None:
    steps = influence.take_steps(shared, base, tmp_path, rows=25)
    assert len(steps.changes) == 25
    assert steps.pearson >= 0.99
    # Not only in proportion, but by as much.
    assert np.polyfit(steps.predicted, steps.changes, 1)[0] == pytest.approx(1, abs=0.05)


def test_rows_with_a_wrong_answer_influence_themselves_most(shared: Path, base: str, tmp_path: Path) -> None:
    assert influence.find_mislabelled(shared, base, tmp_path, rows=200) >= 0.9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_planted_in_a_pool_are_found_and_teach_more_than_random_ones(
    shared: Path, base: str, tmp_path: Path, seed: int
) -> None:
    found = influence.find_planted(shared, base, tmp_path, seed=seed)
    assert found.precision >= 0.8
    assert found.loss < found.random


def test_added_scores_order_halves_of_a_pool_by_the_loss_after_training(
    shared: Path, base: str, tmp_path: Path
) -> None:
    found = influence.retrain_on_halves(
        shared, base, tmp_path, subsets=24, rows=16, held=8, tasks=("creak", "ecqa", "sensemaking")
    )
    assert found.score > 0.1
    assert found.p < 0.01
