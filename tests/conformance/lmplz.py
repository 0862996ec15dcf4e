"""KenLM's `lmplz`, to compare with: from LMPLZ, from the PATH, or built once from the sources on PyPI."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

SOURCE = "kenlm==0.3.0"


def find_or_build() -> str | None:
    """The path of an `lmplz`, or None where there is none and it cannot be built.

    The build takes a minute or two, needs cmake, a C++ compiler and the development files of boost, and is
    kept in CURATE_LMPLZ_BUILD (default: below `~/.cache/curate`); of several processes one builds, and the others wait.
    """
    given = os.environ.get("LMPLZ") or shutil.which("lmplz")
    if given:
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("CURATE_LMPLZ_BUILD") or cache / "curate" / SOURCE.replace("==", "-"))
    program = folder / "build" / "bin" / "lmplz"
    if not program.is_file() and not (shutil.which("cmake") and shutil.which("c++")):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not program.is_file():
            try:
                _build(folder)
            except subprocess.CalledProcessError:
                return None
    return str(program)


def _build(folder: Path) -> None:
    # An environment with setuptools, and no isolation: pip would else compile cmake itself, only to read the
    # name of the package.
    venv.create(folder / "env", with_pip=True)
    pip = [str(folder / "env" / "bin" / "python"), "-m", "pip"]
    _quietly(*pip, "install", "setuptools", "wheel")
    options = ["--no-binary", "kenlm", "--no-deps", "--no-build-isolation", "--dest", str(folder)]
    _quietly(*pip, "download", *options, SOURCE)
    with tarfile.open(next(folder.glob("kenlm-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    sources = next(path for path in folder.glob("kenlm-*") if path.is_dir())
    build = str(folder / "build")
    _quietly("cmake", "-S", str(sources), "-B", build, "-DCMAKE_BUILD_TYPE=Release")
    _quietly("cmake", "--build", build, "--target", "lmplz", "--parallel", "2")


def _quietly(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fit(
    program: str, lines: list[str], order: int, prune: Sequence[int] = (), vocabulary: Sequence[str] | None = None
) -> str:
    """The ARPA file that `lmplz --discount_fallback` makes of the lines, pruned, and limited to a vocabulary."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-o", str(order), "--discount_fallback", "-S", "200M", "-T", folder]
        if prune:
            command += ["--prune", *map(str, prune)]
        if vocabulary is not None:
            (Path(folder) / "words").write_text(" ".join(vocabulary), encoding="utf-8")
            command += ["--limit_vocab_file", str(Path(folder) / "words")]
        text = "".join(f"{line}\n" for line in lines)
        return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout.decode()
