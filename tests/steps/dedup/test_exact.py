from __future__ import annotations

import functools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.steps.dedup import step as dedup
from tests.helpers import dataset, rows, run_step, tree


def run(root: Path, documents: Dataset, workers: int = 1, at_once: int = dedup.ROWS_AT_ONCE, **exact: bool) -> Dataset:
    config = dedup.parse({"from": "docs", "exact": exact}, ())
    return run_step(
        root,
        functools.partial(dedup.run, config=config, at_once=at_once),
        {"from": documents},
        resources=Resources(workers=workers),
    )


def test_a_copy_names_the_first_row_with_its_text(tmp_path: Path) -> None:
    docs = dataset(
        tmp_path / "docs",
        {"id": ["a", "b", "c"], "text": ["one", "two", "one"]},
        {"id": ["d", "e"], "text": ["ONE ", "three"]},
    )
    out = rows(run(tmp_path, docs))
    assert [row["duplicate_of"] for row in out] == [None, None, "a", "a", None]
    assert [row["keep"] for row in out] == [True, True, False, False, True]
    assert [row["reason"] for row in out] == [None, None, "exact-duplicate", "exact-duplicate", None]
    assert out[2]["cluster"] == out[3]["cluster"] and len(str(out[2]["cluster"])) == 32


def test_raw_comparison_tells_case_and_space_apart(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"text": ["one", "ONE ", "one"]})
    assert [row["keep"] for row in rows(run(tmp_path, docs, normalised=False))] == [True, True, False]


def test_two_workers_write_the_same_bytes(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", *({"text": [f"text {i * j % 7}" for j in range(20)]} for i in range(5)))
    one, two = run(tmp_path / "one", docs), run(tmp_path / "two", docs, workers=2)
    assert tree(Path(one.folder)) == tree(Path(two.folder))
    assert one.manifest.counts["copies"] == 100 - 7


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=8), min_size=1, max_size=4))
def test_one_row_of_every_text_stays_for_any_number_of_hash_ranges(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("dedup")
    texts = [text for shard in shards for text in shard]
    docs = dataset(folder / "docs", *({"text": shard} for shard in shards if shard))
    if not texts:
        return
    ranged = rows(run(folder / "ranged", docs, at_once=3))
    assert ranged == rows(run(folder / "whole", docs))
    kept = [text for text, row in zip(texts, ranged, strict=True) if row["keep"]]
    assert sorted(kept) == sorted(set(texts))


def test_a_method_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadValue, match="did you mean 'exact'"):
        dedup.parse({"from": "docs", "exakt": {}}, ())
