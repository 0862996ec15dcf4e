"""The promise of the project: the same bytes for any engine, any number of workers, and after any kill."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

from curate.core.engine import Engine, Resources
from tests.golden.record import check_or_keep
from tests.helpers import tree
from tests.pipelines import run_yaml

pytestmark = pytest.mark.slow


def write_config(folder: Path, shared: Path) -> str:
    """Two hundred real pages in several files, with broken lines and copies among them."""
    (folder / "in").mkdir(parents=True)
    with zstandard.open(shared / "data" / "cc_clean_misc.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        pages = [json.loads(line) for line in stream][:200]
    for i in range(5):
        lines = [json.dumps({"text": page["text"], "url": page["url"]}) for page in pages[40 * i : 40 * i + 42]]
        lines.insert(7, '{"text": "cut sho')
        (folder / "in" / f"{i}.jsonl").write_text("\n".join(lines) + "\n")
    return f"""
name: same
steps:
  docs: {{read: {{path: {folder}/in, shard_bytes: 60000}}}}
  good: {{read: {{path: {shared}/data/hq_text.dev.jsonl.zst, shard_bytes: 3000000}}}}
  poor: {{read: {{path: {shared}/data/lowq_webtext_nltk.dev.jsonl.zst}}}}
  cls: {{train: {{fasttext: {{positive: good, negative: poor, dim: 8, bucket: 20000, epoch: 2}}}}}}
  lm: {{train: {{ngram: {{from: poor, order: 3}}}}}}
  clean: {{clean: {{from: docs, c4: {{}}, pii: {{}}}}}}
  scores:
    score:
      from: clean
      gopher_quality: {{}}
      gopher_repetition: {{}}
      fineweb: {{}}
      quality: {{model: cls, label: hq}}
      perplexity: {{model: lm}}
  dups: {{dedup: {{from: docs, exact: {{}}}}}}
  kept: {{filter: {{from: [scores, dups], rules: [{{preset: gopher-quality}}, {{column: quality, top: 0.8}}]}}}}
  out: {{release: {{from: [clean, scores, kept], license: cc0-1.0, rejected: true, file_bytes: 100000}}}}
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> tuple[Path, str, dict[str, str]]:
    """The folder of the input, the config, and the tree that one worker writes."""
    folder = tmp_path_factory.mktemp("same")
    text = write_config(folder, shared)
    outputs = run_yaml(folder / "one", text, resources=Resources(workers=1))
    assert outputs["docs"].manifest.quarantined == 5
    assert 0 < outputs["out"].rows < outputs["docs"].rows
    assert len(outputs["docs"].shards) > 5
    return folder, text, tree(folder / "one")


def command_for(folder: Path, text: str, root: Path) -> list[str]:
    """The command that runs the config under `root`."""
    config = folder / "config.yaml"
    config.write_text(text)
    return [sys.executable, "-m", "curate", "run", str(config), "--root", str(root), "--progress", "quiet"]


def test_two_workers_write_the_same_bytes_as_one(reference: tuple[Path, str, dict[str, str]]) -> None:
    folder, text, expected = reference
    run_yaml(folder / "two", text, resources=Resources(workers=2))
    assert tree(folder / "two") == expected
    check_or_keep("same-bytes", folder / "two")


MODELS = """
name: models
steps:
  docs: {{read: {{path: {folder}/in, shard_bytes: 60000}}}}
  poor: {{read: {{path: {shared}/data/lowq_webtext_nltk.dev.jsonl.zst}}}}
  cls: {{train: {{fasttext: {{positive: docs, negative: poor, dim: 8, bucket: 20000, epoch: 1}}}}}}
  lm: {{train: {{ngram: {{from: poor, order: 3}}}}}}
  ratios: {{train: {{dsir: {{target: docs, raw: poor}}}}}}
  lengths: {{score: {{from: docs, lines: {{}}}}}}
  edu: {{train: {{embedding: {{from: docs, labels: lengths, label: lines_lines, highest: 1000000, threshold: 20,
       context: 32, encoder: {shared}/models/tiny-llama}}}}}}
  scores:
    score:
      from: docs
      quality: {{model: cls, label: hq}}
      perplexity: {{model: lm}}
      dsir: {{model: ratios}}
      edu: {{scorer: embedding, model: edu}}
      causal_lm: {{model: {shared}/models/tiny-llama, max_chars: 200}}
"""


def test_two_workers_write_the_same_scores_by_models_as_one(
    reference: tuple[Path, str, dict[str, str]], shared: Path
) -> None:
    folder, _, _ = reference
    text = MODELS.format(folder=folder, shared=shared)
    outputs = run_yaml(folder / "models-one", text, resources=Resources(workers=1))
    assert len(outputs["scores"].shards) > 5
    # The models as they are, so that the scores alone are made again.
    shutil.copytree(folder / "models-one", folder / "models-two", ignore=shutil.ignore_patterns("scores-*"))
    run_yaml(folder / "models-two", text, resources=Resources(workers=2))
    assert tree(folder / "models-two") == tree(folder / "models-one")
    check_or_keep("models", folder / "models-two")


def test_ray_writes_the_same_bytes_as_one_process(
    reference: tuple[Path, str, dict[str, str]], ray_engine: Engine
) -> None:
    folder, text, expected = reference
    run_yaml(folder / "ray", text, engine=ray_engine, resources=Resources(workers=2))
    assert tree(folder / "ray") == expected


def test_ten_kills_at_random_moments_change_nothing(reference: tuple[Path, str, dict[str, str]]) -> None:
    folder, text, expected = reference
    root = folder / "killed"
    command = [*command_for(folder, text, root), "--workers", "2"]

    started = time.monotonic()
    subprocess.run(command, check=True, timeout=300)
    whole = time.monotonic() - started
    assert tree(root) == expected
    shutil.rmtree(root)

    moments = random.Random(20)
    kills = 0
    deadline = time.monotonic() + 400
    while kills < 10 and time.monotonic() < deadline:
        run, started = subprocess.Popen(command), time.monotonic()
        try:
            run.wait(timeout=moments.uniform(0.2, 0.9) * whole)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.wait()
            kills += 1
        else:
            whole = time.monotonic() - started  # it was done before its moment came
            shutil.rmtree(root)
    assert kills == 10
    subprocess.run(command, check=True, timeout=300)
    assert tree(root) == expected
    assert not [path for path in root.rglob("*") if path.name.endswith(".tmp") or path.name == ".receipts"]


def test_the_hash_seed_of_python_changes_nothing(reference: tuple[Path, str, dict[str, str]]) -> None:
    folder, text, expected = reference
    command = command_for(folder, text, folder / "seed")
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "PYTHONHASHSEED": "4242"})
    assert tree(folder / "seed") == expected
