"""What a command imports before there is work to do, and that importing leaves the process as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

# Each takes longer to import than a plan takes.
HEAVY = {"aiohttp", "datasets", "llvmlite", "numba", "openai", "ray", "scipy", "torch", "transformers"}
COMMAND = """
import sys
sys.argv[1:] = {arguments!r}
from curate.__main__ import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
import json
print(json.dumps(sorted(sys.modules)))
"""
# All that a process can import of this package without the extras of neural models and without Ray.
IMPORT_ALL = """
import os, pkgutil
before = dict(os.environ)
import curate, importlib
for each in pkgutil.walk_packages(curate.__path__, "curate."):
    if each.name not in ("curate.core.engine.ray", "curate.models.lm.lora_layer"):
        importlib.import_module(each.name)
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
"""
SIMPLE = """
name: simple
steps:
  docs: {read: {path: pool.jsonl}}
  scores: {score: {from: docs, gopher_quality: {}, fineweb: {}, markup: {}}}
  kept: {filter: {from: [scores], rules: [{preset: gopher-quality}]}}
  out: {release: {from: [docs, scores, kept], license: cc0-1.0, pretty_name: Simple, language: [en]}}
"""
CONVERSATIONS = """
name: conversations
steps:
  docs: {read: {path: pool.jsonl, conversations: auto}}
  scores: {score: {from: docs, turns: {}}}
  picks: {select: {from: [docs, scores], budget: 0.5, random: {seed: 1}}}
"""


def started(script: str, folder: Path = ROOT) -> str:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


def imported(*arguments: str, folder: Path = ROOT) -> set[str]:
    """The modules that a command has imported when it ends."""
    *_, last = started(COMMAND.format(arguments=list(arguments)), folder).splitlines()
    return set(json.loads(last))


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["frontier", "--help"], ["ledger", "--help"]])
def test_help_imports_no_step_and_nothing_that_computes(arguments: list[str]) -> None:
    found = imported(*arguments)
    assert not HEAVY & found
    assert not {"numpy", "pyarrow", "curate.pipeline"} & found
    assert not any(name.startswith("curate.steps.") for name in found)


@pytest.mark.parametrize("config", [SIMPLE, CONVERSATIONS])
def test_a_plan_that_asks_no_model_imports_neither_numba_nor_a_client(tmp_path: Path, config: str) -> None:
    (tmp_path / "pool.jsonl").write_text('{"text": "One line."}\n')
    (tmp_path / "pipeline.yaml").write_text(config)
    found = imported("plan", "pipeline.yaml", folder=tmp_path)
    assert not HEAVY & found
    assert {"curate.steps.read.step", "curate.steps.score.step"} <= found
    assert not {"curate.steps.train.step", "curate.steps.synthesize.step", "curate.generate.ask"} & found


def test_the_plan_of_the_quickstart_imports_neither_numba_nor_a_client(tmp_path: Path) -> None:
    generate = ROOT / "configs/quickstart/generate.py"
    subprocess.run([sys.executable, generate, tmp_path / "build/quickstart", "--documents", "100"], check=True)
    assert not HEAVY & imported("plan", str(ROOT / "configs/quickstart/pipeline.yaml"), folder=tmp_path)


def test_importing_any_part_sets_no_variable_of_the_process() -> None:
    started(IMPORT_ALL)
