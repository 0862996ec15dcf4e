"""The golden record: a change of the code that keeps behaviour keeps every line of it.

    python -m tests.golden.record identities     # after a change that was meant: read the diff of the file, line by line
    python -m tests.golden.record runs           # the same for what runs wrote; some minutes

`identities.json` has, for every config in configs/, each step's kind, version, identity, inputs, models and endpoints:
all that enters the step's digest except what lies outside of the config. `runs.json` has the manifest of each step
that pages in docs/, the quickstarts and the tests of same bytes run, as a hash: digests, counts, details, and the digests of all shards.
Where models had a hand the numbers are those of one kind of processor, so these are compared on that kind only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.core import bits
from curate.kinds import KINDS
from curate.pipeline import Pipeline
from tests.helpers import ROOT

IDENTITIES = Path(__file__).parent / "identities.json"
RUNS = Path(__file__).parent / "runs.json"
PIPELINES = [path for path in sorted((ROOT / "configs").rglob("*.yaml")) if "\nsteps:" in path.read_text()]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
# Pages whose configs read the project's own pages and code, which change; what such models make is on record in
# `same-bytes`, `models` and `quickstart-selection`, from texts that do not.
OWN_TEXT = {
    page.stem
    for page in PAGES
    for name in re.findall(r"configs/examples/[\w-]+\.yaml", page.read_text())
    if re.search(r"path: .*\b(README\.md|docs/|curate/)", (ROOT / name).read_text())
}
# Kinds that compute the same numbers everywhere unless a model's are among what they read.
_EXACT = {"read", "clean", "score", "dedup", "filter", "bucket", "verify", "judge", "gather", "synthesize", "release"}


def identity_of(path: Path) -> dict[str, Any]:
    """What each step of a config means, by its name."""
    return {
        node.name: {
            "kind": node.kind,
            "version": KINDS[node.kind].version,
            "identity": node.config.identity(),
            "inputs": node.config.inputs(),
            "models": node.config.models(),
            "endpoints": node.config.endpoints(),
        }
        for node in Pipeline.load(str(path)).nodes
    }


def manifests(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The hashes of all manifests below a folder, by where they lie: those that hold anywhere, and the others."""
    found = {str(path.parent.relative_to(folder)): path.read_bytes() for path in folder.rglob("manifest.json")}
    read: dict[str, Any] = {place: json.loads(data) for place, data in found.items()}
    by_digest = {manifest["digest"]: manifest for manifest in read.values()}

    def holds_anywhere(manifest: Mapping[str, Any]) -> bool:
        return (
            manifest["kind"] in _EXACT
            and not manifest["config"].get("models")
            and not manifest["bits"]
            and all(each in by_digest and holds_anywhere(by_digest[each]) for each in manifest["inputs"].values())
        )

    anywhere: dict[str, str] = {}
    here: dict[str, str] = {}
    for place in sorted(found):
        into = anywhere if holds_anywhere(read[place]) else here
        into[place] = hashlib.sha256(found[place]).hexdigest()[:16]
    return anywhere, here


def environment() -> str:
    """What numbers of models depend on: the kind of processor, and whether torch is there."""
    return f"{bits.processor()}{'' if importlib.util.find_spec('torch') else ', no torch'}"


def check_run(name: str, folder: Path) -> None:
    """See that what a page or quickstart wrote below a folder is what is on record."""
    record = json.loads(RUNS.read_text())
    expected = record["runs"].get(name, {"anywhere": {}, "here": {}})  # a page may run nothing that writes a dataset
    anywhere, here = manifests(folder)
    assert anywhere == expected["anywhere"], f"{name}: other bytes than on record"
    if environment() == record["environment"]:
        assert here == expected["here"], f"{name}: other numbers of models than on record"


def _write(path: Path, record: object) -> None:
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _record_identities() -> None:
    lines = []
    for path in PIPELINES:
        steps = [f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in identity_of(path).items()]
        lines.append(f" {json.dumps(str(path.relative_to(ROOT)))}: {{\n" + ",\n".join(steps) + "\n }")
    IDENTITIES.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _record_runs() -> None:
    """Each page and quickstart by its test, which leaves what it wrote in a folder of its own."""
    runs = {}
    with tempfile.TemporaryDirectory() as kept:
        tests = ["tests/test_docs.py", "tests/test_configs.py", "tests/quickstart", "tests/test_same_bytes.py"]
        env = {**os.environ, "GOLDEN": kept}
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "2", *tests, "-k", "not kills"], cwd=ROOT, env=env, check=True
        )
        for folder in sorted(Path(kept).iterdir()):
            anywhere, here = manifests(folder)
            runs[folder.name] = {"anywhere": anywhere, "here": here}
    _write(RUNS, {"environment": environment(), "runs": runs})


def check_or_keep(name: str, folder: Path) -> None:
    """`check_run`; while a record is made, keep the manifests for it instead."""
    kept = os.environ.get("GOLDEN")
    if name in OWN_TEXT:
        return
    if not kept:
        check_run(name, folder)
        return
    for path in folder.rglob("manifest.json"):
        place = Path(kept) / name / path.parent.relative_to(folder)
        place.mkdir(parents=True)
        shutil.copy(path, place)


if __name__ == "__main__":
    {"identities": _record_identities, "runs": _record_runs}[sys.argv[1]]()
