"""The selector `self_influence`: the squared lengths of plain gradients, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.core.config import parse
from curate.core.errors import ConfigError
from curate.pipeline import Pipeline
from tests.helpers import rows
from tests.steps.select.picks import selected, taken
from tests.steps.select.pools import features, pool
from tests.steps.select.test_less import TALK, WEIGHTS


@pytest.mark.parametrize("order", ["lowest", "highest"])
def test_rows_are_taken_by_the_squared_lengths_of_their_gradients(tmp_path: Path, order: str) -> None:
    gradients = np.random.default_rng(1).standard_normal((20, len(WEIGHTS), 8)).astype(np.float32)
    gradients[4] = 0
    docs = pool(tmp_path / "pool", [TALK] * 20)
    given = features(tmp_path / "gradients", docs, gradients, weights=WEIGHTS, step="gradients")
    data = selected(
        tmp_path, [docs], {"gradients": given}, budget=6, self_influence={"features": "gradients", "order": order}
    )
    wanted = (np.square(gradients.astype(np.float64)).sum(axis=2) * WEIGHTS).sum(axis=1)
    there = [i for i in range(20) if i != 4]
    ordered = sorted(there, key=lambda i: wanted[i], reverse=order == "highest")
    assert taken(data) == [f"{i:05d}" for i in ordered[:6]]
    found = rows(data)
    np.testing.assert_allclose([found[i]["score"] for i in there], wanted[there], rtol=1e-5)
    assert found[4]["score"] is None and found[4]["reason"] == "no-supervised-token"


@pytest.mark.parametrize("feature", ["gradient: {model: m, warmup: w}", "embedding: {model: m}"])
def test_features_that_keep_no_plain_gradient_are_refused(feature: str) -> None:
    text = f"""
    name: suspects
    steps:
      pool: {{read: {{path: pool.jsonl, conversations: messages}}}}
      vectors: {{features: {{from: pool, {feature}}}}}
      picks: {{select: {{from: pool, budget: 0.5, self_influence: {{features: vectors}}}}}}
    """
    with pytest.raises(ConfigError, match="vectors has no plain gradients"):
        Pipeline.of(parse(text, "test.yaml"))
