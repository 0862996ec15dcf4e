"""Features have the same bytes for any engine, number of workers and order of their pieces, and after any kill."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from curate.core.engine import Engine, Outcome, Resources
from curate.core.engine.local import LocalEngine
from tests.helpers import tree
from tests.pipelines import run_yaml
from tests.steps.select.pools import dolly

pytest.importorskip("torch")
pytestmark = pytest.mark.slow
T = TypeVar("T")
R = TypeVar("R")

CONFIG = """
name: same
steps:
  pool: {{read: {{path: {folder}/in, conversations: messages, shard_bytes: 6000}}}}
  warm: {{train: {{finetune: {{from: pool, model: {model}, lora: {{rank: 2, alpha: 4, targets: [v_proj]}}, sample: 0.2,
         context: 48, epochs: 2, batch_rows: 4}}}}}}
  some: {{features: {{from: pool, gradient: {{model: {model}, warmup: warm, dim: 256, batch_tokens: {batch_tokens}}}}}}}
"""


class Backwards:
    """The local engine, from the last item to the first; stops for good after `stop` items."""

    name = "local"

    def __init__(self, stop: int | None = None) -> None:
        self._left = stop

    def map(
        self, make: Callable[[], Callable[[T], R]], items: Sequence[T], *, resources: Resources, label: str
    ) -> Generator[Outcome[R], None, None]:
        for outcome in LocalEngine().map(make, items[::-1], resources=resources, label=label):
            yield Outcome(len(items) - 1 - outcome.index, outcome.result, outcome.error, outcome.user_error)
            if self._left is not None and "pieces" in label:
                self._left -= 1
                if not self._left:
                    raise KeyboardInterrupt


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Generator[None, None, None]:
    """Several pieces a shard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.steps.select.features.PIECE_ROWS", 4)
        yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> tuple[Path, str, dict[str, str]]:
    """The folder of the input, the config, and the tree that one worker writes."""
    folder = tmp_path_factory.mktemp("same")
    (folder / "in").mkdir()
    rows = [{"messages": [turn._asdict() for turn in each]} for each in dolly(shared, 40)]
    (folder / "in" / "pool.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    text = CONFIG.format(folder=folder, model=shared / "models" / "tiny-llama", batch_tokens=4096)
    outputs = run_yaml(folder / "one", text)
    store = outputs["some"].manifest.details["store"]
    assert isinstance(store, dict) and store["checkpoints"] == 2
    assert len(outputs["some"].shards) > 1 and len(store["pieces"]) > len(outputs["some"].shards)
    return folder, text, tree(folder / "one")


def again(reference: tuple[Path, str, dict[str, str]], name: str) -> Path:
    """A run in which all but the features is done."""
    folder, _, _ = reference
    shutil.copytree(folder / "one", folder / name, ignore=shutil.ignore_patterns("some-*"))
    return folder / name


def same(root: Path, reference: tuple[Path, str, dict[str, str]]) -> bool:
    """Whether all files are the same, but for the copy of the config."""
    found = tree(root)
    return {**found, "same/config.yaml": reference[2]["same/config.yaml"]} == reference[2]


def test_two_workers_of_ray_write_the_same_bytes(
    reference: tuple[Path, str, dict[str, str]], ray_engine: Engine
) -> None:
    root = again(reference, "ray")
    run_yaml(root, reference[1], engine=ray_engine, resources=Resources(workers=2))
    assert same(root, reference)


def test_neither_the_order_of_pieces_nor_a_stop_nor_the_batch_changes_a_byte(
    reference: tuple[Path, str, dict[str, str]],
) -> None:
    root = again(reference, "stopped")
    with pytest.raises(KeyboardInterrupt):
        run_yaml(root, reference[1], engine=Backwards(stop=3))
    done = {path: path.stat().st_mtime_ns for path in root.glob("same/some-*/part-*.npy")}
    assert done
    run_yaml(root, reference[1].replace("batch_tokens: 4096", "batch_tokens: 100"), engine=Backwards())
    assert same(root, reference)
    assert {path: path.stat().st_mtime_ns for path in done} == done


def test_three_workers_finish_a_killed_run_with_the_same_bytes(reference: tuple[Path, str, dict[str, str]]) -> None:
    root = again(reference, "killed")
    config = root.parent / "config.yaml"
    config.write_text(reference[1])
    # More workers than cores end what one began.
    code = "import curate.steps.select.features as f, curate.cli.main as c; f.PIECE_ROWS = 4; c.main()"
    run = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(config), "--root", str(root), "--progress", "quiet", "--workers", "1"]
    )
    while run.poll() is None and not list(root.glob("same/some-*/part-*.npy")):
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not list(root.glob("same/some-*/manifest.json"))
    run_yaml(root, reference[1], resources=Resources(workers=3))
    assert same(root, reference)
