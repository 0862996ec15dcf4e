"""Errors that a person is meant to read: one line that says what is wrong and what to do.

    raise ConfigError("steps.scores.score: no scorer 'gofer'; did you mean 'gopher_quality'?")

Anything else that escapes is a defect of Curate and keeps its traceback.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class CurateError(Exception):
    """What is wrong and what to do about it, in one line."""

    exit_code = 1


class ConfigError(CurateError):
    """The command, the configuration or an input that it names is wrong; nothing was run."""

    exit_code = 2


class ModelError(ConfigError):
    """A model file is missing, damaged or of another kind than the scorer needs."""


class RunError(CurateError):
    """The run stopped; what was done is kept and the same command goes on from there."""


_FILE_SYSTEM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than this place allows",
    errno.EROFS: "the place is read-only",
    errno.EACCES: "may not be read or written",
}


def describe(error: Exception) -> str:
    """An exception in one line: Curate's own as they are, those of the file system in words, others with their type."""
    if isinstance(error, OSError) and error.errno in _FILE_SYSTEM:
        return f"{error.filename or 'output'}: {_FILE_SYSTEM[error.errno]}; mend that"
    text = " ".join(str(error).split())
    return text if isinstance(error, CurateError) else f"{type(error).__name__}: {text}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not in `known`: the closest name, or the list.

    >>> nearest("gofer_quality", ["gopher_quality", "c4"])
    "did you mean 'gopher_quality'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(each or "''" for each in names) if names else "there are none"
