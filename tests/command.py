"""The command: within the process of the tests, which knows all modules, or in one of its own, as a shell starts it."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from curate.__main__ import main

Done = subprocess.CompletedProcess[str]


def curate(*arguments: str, folder: Path) -> Done:
    """The command in this process: what it prints, and the code that it ends with."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(folder),
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["curate", *arguments])
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(arguments, code, out.getvalue(), err.getvalue())


def process(*arguments: str, folder: Path, **more: object) -> Done:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "curate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=240, **more)  # type: ignore[call-overload]
