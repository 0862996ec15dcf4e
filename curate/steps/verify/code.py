r"""The verifier `code`: whether a program passes its tests, run apart with limits.

    run_code("def add(a, b): return a + b", "assert add(1, 2) == 3").passed          # True
    run_code("while True: pass", "").reason                                          # 'timeout'

Each program runs in an interpreter of its own (the standard library alone, a new session, a clean environment, an empty
folder that is removed afterwards). What holds it, from the outside in:

- The parent kills its process group when the time is up.
- Limits of the kernel on processor time, address space, open files and the size of each file. Not on how many files:
  a program can fill a disk for as long as it runs.
- seccomp (Linux on x86-64): no sockets but a pair within the process, no processes or threads, no signals to others,
  no tracing, no mounts. It holds against machine code too.
- Landlock (Linux 5.13): files can be written in the folder alone, and read there and where the standard library and
  the system's libraries are. That a file exists, and its size, can be seen everywhere.
- A hook in the interpreter refuses the same with a name for it, so that the outcome is `forbidden` even where the
  program goes on. By itself it keeps out accidents, not somebody who knows how to get round it.

None of it is a virtual machine: a hole in the kernel is a way out. And a program that sets out to fake its outcome can,
as its tests run in the same interpreter: this says whether honest code works.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from curate.core.errors import ConfigError
from curate.steps.verify.batch import Columns, Verifier, VerifyBatch

Reason = Literal["ok", "wrong", "error", "timeout", "memory", "forbidden"]
_CHILD = Path(__file__).with_name("code_child.py")
_MEBIBYTE = 1 << 20
_LEAST_MEMORY = 64  # MiB, with which the interpreter starts and imports
_MOST_REPORT = 1 << 14  # bytes


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        reason: `ok`; `wrong`, a test's assertion failed; `error`, another exception or a crash; `timeout`; `memory`;
            `forbidden`, it tried what it may not, whether it passed or not.
        message: the last line of what was raised, or what it tried.
        fenced: whether the kernel held it by seccomp and Landlock.
    """

    reason: Reason
    message: str
    fenced: bool = True

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        return self.reason == "ok"


def code(
    *,
    column: str = "code",
    tests: str = "tests",
    timeout: float = 5.0,
    memory: int = 256,
    sandbox: Literal["kernel", "hook"] = "kernel",
) -> Verifier:
    """Run each row's Python program, then its tests in the same module, which is called `solution`.

    `passed` (bool), and `reason` and `message` (strings) as in `Outcome`; null where the program or the tests are.
    Programs run one after the other, and take some 50 ms more than their own time. The outcome is the same each time
    for a program that does not depend on time or chance and is not near a limit.

    Args:
        column: the program.
        tests: the column of the tests: statements that raise, such as assertions.
        timeout: seconds of processor time, rounded up to whole ones; of the clock, twice as many and one.
        memory: MiB of address space, the interpreter's own included.
        sandbox: `kernel` refuses to run where seccomp and Landlock are not to be had, `hook` goes without them.

    Raises:
        ConfigError: a limit is too small, or the kernel does not have what `kernel` asks for.
    """
    if not 0 < timeout < math.inf:
        raise ConfigError(f"code: timeout {timeout} is not a number of seconds; set a positive one")
    if memory < _LEAST_MEMORY:
        raise ConfigError(f"code: memory {memory} is below {_LEAST_MEMORY} MiB; set more")
    if sandbox == "kernel" and not kernel_fences():
        raise ConfigError("code: no seccomp and Landlock here; use Linux 5.13 on x86-64, or set sandbox: hook")

    def verify(batch: VerifyBatch) -> Columns:
        found = [
            None if program is None or test is None else run_code(program, test, timeout=timeout, memory=memory)
            for program, test in zip(batch.texts(column), batch.texts(tests), strict=True)
        ]
        return {
            "passed": pa.array([None if each is None else each.passed for each in found], pa.bool_()),
            "reason": pa.array([None if each is None else each.reason for each in found], pa.string()),
            "message": pa.array([None if each is None else each.message for each in found], pa.string()),
        }

    return verify


@functools.cache
def kernel_fences() -> bool:
    """Whether programs are held by seccomp and Landlock here."""
    outcome = run_code("", "")
    return outcome.passed and outcome.fenced


def run_code(program: str, tests: str, *, timeout: float = 5.0, memory: int = 256) -> Outcome:
    """Run a program and its tests, held as the module says by what this machine has.

    Args:
        program: Python.
        tests: Python that raises where the program is wrong.
        timeout: seconds of processor time; of the clock, twice as many and one.
        memory: MiB of address space.
    """
    with tempfile.TemporaryDirectory(prefix="curate-code-") as folder, tempfile.TemporaryFile() as report:
        job = {
            "code": program,
            "tests": tests,
            "folder": os.path.realpath(folder),
            "memory": memory * _MEBIBYTE,
            "seconds": math.ceil(timeout),
            "report": report.fileno(),
        }
        child = subprocess.Popen(
            # Not -I, which would leave out the seed of hashes: sets would be in another order each time.
            [sys.executable, "-s", "-S", "-P", "-B", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
            pass_fds=(report.fileno(),),
            start_new_session=True,
        )
        late = False
        try:
            child.communicate(json.dumps(job).encode(), timeout=2 * timeout + 1)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            _kill(child)
        report.seek(0)
        return Outcome("timeout", "") if late else _outcome(report.read(_MOST_REPORT), child.returncode)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End all that is left of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _outcome(report: bytes, status: int) -> Outcome:
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return Outcome("timeout", "")
    if status < 0:
        return Outcome("error", f"killed by {signal.Signals(-status).name}")
    try:
        said = json.loads(report)
        return Outcome(said["reason"], str(said["message"]), all(said["fences"]))
    except (ValueError, KeyError, TypeError):
        return Outcome("error", "ended before its tests did")
