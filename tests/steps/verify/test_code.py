from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curate.core.errors import ConfigError
from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.code import Outcome, code, kernel_fences, run_code

needs_kernel = pytest.mark.skipif(not kernel_fences(), reason="this kernel has no seccomp and Landlock")


def outcome(program: str, tests: str = "") -> tuple[str, str]:
    found = run_code(program, tests, timeout=1)
    return found.reason, found.message


ADD = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    ("program", "tests", "expected"),
    [
        (ADD, "assert add(1, 2) == 3", ("ok", "")),
        (ADD, "from solution import add\nassert add(1, 2) == 3", ("ok", "")),
        (ADD, "assert add(1, 2) == 4, 'not four'", ("wrong", "AssertionError: not four")),
        (ADD, "assert sub(1, 2) == 3", ("error", "NameError: name 'sub' is not defined")),
        ("def add(", "", ("error", "SyntaxError: '(' was never closed (code.py, line 1)")),
        ("raise ValueError('a\\nb')", "", ("error", "ValueError: b")),
        ("input()", "", ("error", "EOFError: EOF when reading a line")),
        ("open('a', 'w').write('x')", "assert open('a').read() == 'x'", ("ok", "")),
        ("import asyncio\nasync def f(): return 3", "assert asyncio.run(f()) == 3", ("ok", "")),
        ("import sqlite3, zoneinfo, decimal, tempfile\ntempfile.TemporaryFile()", "", ("ok", "")),
        ("import numpy", "", ("error", "ModuleNotFoundError: No module named 'numpy'")),
        # Leaving early is not passing.
        ("import sys; sys.exit(0)", "assert False", ("error", "SystemExit: 0")),
        ("import os; os._exit(0)", "assert False", ("error", "ended before its tests did")),
        ("def f(): f()\nf()", "", ("error", "RecursionError: maximum recursion depth exceeded")),
        # The same each time, whatever an address or the order of a set.
        (
            "",
            "assert False, (object(), set('abc'))",
            ("wrong", "AssertionError: (<object object at 0x>, {'c', 'a', 'b'})"),
        ),
    ],
)
def test_a_program_passes_if_its_tests_end_without_an_exception(
    program: str, tests: str, expected: tuple[str, str]
) -> None:
    assert outcome(program, tests) == expected


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "while True: print('x' * 100_000)",
        pytest.param("import time\ntime.sleep(60)", marks=pytest.mark.slow),
        pytest.param(
            "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", marks=pytest.mark.slow
        ),
    ],
)
def test_a_program_that_does_not_end_is_stopped(program: str) -> None:
    assert outcome(program) == ("timeout", "")


def test_a_program_that_crashes_its_interpreter_is_an_error() -> None:
    reason, message = outcome("import os; os.abort()")
    assert (reason, message[:13]) == ("error", "killed by SIG")


def test_too_much_memory_is_refused() -> None:
    assert outcome("x = bytearray(10_000_000_000)") == ("memory", "MemoryError")


def test_a_file_does_not_grow_without_end() -> None:
    assert outcome("open('big', 'w').write('x' * (64 << 20))") == ("error", "OSError: [Errno 27] File too large")


@pytest.mark.parametrize(
    ("program", "tried"),
    [
        ("import os\nfor _ in range(20): os.fork()", "os.fork"),
        ("import subprocess\nsubprocess.run(['true'])", "subprocess.Popen"),
        ("import os\nos.system('true')", "os.system"),
        ("import socket\nsocket.socket()", "socket.__new__"),
        ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')", "urllib.Request"),
        ("open('/etc/passwd')", "open /etc/passwd"),
        ("import os\nos.symlink('/etc', 'etc')\nopen('etc/passwd')", "os.symlink for writing /etc"),
        ("open('../../etc/passwd')", "open ../../etc/passwd"),
        ("import os\nos.listdir('/')", "os.listdir /"),
        ("import os\nos.kill(os.getppid(), 9)", "os.kill"),
        ("import ctypes\nctypes.CDLL(None)", "ctypes.dlopen"),
        ("import resource\nresource.setrlimit(resource.RLIMIT_CPU, (100, 100))", "resource.setrlimit"),
        # It is not let off for catching the error.
        ("try:\n    open('/etc/passwd')\nexcept OSError:\n    pass", "open /etc/passwd"),
    ],
)
def test_what_a_program_may_not_do_is_refused_and_named(program: str, tried: str) -> None:
    assert outcome(program) == ("forbidden", tried)


def test_a_file_elsewhere_can_be_neither_written_nor_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    for program in (f"open({str(kept)!r}, 'w')", f"import os; os.remove({str(kept)!r})"):
        assert outcome(program)[0] == "forbidden"
    assert kept.read_text() == "kept"


@needs_kernel
def test_the_kernel_refuses_files_that_the_hook_does_not_see(tmp_path: Path) -> None:
    made = f"import sqlite3\nsqlite3.connect({str(tmp_path / 'made.db')!r}).execute('create table t (a)')"
    assert outcome(made) == ("error", "OperationalError: unable to open database file")
    assert not list(tmp_path.iterdir())
    assert outcome("import sqlite3\nsqlite3.connect('made.db').execute('create table t (a)')") == ("ok", "")


@needs_kernel
@pytest.mark.parametrize(
    "attempt",
    [
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))",
        "threading.Thread(target=print).start()",
    ],
)
def test_the_kernel_refuses_by_itself_too(attempt: str) -> None:
    script = (
        "import ctypes, os, resource, socket, threading\nfrom curate.steps.verify.code_child import filter_calls\n"
        "libc = ctypes.CDLL(None)\nlibc.prctl(38, 1, 0, 0, 0)\nassert filter_calls(libc)\n"
        f"try:\n    {attempt}\nexcept (OSError, RuntimeError, ValueError):\n    print('refused', end='')\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr) == ("refused", "")


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for program in ("open('a', 'w').write('x')", "while True: open('a', 'a').write('x')"):
        run_code(program, "", timeout=1)
        assert not list(tmp_path.iterdir())


def test_a_program_does_not_see_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a secret")
    assert outcome("import os", "assert 'OPENAI_API_KEY' not in os.environ") == ("ok", "")


def test_rows_without_program_or_tests_are_not_judged() -> None:
    batch = VerifyBatch.of(
        [
            {"code": ADD, "tests": "assert add(1, 2) == 3"},
            {"code": ADD, "tests": "assert add(1, 2) == 4"},
            {"code": None, "tests": "assert True"},
            {"code": ADD, "tests": None},
        ]
    )
    found = {name: values.to_pylist() for name, values in code(sandbox="hook")(batch).items()}
    assert found == {
        "passed": [True, False, None, None],
        "reason": ["ok", "wrong", None, None],
        "message": ["", "AssertionError", None, None],
    }


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="timeout"):
        code(timeout=0)
    with pytest.raises(ConfigError, match="memory 8 is below 64 MiB"):
        code(memory=8)


def test_where_the_kernel_does_not_hold_it_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[code.__module__], "kernel_fences", lambda: False)
    with pytest.raises(ConfigError, match="sandbox: hook"):
        code()
    assert Outcome("ok", "").passed
