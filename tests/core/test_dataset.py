from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.dataset import Dataset, align
from curate.core.errors import ConfigError, RunError
from curate.core.shards import ShardWriter, conform, unify
from tests.helpers import dataset, rows, tree


def test_a_folder_without_a_manifest_is_not_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no manifest\.json"):
        Dataset.open(str(tmp_path))


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    dataset(tmp_path / "d", {"x": [1]})
    (tmp_path / "d" / "manifest.json").write_text("{")
    with pytest.raises(ConfigError, match=r"manifest\.json: is damaged"):
        Dataset.open(str(tmp_path / "d"))


def test_a_dataset_is_read_back_as_written(tmp_path: Path) -> None:
    data = dataset(tmp_path / "d", {"x": [1, 2]}, {"x": [3]})
    assert [row["x"] for row in rows(Dataset.open(data.folder))] == [1, 2, 3]
    assert [shard.rows for shard in data.shards] == [2, 1]


def test_a_column_that_is_not_there_gets_the_nearest_name(tmp_path: Path) -> None:
    data = dataset(tmp_path / "d", {"quality": [1]})
    with pytest.raises(ConfigError, match="no column 'qualty'; did you mean 'quality'"):
        rows(data, ["qualty"])


def test_a_shard_cut_in_half_is_named(tmp_path: Path) -> None:
    data = dataset(tmp_path / "d", {"x": list(range(1000))})
    path = Path(data.path(data.shards[0]))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (lambda: rows(data), data.schema):
        with pytest.raises(RunError, match=r"part-00000\.parquet: is damaged"):
            read()


def test_a_shard_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    with pytest.raises(ValueError), ShardWriter(str(tmp_path / "part.parquet")) as writer:
        writer.write(pa.record_batch({"x": [1]}))
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_a_shards_bytes_depend_on_its_rows_alone(tmp_path: Path) -> None:
    batch = pa.record_batch({"x": list(range(200_000))})
    for name in ("a", "b"):
        with ShardWriter(str(tmp_path / name / "part.parquet")) as writer:
            for start in range(0, batch.num_rows, 10_000):
                writer.write(batch.slice(start, 10_000))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert pq.read_metadata(tmp_path / "a" / "part.parquet").num_row_groups == 3


def test_schemas_widen_and_nothing_is_lost(tmp_path: Path) -> None:
    a, b = (
        pa.record_batch({"n": [1], "m": [{"k": 1}]}),
        pa.record_batch({"n": [1.5], "m": ["text"], "new": [True]}),
    )
    schema = unify([a.schema, b.schema])
    joined = pa.Table.from_batches([conform(a, schema), conform(b, schema)]).to_pylist()
    assert joined == [{"n": 1.0, "m": '{"k":1}', "new": None}, {"n": 1.5, "m": "text", "new": True}]


def test_alignment_keeps_the_rows_that_all_have(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"id": ["a", "b", "c"], "text": ["x", "y", "z"]})
    scores = dataset(tmp_path / "scores", {"id": ["a", "c"], "s": [1, 3]})
    table, absent = align([docs, scores], "part-00000.parquet", {0: ["text"], 1: ["s"]})
    assert table.to_pylist() == [{"id": "a", "text": "x", "s": 1}, {"id": "c", "text": "z", "s": 3}]
    assert absent == 1


def test_a_shard_that_another_dataset_lacks_is_absent_whole(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"x": [1, 2]}, {"x": [3]})
    scores = dataset(tmp_path / "scores", {"s": [1, 2]})
    table, absent = align([docs, scores], "part-00001.parquet", {1: ["s"]})
    assert (table.num_rows, absent) == (0, 1)
    assert "s" in table.column_names


def test_another_order_of_rows_is_refused(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"id": ["a", "b"], "x": [1, 2]})
    scores = dataset(tmp_path / "scores", {"id": ["b", "a"], "s": [2, 1]})
    with pytest.raises(RunError, match="same rows in the same order"):
        align([docs, scores], "part-00000.parquet", {})


def test_a_dataset_in_an_object_store_is_written_and_read(tmp_path: Path) -> None:
    with ShardWriter("memory://bucket/d/part-00000.parquet") as writer:
        writer.write(pa.record_batch({"x": [1, 2]}))
    from curate.core.shards import read_shard

    assert [b.num_rows for b in read_shard("memory://bucket/d/part-00000.parquet")] == [2]
