"""Who may import whom. A stage knows the ground it stands on and nothing of its neighbours."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "curate"

STAGES = {"read", "score", "train", "clean", "dedup", "filter", "select", "synthesize", "verify", "release", "report"}
# What the stages stand on may not know them; `text` knows the ground alone.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "csv_table": {"errors", "files"},
    "digest": set(),
    "draw": set(),
    "bits": {"errors", "files"},
    "config": {"errors", "files", "digest"},
    "dataset": {"bits", "errors", "files", "digest", "shards"},
    "lock": {"errors", "files"},
    "fasttext_run": {"errors"},
    "fingerprints": {"files"},
    "progress": set(),
    "engine": {"bits", "errors"},
    "shards": {"errors", "files", "digest"},
    "step": {"bits", "errors", "files", "digest", "config", "dataset", "shards", "engine", "progress"},
    "map_shard": {"errors", "files", "dataset", "shards", "step"},
    "text": {"errors", "files"},
    "ngram": {"errors", "files", "text"},
    "neural": {"bits", "errors", "files", "config"},
    "chat": {"errors", "files", "dataset", "shards", "neural"},
    "recipes": set(),
    "generate": {"errors", "files", "config", "digest", "shards", "step"},
    **{
        stage: {
            "csv_table",
            "errors",
            "files",
            "digest",
            "draw",
            "config",
            "dataset",
            "shards",
            "step",
            "map_shard",
            "text",
        }
        for stage in STAGES
    },
    "summary": {"dataset", "digest", "errors", "files"},
    "explain": {
        "chat",
        "config",
        "dataset",
        "digest",
        "draw",
        "errors",
        "explain_made",
        "explain_pick",
        "files",
        "score",
        "shards",
        "text",
    },
    "explain_made": {"chat", "dataset", "errors", "files", "generate", "shards"},
    "explain_pick": {"chat", "dataset", "select"},
}
for stage in ("train", "synthesize"):
    ALLOWED[stage] = ALLOWED[stage] | {"fasttext_run"}
for stage in ("score", "train"):
    ALLOWED[stage] = ALLOWED[stage] | {"ngram", "neural"}
for stage in ("score", "filter"):
    ALLOWED[stage] = ALLOWED[stage] | {"recipes"}
for stage in ("read", "score", "train", "clean", "dedup", "select", "synthesize", "release", "report"):
    ALLOWED[stage] = ALLOWED[stage] | {"chat"}
for stage in ("select", "synthesize", "verify"):
    ALLOWED[stage] = ALLOWED[stage] | {"neural"}
for stage in ("synthesize", "verify"):
    ALLOWED[stage] = ALLOWED[stage] | {"chat", "clean", "generate", "score"}
ALLOWED["synthesize"] = ALLOWED["synthesize"] | {"verify"}
ALLOWED["report"] = ALLOWED["report"] | {"summary"}
ALLOWED["release"] = ALLOWED["release"] | {"summary"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    layer = part(path)
    if layer not in ALLOWED:
        return  # pipeline and cli stand above all
    for name in imports(path):
        if name.startswith("curate."):
            other = name.split(".")[1]
            if (PACKAGE / other).is_dir() or (PACKAGE / f"{other}.py").is_file():
                assert other == layer or other in ALLOWED[layer], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_ray_is_imported_in_one_place(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix() == "engine/ray.py":
        return
    assert not any(name == "ray" or name.startswith("ray.") for name in imports(path))


def test_code_that_native_kernels_are_made_of_is_where_the_cache_looks_for_it() -> None:
    for path in modules():
        if path.parent.name != "text" and not path.name.endswith("_kernel.py"):
            assert "curate.text.native.kernel" not in imports(path), f"{path.name}: call it *_kernel.py"


def test_nobody_imports_the_ray_engine_at_the_top() -> None:
    for path in modules():
        assert "curate.engine.ray" not in imports(path), f"{path.name}: ask for it by name, when a run does"


def test_no_file_grows_past_350_lines() -> None:
    long = {p.name: n for p in modules() if (n := len(p.read_text().splitlines())) > 350 and "tables" not in p.name}
    assert not long
