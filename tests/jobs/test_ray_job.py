"""The Ray entries, submitted to a head that runs on this machine, write what the command writes."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from tests.helpers import ROOT, tree
from tests.llm.server import serve
from tests.steps.synthesize.chaos import answer

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Ray head on loopback, in a process group of its own that is ended with the tests."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield from _head(tmp_path_factory.mktemp("head"), monkeypatch)


def _head(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    dashboard = free_port()
    ray = str(Path(sys.executable).parent / "ray")
    command = [
        ray,
        "start",
        "--head",
        "--block",
        "--num-cpus=2",
        "--node-ip-address=127.0.0.1",
        f"--port={free_port()}",
    ]
    command += [f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", "--disable-usage-stats"]
    # Another Ray may be at work on this machine, with these at their usual numbers.
    for name in ("dashboard-agent-listen", "dashboard-agent-grpc", "ray-client-server", "metrics-export"):
        command.append(f"--{name}-port={free_port()}")
    # The job takes its programs from the environment of this test, whatever else the machine has.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with open(folder / "head.log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            address = f"http://127.0.0.1:{dashboard}"
            deadline = time.monotonic() + 90
            while time.monotonic() < deadline:
                try:
                    urllib.request.urlopen(f"{address}/api/version", timeout=2).close()
                    break
                except urllib.error.HTTPError:
                    break  # it is there, and wants the token that the job client has
                except OSError:
                    time.sleep(0.5)
            else:
                pytest.fail((folder / "head.log").read_text()[-2000:])
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def test_a_submitted_job_writes_the_same_bytes_as_the_command(tmp_path: Path, head: str) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        text = "The harbour was full of boats, and the people of the town had come to see them leave. "
        lines = [f'{{"text": "{text * j} Page {i} {j}."}}\n' for j in range(20)]
        (tmp_path / "in" / f"{i}.jsonl").write_text("".join(lines))
    config = tmp_path / "job.yaml"
    config.write_text(f"""
name: job
steps:
  docs: {{read: {{path: {tmp_path}/in, shard_bytes: 3000}}}}
  scores: {{score: {{from: docs, gopher_quality: {{}}}}}}
  kept: {{filter: {{from: scores, rules: [{{column: gopher_quality_words, at_least: 50}}]}}}}
  out: {{release: {{from: [docs, kept], license: cc0-1.0}}}}
""")
    output = submitted(tmp_path, head, "score_pretraining.py", config)
    assert "60 records read" in output
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")


def test_a_submitted_selection_takes_the_rows_that_the_command_takes(tmp_path: Path, head: str) -> None:
    rows = [
        [{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": "so " * (i + 1)}]
        for i in range(60)
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(orjson.dumps({"messages": row}) for row in rows))
    config = tmp_path / "job.yaml"
    config.write_text(f"""
name: job
steps:
  pool: {{read: {{path: {tmp_path}/in.jsonl, conversations: messages, shard_bytes: 2000}}}}
  lengths: {{score: {{from: pool, turns: {{}}}}}}
  picks: {{select: {{from: [pool, lengths], budget: 6, random: {{seed: 2}}}}}}
  out: {{release: {{from: [pool, lengths, picks], license: cc0-1.0}}}}
""")
    output = submitted(tmp_path, head, "select_instructions.py", config)
    assert "6   10.0 %  picks, by random" in output
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")


def test_a_submitted_synthesis_makes_the_rows_that_the_command_makes(tmp_path: Path, head: str) -> None:
    lines = [orjson.dumps({"text": f"This is row {i} of the seeds, with some words."}) for i in range(40)]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    config = tmp_path / "job.yaml"
    with serve(answer=answer) as server:
        config.write_text(f"""
name: job
endpoints: {{large: {{url: "{server.url}", model: m}}}}
budget: {{requests: 200}}
steps:
  seeds: {{read: {{path: {tmp_path}/in.jsonl, shard_bytes: 700}}}}
  made: {{synthesize: {{from: seeds, recipe: paraphrase, model: large}}}}
""")
        output = submitted(tmp_path, head, "synthesize.py", config)
    assert "40" in output and "accepted" in output
    ledgers = {"ledger"}
    one, other = (tree(tmp_path / name) for name in ("ray", "local"))
    assert {k: v for k, v in one.items() if not ledgers & set(Path(k).parts)} == {
        k: v for k, v in other.items() if not ledgers & set(Path(k).parts)
    }


def submitted(tmp_path: Path, head: str, job: str, config: Path) -> str:
    """What a job prints that runs a config below `ray`; the command then runs it below `local`."""
    python = sys.executable
    entry = [python, str(ROOT / "jobs" / job), str(config), "--root", str(tmp_path / "ray")]
    submit = [str(Path(python).parent / "ray"), "job", "submit", "--address", head, "--", *entry]
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(submit, capture_output=True, text=True, timeout=240)
        if "No available agent" not in done.stdout + done.stderr or time.monotonic() > deadline:
            break
        time.sleep(1)  # the head answers before its agent takes jobs
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    command = ["run", str(config), "--root", str(tmp_path / "local"), "--workers", "1", "--progress", "quiet"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    return done.stdout
