from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curate.core.errors import ConfigError
from curate.steps.release.verify import verify
from tests.steps.release.small import small_run, texts, write_inputs


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("verify")
    run = small_run(folder / "demo", write_inputs(folder / "in", texts()))
    run.release(file_bytes=1000)
    return folder / "demo"


@pytest.fixture
def release(whole: Path, tmp_path: Path) -> Path:
    """A copy of the release alone, as one has it from the Hub."""
    return Path(shutil.copytree(next(whole.glob("out-*/release")), tmp_path / "downloaded"))


@pytest.fixture
def first(release: Path) -> str:
    """The first data file."""
    return min(path.relative_to(release).as_posix() for path in release.glob("data/default/*.parquet"))


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def test_a_release_is_found_from_its_run_its_step_and_itself(whole: Path, release: Path) -> None:
    assert verify(str(whole)) == verify(str(next(whole.glob("out-*")))) == verify(str(release)) == []


def test_what_the_hub_adds_is_no_difference(release: Path) -> None:
    (release / ".gitattributes").write_text("*.parquet filter=lfs")
    (release / ".cache").mkdir()
    (release / ".cache" / "state").write_text("x")
    assert verify(str(release)) == []


def test_a_changed_byte_is_named_with_its_file(release: Path, first: str) -> None:
    data = bytearray((release / first).read_bytes())
    data[200] ^= 0xFF
    (release / first).write_bytes(bytes(data))
    problems = verify(str(release))
    assert all(problem.startswith(first) for problem in problems)
    assert "has the sha256" in problems[0]


def test_a_changed_card_is_named(release: Path) -> None:
    with (release / "README.md").open("a") as card:
        card.write("Trust me.\n")
    problems = verify(str(release))
    assert len(problems) == 2
    assert problems[0].startswith("README.md: has ")


def test_a_changed_row_is_named_by_its_row_group(release: Path, first: str) -> None:
    def shout(table: pa.Table) -> pa.Table:
        text = table.column("text").to_pylist()
        text[3] = text[3].upper()
        return table.set_column(1, table.schema.field("text"), pa.array(text, pa.large_string()))

    ids = pq.read_table(release / first).column("id")
    rewrite(release / first, shout)
    place = f"row group 0 (rows 0 to {len(ids) - 1}, the first with id {ids[0]})"
    assert f"{first}: {place} has other values" in verify(str(release))


def test_rows_written_by_other_means_differ_in_bytes_alone(release: Path, first: str) -> None:
    rewrite(release / first, lambda table: table)
    problems = verify(str(release))
    assert [problem.split(": ")[1].split()[:2] for problem in problems] == [
        ["has", problems[0].split()[2]],
        ["has", "the"],
    ]


def test_a_lost_row_and_a_lost_column_are_named(release: Path, first: str) -> None:
    count = pq.read_metadata(release / first).num_rows
    rewrite(release / first, lambda table: table.slice(1).drop_columns(["share"]))
    problems = verify(str(release))
    assert f"{first}: has {count - 1} rows, not {count}" in problems
    assert f"{first}: has other columns or types than when it was written" in problems


def test_rows_in_another_order_differ(release: Path, first: str) -> None:
    rewrite(release / first, lambda table: table.take(pc.sort_indices(table, [("id", "ascending")])))
    assert any("has other values" in problem for problem in verify(str(release)))


def test_a_removed_and_an_added_file_are_named(release: Path, first: str) -> None:
    (release / first).rename(release / "data" / "default" / "extra.parquet")
    assert verify(str(release)) == [
        f"{first}: is missing",
        "data/default/extra.parquet: is not in MANIFEST.json",
    ]


def test_a_cut_file_is_named(release: Path, first: str) -> None:
    (release / first).write_bytes((release / first).read_bytes()[:-10])
    assert any("cannot be read as Parquet" in problem for problem in verify(str(release)))


def test_wrong_totals_and_a_path_that_leads_outside_are_named(release: Path) -> None:
    manifest = json.loads((release / "MANIFEST.json").read_bytes())
    manifest["totals"]["rows"] += 1
    manifest["files"][0]["path"] = "../README.md"
    (release / "MANIFEST.json").write_text(json.dumps(manifest))
    assert verify(str(release)) == [
        "MANIFEST.json: lists ../README.md, which is outside the release",
        "README.md: is not in MANIFEST.json",
        "MANIFEST.json: totals.rows is 37, but its files have 36",
    ]


def test_a_manifest_that_is_not_the_steps_own_is_named(whole: Path, tmp_path: Path) -> None:
    step = Path(shutil.copytree(next(whole.glob("out-*")), tmp_path / "out"))
    manifest = step / "release" / "MANIFEST.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes())))
    assert verify(str(step)) == ["MANIFEST.json: is not the one that the release step wrote"]


def test_a_damaged_manifest_is_a_problem_in_one_line(release: Path) -> None:
    (release / "MANIFEST.json").write_text("{}")
    (problem,) = verify(str(release))
    assert problem.startswith("MANIFEST.json: is damaged at format")


def test_a_folder_without_a_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no MANIFEST\.json"):
        verify(str(tmp_path))
