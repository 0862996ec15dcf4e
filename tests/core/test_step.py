from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate.core.engine import Resources
from curate.core.errors import ConfigError, RunError
from curate.core.lock import lock
from curate.core.map_shard import MapShard, shard_tasks
from curate.core.shards import QUARANTINE
from curate.core.step import Job, Receipt, Result
from tests.helpers import dataset, rows, run_step, tree


def length(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The length of every text; raises for the text `boom`."""
    if "boom" in batch.column("text").to_pylist():
        raise ValueError("cannot take boom")
    return pa.record_batch({"id": batch.column("id"), "length": pc.utf8_length(batch.column("text"))})


def run(job: Job, function: Callable[[pa.RecordBatch], pa.RecordBatch] = length) -> Result:
    make = functools.partial(functools.partial, MapShard(function, job.step.name, job.folder, ["id", "text"]))
    return Result(job.map("", make, shard_tasks(job.inputs["from"])))


def make_docs(folder: Path) -> object:
    return dataset(folder / "docs", {"text": ["a", "bb", "boom", "dddd"]}, {"text": ["e"]}, {"text": ["boom"]})


def test_the_row_that_raises_is_found_and_the_others_go_on(tmp_path: Path) -> None:
    out = run_step(tmp_path, run, {"from": make_docs(tmp_path)})
    assert [row["length"] for row in rows(out)] == [1, 2, 4, 1]
    bad = [row for table in out.quarantine() for row in table.to_pylist()]
    assert [(row["id"][-1], row["error"], row["message"], row["sample"]) for row in bad] == [
        ("2", "ValueError", "cannot take boom", b"boom"),
        ("5", "ValueError", "cannot take boom", b"boom"),
    ]
    assert (out.manifest.rows_in, out.manifest.rows, out.manifest.quarantined) == (6, 4, 2)
    assert [shard.rows for shard in out.shards] == [3, 1, 0]


def test_a_step_whose_every_row_is_bad_fails(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"text": ["boom", "boom"]})
    with pytest.raises(RunError, match="every row was quarantined"):
        run_step(tmp_path, run, {"from": docs})


def test_a_finished_step_is_opened_and_not_run(tmp_path: Path) -> None:
    docs = make_docs(tmp_path)
    first = run_step(tmp_path, run, {"from": docs})

    def never(job: Job) -> Result:
        raise AssertionError("ran again")

    assert run_step(tmp_path, never, {"from": docs}).manifest == first.manifest


def test_a_stopped_step_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    docs = make_docs(tmp_path)
    whole = run_step(tmp_path / "whole", run, {"from": docs})
    seen: list[str] = []
    stop = [True]

    def stopping(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.column("text").to_pylist() == ["e"] and stop:
            raise RunError("stopped")
        seen.append("".join(batch.column("text").to_pylist()))
        return length(batch)

    with pytest.raises(RunError, match=r"step step, part-00001\.parquet: stopped; what is done is kept"):
        run_step(tmp_path / "cut", functools.partial(run, function=stopping), {"from": docs})
    (folder,) = (p for p in (tmp_path / "cut").iterdir())
    assert not (folder / "manifest.json").exists()
    (folder / ".part-00001.parquet.abcd.tmp").write_bytes(b"half")
    stop.clear()
    seen.clear()
    again = run_step(tmp_path / "cut", functools.partial(run, function=stopping), {"from": docs})
    assert "abb" not in "".join(seen), "the first shard was done before"
    assert tree(Path(again.folder)) == tree(Path(whole.folder))


def test_rows_that_get_lost_fail_the_run(tmp_path: Path) -> None:
    def losing(job: Job) -> Result:
        return Result([Receipt("part", rows_in=5)])

    with pytest.raises(RunError, match="5 rows in, but 0 out"):
        run_step(tmp_path, losing, {})


def test_a_function_that_returns_fewer_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="4 rows in a batch became 3"):
        run_step(tmp_path, functools.partial(run, function=lambda b: b.slice(1)), {"from": make_docs(tmp_path)})


def dying(job: Job) -> Result:
    return Result(job.map("", functools.partial(make_dying, job.folder), shard_tasks(job.inputs["from"])))


def make_dying(folder: str) -> MapShard:
    def function(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.column("text").to_pylist() == ["e"]:
            os._exit(3)
        return length(batch)

    return MapShard(function, "step", folder, ["id", "text"])


def test_a_shard_that_kills_its_workers_stops_the_run_or_is_listed(tmp_path: Path) -> None:
    docs = make_docs(tmp_path)
    with pytest.raises(
        RunError, match=r"part-00001\.parquet: the worker ended with exit code 3, 2 times.*--keep-going"
    ):
        run_step(tmp_path, dying, {"from": docs}, resources=Resources(workers=2, retries=1))
    # In a folder of its own: a shard that alone is left is mapped in this process, which would end with it.
    resources = Resources(workers=2, retries=0, keep_going=True)
    out = run_step(tmp_path / "again", dying, {"from": docs}, resources=resources)
    assert [(f.shard, f.rows) for f in out.manifest.failed] == [("part-00001.parquet", 1)]
    assert [shard.name for shard in out.shards] == ["part-00000.parquet", "part-00002.parquet"]


def test_resources_bear_no_identity(tmp_path: Path) -> None:
    docs = make_docs(tmp_path)
    one = run_step(tmp_path / "one", run, {"from": docs}, resources=Resources(workers=1))
    other = run_step(tmp_path / "two", run, {"from": docs}, resources=Resources(workers=1, retries=9, keep_going=True))
    assert one.manifest.digest == other.manifest.digest
    assert tree(Path(one.folder)) == tree(Path(other.folder))


def test_a_manifest_has_no_time_host_or_path(tmp_path: Path) -> None:
    out = run_step(tmp_path, run, {"from": make_docs(tmp_path)})
    text = json.dumps(json.loads((Path(out.folder) / "manifest.json").read_text()))
    assert str(tmp_path) not in text and os.uname().nodename not in text
    assert (Path(out.folder) / QUARANTINE / "part-00000.parquet").exists()


def test_a_second_run_in_a_folder_is_refused(tmp_path: Path) -> None:
    with lock(str(tmp_path)), pytest.raises(ConfigError, match="another run is at work"), lock(str(tmp_path)):
        pass
    with lock(str(tmp_path)):
        pass
