"""The promise of the project: the same bytes for any engine, any number of workers, and after any kill."""

from __future__ import annotations

import itertools
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


Reference = tuple[Path, str, dict[str, str]]


def lines_of(path: Path, count: int | None = None) -> list[str]:
    with zstandard.open(path, "rt", encoding="utf-8") as stream:
        return list(itertools.islice(stream, count))


def write_pages(folder: Path, shared: Path, each: int) -> None:
    """So many real pages in each of five files, with broken lines and copies among them."""
    (folder / "in").mkdir(parents=True)
    pages = [json.loads(line) for line in lines_of(shared / "data" / "cc_clean_misc.dev.jsonl.zst", 5 * each)]
    for i in range(5):
        some = pages[each * i : each * i + each + 2]
        lines = [json.dumps({"text": page["text"], "url": page["url"]}) for page in some]
        lines.insert(7, '{"text": "cut sho')
        (folder / "in" / f"{i}.jsonl").write_text("\n".join(lines) + "\n")


def config(folder: Path, good: Path, poor: Path, *, docs_bytes: int, good_bytes: int) -> str:
    """Every kind of step that reads text alone, over the pages in a folder; two models learn from two files."""
    return f"""
name: same
steps:
  docs: {{read: {{path: {folder}/in, shard_bytes: {docs_bytes}}}}}
  good: {{read: {{path: {good}, shard_bytes: {good_bytes}}}}}
  poor: {{read: {{path: {poor}}}}}
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


def run_by_one(folder: Path, text: str) -> Reference:
    """The folder of the input, the config, and the tree that one worker writes."""
    outputs = run_yaml(folder / "one", text, resources=Resources(workers=1))
    assert outputs["docs"].manifest.quarantined == 5
    assert 0 < outputs["out"].rows < outputs["docs"].rows
    assert len(outputs["docs"].shards) > 5
    return folder, text, tree(folder / "one")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Reference:
    """Two hundred pages."""
    folder = tmp_path_factory.mktemp("same")
    write_pages(folder, shared, 40)
    good, poor = (shared / "data" / f"{name}.dev.jsonl.zst" for name in ("hq_text", "lowq_webtext_nltk"))
    return run_by_one(folder, config(folder, good, poor, docs_bytes=60_000, good_bytes=3_000_000))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Reference:
    """Sixty pages, and models of forty texts of each kind."""
    folder = tmp_path_factory.mktemp("small")
    write_pages(folder, shared, 12)
    good, poor = folder / "good.jsonl", folder / "poor.jsonl"
    for path, name in ((good, "hq_text"), (poor, "lowq_webtext_nltk")):
        path.write_text("".join(lines_of(shared / "data" / f"{name}.dev.jsonl.zst", 40)))
    return run_by_one(folder, config(folder, good, poor, docs_bytes=20_000, good_bytes=600_000))


def command_for(folder: Path, text: str, root: Path) -> list[str]:
    """The command that runs the config under `root`."""
    path = folder / "config.yaml"
    path.write_text(text)
    return [sys.executable, "-m", "curate", "run", str(path), "--root", str(root), "--progress", "quiet"]


def test_two_workers_write_the_same_bytes_as_one(reference: Reference) -> None:
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


def test_two_workers_of_two_threads_write_the_same_scores_by_models_as_one_of_one(
    reference: Reference, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = reference
    text = MODELS.format(folder=folder, shared=shared)
    outputs = run_yaml(folder / "models-one", text, resources=Resources(workers=1))
    assert len(outputs["scores"].shards) > 5
    # The models as they are, so that the scores alone are made again.
    shutil.copytree(folder / "models-one", folder / "models-two", ignore=shutil.ignore_patterns("scores-*"))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    run_yaml(folder / "models-two", text, resources=Resources(workers=2))
    assert tree(folder / "models-two") == tree(folder / "models-one")
    check_or_keep("models", folder / "models-two")


def test_ray_writes_the_same_bytes_as_one_process(small: Reference, ray_engine: Engine) -> None:
    folder, text, expected = small
    run_yaml(folder / "ray", text, engine=ray_engine, resources=Resources(workers=2))
    assert tree(folder / "ray") == expected


def test_ten_kills_at_random_moments_change_nothing(small: Reference) -> None:
    folder, text, expected = small
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
            run.wait(timeout=moments.uniform(0.15, 0.6) * whole)
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


def test_the_hash_seed_of_python_changes_nothing(small: Reference) -> None:
    folder, text, expected = small
    command = [*command_for(folder, text, folder / "seed"), "--workers", "1"]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "PYTHONHASHSEED": "4242"})
    assert tree(folder / "seed") == expected
