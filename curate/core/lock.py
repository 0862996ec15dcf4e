"""One run at a time in a folder: the second is refused, not corrupted.

with lock("runs/demo"):
...
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from curate.core import files
from curate.core.errors import ConfigError


@contextlib.contextmanager
def lock(folder: str) -> Iterator[None]:
    """Hold the folder; the operating system lets go when the process ends, however it ends.

    An object store has no locks: there, two runs write the same bytes under the same names.

    Raises:
        ConfigError: another run holds it.
    """
    if files.is_remote(folder):
        yield
        return
    from filelock import FileLock, Timeout  # with asyncio, which a plan does without

    held = FileLock(os.path.join(folder, ".lock"), mode=0o644)
    try:
        held.acquire(blocking=False)
    except Timeout:
        raise ConfigError(f"{folder}: another run is at work here; wait for it, or choose another --root") from None
    try:
        yield
    finally:
        held.release()
