"""The `calibrate` step: a threshold from a labelled sample, and what becomes of every row."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from curate.core.config import BadValue, validate
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError, RunError
from curate.steps.verify.calibrate_step import CalibrateConfig, run
from tests.helpers import dataset, rows, run_step
from tests.pipelines import run_yaml

ROWS = 3000
RNG = np.random.default_rng(7)
SCORES = RNG.random(ROWS)
TRULY = RNG.random(ROWS) < SCORES**0.5  # the higher the score, the likelier it is good
SAMPLED = RNG.random(ROWS) < 0.2


def config(**change: object) -> CalibrateConfig:
    value = {"from": ["checks", "rated"], "score": "overlap", "good": {"column": "score", "at_least": 4}, **change}
    return validate(CalibrateConfig, value, ("steps", "safe", "calibrate"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """Scores in three shards, and a rating of each fifth row, 5 or 2."""
    folder = tmp_path_factory.mktemp("inputs")
    rated = [(5 if good else 2) if sampled else None for good, sampled in zip(TRULY, SAMPLED, strict=True)]
    scores = [None if i % 100 == 0 else score for i, score in enumerate(SCORES.tolist())]
    cuts = [slice(i, i + 1000) for i in range(0, ROWS, 1000)]
    return {
        "from[0]": dataset(
            folder / "checks",
            *({"overlap": scores[cut], "worse": [-s if s else s for s in scores[cut]]} for cut in cuts),
        ),
        "from[1]": dataset(
            folder / "rated",
            *({"score": rated[cut], "right": [None if r is None else r > 3 for r in rated[cut]]} for cut in cuts),
        ),
    }


def calibrated(folder: Path, inputs: dict[str, Dataset], **change: object) -> Dataset:
    parsed = config(**change)
    return run_step(folder, lambda job: run(job, parsed), inputs)


def test_what_is_kept_is_as_good_as_was_wanted(tmp_path: Path, inputs: dict[str, Dataset]) -> None:
    made = calibrated(tmp_path, inputs, precision=0.85)
    found, details = rows(made), made.manifest.details
    keep = np.array([row["keep"] for row in found])
    assert TRULY[keep].mean() > 0.85 and 0.1 < keep.mean() < 0.9
    assert 0.85 <= details["lower"] < 1
    assert details["share"] == pytest.approx(keep.sum() / details["scored"], abs=1e-6)
    assert details["yield"] == pytest.approx(keep[TRULY].mean(), abs=0.1)
    scored = np.arange(ROWS) % 100 != 0
    assert (details["scored"], details["labels"]) == (scored.sum(), (scored & SAMPLED).sum())
    assert details["good"] == (scored & SAMPLED & TRULY).sum()
    assert (keep == (scored & (details["threshold"] <= SCORES))).all()


def test_every_row_that_is_not_kept_has_a_reason(tmp_path: Path, inputs: dict[str, Dataset]) -> None:
    made = calibrated(tmp_path, inputs, precision=0.85)
    found = rows(made)
    assert [row["id"] for row in found] == [row["id"] for row in rows(inputs["from[0]"])]
    assert [shard.name for shard in made.shards] == [shard.name for shard in inputs["from[0]"].shards]
    reasons = Counter(row["reason"] for row in found)
    assert set(reasons) == {None, "below-threshold", "no-score"} and reasons["no-score"] == 30
    assert all((row["reason"] is None) == row["keep"] for row in found)
    counts = made.manifest.counts
    assert counts == {
        "first:below-threshold": reasons["below-threshold"],
        "first:no-score": 30,
        "kept": reasons[None],
    }


def test_when_no_threshold_holds_nothing_is_kept(tmp_path: Path, inputs: dict[str, Dataset]) -> None:
    made = calibrated(tmp_path, inputs, precision=0.999)
    assert {(row["keep"], row["reason"]) for row in rows(made)} == {(False, "not-calibrated")}
    details = made.manifest.details
    assert details["threshold"] is None and details["needed"] > details["labels"]
    assert "lower" not in details


def test_low_scores_may_be_the_good_ones_and_labels_booleans(tmp_path: Path, inputs: dict[str, Dataset]) -> None:
    one = calibrated(tmp_path / "one", inputs, precision=0.85)
    good = {"column": "right", "equals": True}
    two = calibrated(tmp_path / "two", inputs, precision=0.85, score="worse", higher=False, good=good)
    assert rows(one) == rows(two)
    assert two.manifest.details["threshold"] == -one.manifest.details["threshold"]


def test_what_was_dropped_before_stays_so_and_counts_for_nothing(tmp_path: Path, inputs: dict[str, Dataset]) -> None:
    keep = [bool(i % 2) for i in range(ROWS)]
    cuts = [slice(i, i + 1000) for i in range(0, ROWS, 1000)]
    reasons = [None if each else "short" for each in keep]
    kept = dataset(tmp_path / "kept", *({"keep": keep[cut], "reason": reasons[cut]} for cut in cuts))
    given = {"from[0]": inputs["from[0]"], "from[1]": kept, "from[2]": inputs["from[1]"]}
    made = calibrated(tmp_path, given, precision=0.8, **{"from": ["checks", "kept", "rated"]})
    found = rows(made)
    assert all(row["reason"] == "short" and not row["keep"] for row in found[::2])
    assert "short" not in {row["reason"] for row in found[1::2]} and any(row["keep"] for row in found)
    assert made.manifest.details["labels"] == SAMPLED[1::2].sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "overlp"}, "no column 'overlp'.*did you mean 'overlap'"),
        ({"good": {"column": "rating", "at_least": 4}}, "no column 'rating'"),
        ({"good": {"column": "score", "equals": "yes"}}, "'score' holds int64, which 'yes' is not"),
        ({"good": {"column": "score"}}, "one of `at_least` and `equals`"),
        ({"good": {"column": "overlap", "at_least": 1}}, "are one column"),
        ({"precision": 0.01}, "below `delta`"),
        ({"delta": 0.5}, "less than or equal to 0.25"),
        ({"score": "id"}, "'id' holds string, not numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, inputs: dict[str, Dataset], change: dict[str, object], message: str
) -> None:
    with pytest.raises((ConfigError, BadValue), match=message):
        calibrated(tmp_path, inputs, **change)


def test_without_a_label_there_is_nothing_to_go_by(tmp_path: Path, inputs: dict[str, Dataset]) -> None:
    with pytest.raises(RunError, match="no row has both a score in 'overlap' and a label in 'score'"):
        bare = dataset(tmp_path / "bare", *({"score": [None] * 1000} for _ in range(3)))
        calibrated(tmp_path, {"from[0]": inputs["from[0]"], "from[1]": bare}, good={"column": "score", "at_least": 1})


def test_a_release_takes_what_is_kept(tmp_path: Path) -> None:
    lines = [{"text": f"Row {i} of them.", "sure": SCORES[i], "mark": "yes" if TRULY[i] else "no"} for i in range(600)]
    (tmp_path / "docs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    text = f"""
name: safe
steps:
  docs: {{read: {{path: {tmp_path}/docs.jsonl, shard_bytes: 20000}}}}
  safe: {{calibrate: {{from: docs, score: sure, good: {{column: mark, equals: "yes"}}, precision: 0.8}}}}
  out: {{release: {{from: [docs, safe], license: cc0-1.0}}}}
"""
    done = run_yaml(tmp_path, text)
    assert len(done["safe"].shards) > 1
    assert 0 < done["out"].rows == done["safe"].manifest.counts["kept"] < 600
    assert done["out"].manifest.counts["dropped:below-threshold"] == 600 - done["out"].rows
