"""A small run of `tests.steps.synthesize.chaos`; the whole one is 2,000 rows and 20 kills."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.steps.synthesize.chaos import chaos, check


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_loses_no_row_and_pays_for_no_answer_twice(tmp_path: Path) -> None:
    found = chaos(tmp_path, rows=120, kills=3, seed=1)
    assert found.kills == 3
    check(found, rows=120, usd=5.0, workers=2)
