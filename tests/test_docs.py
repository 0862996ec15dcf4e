"""Every command that a page in docs/ shows is run in the order of the page, in a copy of what the page needs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.command import curate
from tests.golden.record import PAGES, ROOT, check_or_keep


def commands(page: Path) -> list[str]:
    """The lines after `$ ` of the console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    for folder in ("docs", "configs", "curate"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", tmp_path)
    lines = commands(page)
    assert lines, f"{page.name} shows no command"
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "curate", f"{page.name}: {line}: the commands of a page are `curate ...`"
        done = curate(*words[1:], folder=tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    check_or_keep(page.stem, tmp_path)
