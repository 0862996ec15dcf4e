"""Native kernels over Arrow string buffers: splitting, counting and hashing, once per batch.

    batch = TextBatch.of(["Some text."])
    batch.words("uax29")

Machine code is kept in `~/.cache/curate` (or below NUMBA_CACHE_DIR), in a folder that is named by the processor and
by the source of all kernels (this folder and those below, and files elsewhere named `*_kernel.py`). Numba itself looks
at the file of a kernel alone, and would run stale code when a kernel that it calls has changed. It does look at the
processor, but two machines that compile at once in a home folder that they share can write one's code under the
other's name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import numba
import numba.core.config
from llvmlite import binding


def kernels_key(package: Path) -> str:
    """What machine code is good for: this processor and numba, and the source of all kernels of a copy of curate/."""
    digest = hashlib.sha256(numba.__version__.encode())
    digest.update(f"{binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}".encode())
    for source in sorted({*package.glob("text/**/*.py"), *package.glob("**/*_kernel.py")}):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path:
    name = f"kernels-{kernels_key(Path(__file__).parents[1])}"
    wanted = os.environ.get("NUMBA_CACHE_DIR")
    if wanted and Path(wanted).name == name:
        return Path(wanted)  # a worker of a process that has set it
    cache = Path(wanted or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for base in (
        cache if wanted else cache / "curate",
        Path(tempfile.gettempdir()) / f"curate-{os.getuid()}",
    ):
        with contextlib.suppress(OSError):
            (base / name).mkdir(parents=True, exist_ok=True)
            if os.access(base / name, os.W_OK):
                return base / name
    return cache


# Workers inherit the variable; the setting is for this process, which has imported Numba already.
os.environ["NUMBA_CACHE_DIR"] = str(_cache_folder())
setattr(numba.core.config, "CACHE_DIR", os.environ["NUMBA_CACHE_DIR"])  # noqa: B010  # made at run time, unknown to mypy
