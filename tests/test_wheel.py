"""The wheel has all that the package needs: what an editable install would find in the checkout alone is missed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.helpers import ROOT


def run(cwd: Path, *command: str | Path) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment that has this package from its wheel, and the others from where they are."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "curate", source / "curate", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(folder, *pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", source)
    (wheel,) = (folder / "dist").iterdir()
    run(folder, sys.executable, "-m", "venv", "--without-pip", folder / "env")
    python = folder / "env" / "bin" / "python"
    run(folder, *pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    # A line of a .pth file adds a folder but reads no .pth file in it, so an editable install there is not seen.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    home = run(folder, python, "-c", "import curate; print(curate.__file__)")
    assert Path(home.strip()).is_relative_to(site)
    return python.parent


@pytest.mark.slow
def test_the_quickstart_of_synthesis_runs_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    # Not the one of documents: a new place of the package has all kernels compiled anew, and that one needs most.
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    run(tmp_path, installed / "curate", "run", "configs/quickstart/questions.yaml", "--replay")
    folder = tmp_path / "runs" / "quickstart-questions"
    assert "<svg" in (folder / "report.html").read_text()
    (card,) = folder.glob("out-*/release/README.md")
    assert "load_dataset" in card.read_text()


def test_the_recipes_that_come_along_are_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    shipped = [path.stem for path in (ROOT / "curate" / "steps" / "synthesize" / "recipes").glob("*.yaml")]
    listed = run(tmp_path, installed / "curate", "recipes")
    assert shipped and all(name in listed for name in shipped)


def test_every_file_that_is_not_code_is_in_the_wheel(installed: Path) -> None:
    (site,) = installed.parent.glob("lib/python*/site-packages")
    wanted = {path.relative_to(ROOT) for path in (ROOT / "curate").rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert wanted and not {path for path in wanted if not (site / path).is_file()}
