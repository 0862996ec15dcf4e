from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import ConfigError, RunError
from curate.steps.read.hub import stream_dataset


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def test_a_local_folder_of_parquet_is_streamed(tmp_path: Path):
    folder = tmp_path / "set"
    folder.mkdir()
    for part in range(2):
        texts = [None if i == 7 else f"text {part} {i}" for i in range(300)]
        pq.write_table(pa.table({"n": range(300), "text": texts}), folder / f"train-{part}.parquet")
    chunks = list(stream_dataset(str(folder), split="train"))
    assert sum(chunk.table.num_rows for chunk in chunks) == 598
    assert [row for chunk in chunks for row in chunk.rows.tolist()] == [i for i in range(600) if i not in (7, 307)]
    assert [(bad.row, bad.error) for chunk in chunks for bad in chunk.bad] == [
        (7, "null-text"),
        (307, "null-text"),
    ]
    assert chunks[0].table.column_names == ["text", "n"]
    assert chunks[-1].table.column("text")[-1].as_py() == "text 1 299"


def test_a_local_folder_of_json_lines_is_streamed(tmp_path: Path):
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [{"body": f"text {i}", "meta": {"n": i}} for i in range(10)]
    (folder / "train.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    (chunk,) = stream_dataset(str(folder), split="train", text="body")
    assert chunk.table.column("text").to_pylist() == [row["body"] for row in rows]
    assert chunk.table.column("meta").to_pylist() == [row["meta"] for row in rows]


def test_what_is_not_there_is_refused(tmp_path: Path):
    folder = tmp_path / "set"
    folder.mkdir()
    pq.write_table(pa.table({"body": ["one"]}), folder / "train.parquet")
    with pytest.raises(ConfigError, match=r"no column 'text'.*known: body"):
        list(stream_dataset(str(folder), split="train"))
    with pytest.raises(ConfigError, match="split"):
        list(stream_dataset(str(folder), split="test", text="body"))
    with pytest.raises(ConfigError, match="nowhere"):
        list(stream_dataset(str(tmp_path / "nowhere"), split="train"))


def test_a_stream_that_breaks_stops_the_run(tmp_path: Path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(b'{"text": "one"}\n{"text": "tw')
    with pytest.raises((RunError, ConfigError), match="set"):
        list(stream_dataset(str(folder), split="train"))
