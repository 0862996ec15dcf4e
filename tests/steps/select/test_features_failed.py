"""A piece that fails for good: its whole shard fails, and what is left is a store like any other."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from curate.core.chat.messages import Conversation, Turn
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.errors import RunError
from curate.core.progress import Progress
from curate.core.step import Step, execute
from curate.steps.select import features as module
from curate.steps.select.feature import Feature, Features, Featurise
from curate.steps.select.features import VERSION, FeaturesConfig, run
from curate.steps.select.store import Store
from tests.helpers import rows, tree
from tests.steps.select.picks import selected
from tests.steps.select.pools import pool

SAID = [(Turn("user", f"{i}"), Turn("assistant", "Yes.")) for i in range(40)]


class Numbers(Feature):
    """The number that a question is, on a circle; raises for those in `bad`."""

    bad: list[int] = []

    def load(self, models: Mapping[str, str]) -> Featurise:
        return _Circle(self.bad)


class _Circle:
    width, weights = 2, (1.0,)

    def __init__(self, bad: Sequence[int]) -> None:
        self._bad = set(bad)

    def __call__(self, conversations: Sequence[Conversation]) -> Features:
        numbers = [int(each[0].content) for each in conversations]
        if self._bad & set(numbers):
            raise ValueError("this one cannot be had")
        return Features(circle(numbers), [None] * len(numbers), np.ones(len(numbers), np.int32))


def circle(numbers: Sequence[int]) -> np.ndarray:
    angles = np.asarray(numbers, np.float64) / 10
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)[:, None].astype(np.float32)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_ROWS", 4)


@pytest.fixture
def four(tmp_path: Path) -> Dataset:
    """Ten conversations in each of four shards."""
    return pool(tmp_path / "pool", SAID, shards=4)


def featured(root: Path, data: Dataset, bad: list[int], *, keep_going: bool = True) -> Dataset:
    config = FeaturesConfig.model_construct(source=["pool"], feature=Numbers(kind="float32", bad=bad))
    step = Step("some", "features", VERSION, {}, {"from": data}, {}, functools.partial(run, config=config))
    return execute(step, str(root), LocalEngine(), Resources(workers=1, keep_going=keep_going), Progress("quiet"))


def test_a_shard_with_a_piece_that_failed_fails_whole_and_is_listed(tmp_path: Path, four: Dataset) -> None:
    out = featured(tmp_path / "run", four, bad=[15, 39])
    assert [(each.shard, each.rows) for each in out.manifest.failed] == [
        ("part-00001.parquet", 10),
        ("part-00003.parquet", 10),
    ]
    assert "this one cannot be had" in out.manifest.failed[0].error
    assert [shard.name for shard in out.shards] == ["part-00000.parquet", "part-00002.parquet"]
    assert (out.manifest.rows_in, out.manifest.rows) == (40, 20)


def test_the_store_holds_the_rows_of_the_other_shards_and_nothing_else(tmp_path: Path, four: Dataset) -> None:
    out = featured(tmp_path / "run", four, bad=[15])
    store = Store.open(out)
    left = [*range(10), *range(20, 40)]
    assert [row["id"] for row in rows(out)] == [f"{i:05d}" for i in left]
    assert len(store) == 30
    np.testing.assert_allclose(store.take(range(30)), circle(left), atol=1e-6)
    written = {path.name for path in Path(out.folder).glob("*.npy")}
    assert written == set(out.manifest.files) and not any(name.startswith("part-00001") for name in written)
    picks = selected(tmp_path, [four], {"vectors": out}, budget=3, k_center={"features": "vectors"})
    found = {str(row["id"]): row for row in rows(picks)}
    assert sum(bool(row["keep"]) for row in found.values()) == 3
    assert {found[f"{i:05d}"]["reason"] for i in range(10, 20)} == {"absent from some"}


def test_a_run_that_stopped_at_the_piece_goes_on_until_it_fails_or_finishes(tmp_path: Path, four: Dataset) -> None:
    for bad, name in (([15], "given-up"), ([], "finished")):
        whole = featured(tmp_path / "whole" / name, four, bad)
        with pytest.raises(RunError, match="part-00001-00001: .*this one cannot be had.*--keep-going"):
            featured(tmp_path / "cut" / name, four, [15], keep_going=False)
        assert tree(Path(featured(tmp_path / "cut" / name, four, bad).folder)) == tree(Path(whole.folder))


def test_pieces_of_a_shard_that_failed_are_made_again_by_a_run_that_was_killed_before_its_manifest(
    tmp_path: Path, four: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = featured(tmp_path / "whole", four, [])

    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "Details", killed)
        featured(tmp_path / "cut", four, [15])
    assert tree(Path(featured(tmp_path / "cut", four, []).folder)) == tree(Path(whole.folder))


def test_a_run_whose_every_shard_failed_fails(tmp_path: Path, four: Dataset) -> None:
    with pytest.raises(RunError, match="every shard was given up, the last for .*this one cannot be had"):
        featured(tmp_path / "run", four, bad=[0, 10, 20, 30])
