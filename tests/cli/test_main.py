"""The command as a person meets it: what it prints, and how it ends."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import curate, process
from tests.test_pipeline import TEXT, small, write_jsonl


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A config and three pages: one is good, one a copy, one thin."""
    write_jsonl(tmp_path / "in" / "a.jsonl", [TEXT, TEXT, "thin"])
    (tmp_path / "small.yaml").write_text(small(tmp_path))
    return tmp_path


def test_a_run_says_where_every_record_went_and_its_release_verifies(project: Path) -> None:
    done = process("run", "small.yaml", "--workers", "1", folder=project)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stderr.splitlines()]
    assert "3 records read" in lines
    assert "1 33.3 % dropped: exact-duplicate" in lines
    assert any(line.startswith("1 33.3 % kept: runs/small/out-") for line in lines)
    assert (project / "runs" / "small" / "report.html").exists()
    (release,) = (project / "runs" / "small").glob("out-*/release")
    fine = curate("verify", str(release), folder=project)
    assert (fine.returncode, fine.stdout.split(": ")[1]) == (
        0,
        "every file and row is as its manifest says\n",
    )
    data = next(release.glob("data/*/*.parquet"))
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    broken = process("verify", str(release), folder=project)
    assert broken.returncode == 1 and data.name in broken.stdout


def test_a_second_run_does_nothing_again(project: Path) -> None:
    curate("run", "small.yaml", "--workers", "1", folder=project)
    again = curate("run", "small.yaml", "--workers", "1", folder=project)
    assert again.stderr.count("already done") == 5


def test_a_plan_shows_the_steps_and_runs_nothing(project: Path) -> None:
    for command in (["plan", "small.yaml"], ["run", "small.yaml", "--dry-run"]):
        done = curate(*command, folder=project)
        assert done.returncode == 0
        assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [
            "docs",
            "scores",
            "dups",
            "kept",
            "out",
        ]
        assert not (project / "runs").exists()


def test_json_lines_on_request(project: Path) -> None:
    done = curate("run", "small.yaml", "--workers", "1", "--progress", "json", folder=project)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["step"] for e in events if e["event"] == "step-done"] == [
        "docs",
        "scores",
        "dups",
        "kept",
        "out",
    ]


def test_a_run_can_be_looked_at_afterwards(project: Path) -> None:
    curate("run", "small.yaml", "--workers", "1", folder=project)
    status = curate("status", "runs/small", folder=project)
    assert status.stdout.count("done") == 5 and "3 records read" in status.stdout
    scores = next((project / "runs" / "small").glob("scores-*"))
    assert "gopher_quality_words" in curate("inspect", str(scores), folder=project).stdout
    (row,) = [json.loads(line)["id"] for line in [json.dumps({"id": i}) for i in _ids(scores)[2:3]]]
    output = curate("explain", "runs/small", row[:12], folder=project).stdout
    assert "from a.jsonl#2" in output and "dropped: gopher_quality_words" in output
    assert curate("report", "runs/small", folder=project).stdout.strip() == "runs/small/report.html"


def _ids(dataset: Path) -> list[str]:
    from curate.core.dataset import Dataset
    from tests.helpers import rows

    return [str(row["id"]) for row in rows(Dataset.open(str(dataset)), ["id"])]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "none.yaml"], "curate: none.yaml: no such file; check the path"),
        (
            ["run", "small.yaml", "--set", "steps.docs.read.path=gone/*.jsonl"],
            "gone/*.jsonl: matches no file",
        ),
        (["run", "small.yaml", "--set", "steps.docs.read.txt=body"], "did you mean 'text'"),
        (["status", "in"], "in: holds no run.json, so it is not the folder of a run"),
        (["inspect", "in"], "no manifest.json"),
        (["verify", "in"], "in"),
        (["report", "nowhere"], "nowhere"),
        (["explain", "in", "abc"], "not the folder of a run"),
    ],
)
def test_a_wrong_command_gets_one_line_and_exit_code_2(project: Path, arguments: list[str], message: str) -> None:
    done = curate(*arguments, folder=project)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr


def test_an_unknown_option_is_a_usage_error(project: Path) -> None:
    done = curate("run", "small.yaml", "--wrokers", "2", folder=project)
    assert done.returncode == 2 and "--workers" in done.stderr and "Traceback" not in done.stderr


def test_a_column_that_is_not_there_is_named_with_those_that_are(project: Path) -> None:
    done = process("run", "small.yaml", "--set", "steps.docs.read.text=body", folder=project)
    assert done.returncode == 2 and "body" in done.stderr and "text" in done.stderr


def test_a_place_that_cannot_be_written_is_named(project: Path) -> None:
    (project / "file").write_text("")
    done = curate("run", "small.yaml", "--root", "file/runs", folder=project)
    assert done.returncode == 2 and "choose another --root" in done.stderr
    if os.path.isdir("/sys/kernel"):
        done = curate("run", "small.yaml", "--root", "/sys/curate", folder=project)
        assert done.returncode == 2 and "choose another --root" in done.stderr


def test_a_full_disk_keeps_what_is_done_and_the_next_run_goes_on(project: Path) -> None:
    words = random.Random(1).randbytes(200_000).hex(" ", 4)
    write_jsonl(project / "in" / "z.jsonl", [words])

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    full = process("run", "small.yaml", "--workers", "1", folder=project, preexec_fn=limit)
    assert full.returncode == 1
    assert "what is done is kept" in full.stderr and "Traceback" not in full.stderr
    assert not list(project.rglob("*.tmp"))
    done = curate("run", "small.yaml", "--workers", "1", folder=project)
    assert done.returncode == 0, done.stderr


def test_an_interrupt_ends_with_130(project: Path) -> None:
    os.makedirs(project / "d")
    os.mkfifo(project / "d" / "manifest.json")
    command = [sys.executable, "-m", "curate", "inspect", "d"]
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's `&` has it ignored
    run = subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    pipe, deadline = -1, time.monotonic() + 60
    while pipe < 0 and run.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # nobody reads yet
            pipe = os.open(project / "d" / "manifest.json", os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)  # it has begun to read, and waits for more
    _, output = run.communicate(timeout=60)
    os.close(pipe)
    assert run.returncode == 130 and "Traceback" not in output


def test_help_teaches(project: Path) -> None:
    output = process("--help", folder=project).stdout
    for command in ("run", "plan", "status", "report", "inspect", "explain", "verify"):
        assert command in output
