"""What a release says of its making: the manifest of every step before it, and the versions of the packages.

provenance(release_inputs)        # {"provenance/docs-1f0c22aa.json": b"..."}
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence

import orjson

from curate.core import files
from curate.core.dataset import MANIFEST, Dataset

# What decides over scores and bytes. Newer versions may give other ones; the row digests then tell.
PACKAGES = ("fasttext", "kenlm", "numba", "numpy", "pyarrow", "resiliparse", "xxhash", "zstandard")


def provenance(chain: Sequence[Dataset]) -> dict[str, bytes]:
    """The manifests of all steps, as they are: they hold no time, host or path."""
    return {
        f"provenance/{each.manifest.step}-{each.manifest.digest[:8]}.json": files.read_bytes(
            files.join(each.folder, MANIFEST)
        )
        for each in chain
    }


def with_trainers(chain: Sequence[Dataset]) -> list[Dataset]:
    """The steps, after those that trained a model which one of them used, and what these were made from.

    A model enters the digest of a step by its hash, not as an input, so its trainer is found by that hash.
    """
    wanted = {str(value) for each in chain for value in models_of(each).values()}
    found: dict[str, Dataset] = {}
    for root in sorted({os.path.dirname(each.folder.rstrip("/")) for each in chain}) if wanted else ():
        for name in files.list_folders(root):
            if files.exists(files.join(root, name, MANIFEST)):
                each = Dataset.open(files.join(root, name))
                made = wanted & set(each.manifest.files.values())
                if each.manifest.kind == "train" and made:
                    wanted -= made
                    found.update((parent.manifest.digest, parent) for parent in [*each.ancestors(), each])
    found.update((each.manifest.digest, each) for each in chain)
    return list(found.values())


def models_of(dataset: Dataset) -> dict[str, str]:
    """The model files that a step read: key -> xxh3-128."""
    models = dataset.manifest.config.get("models")
    return {key: str(value) for key, value in models.items()} if isinstance(models, dict) else {}


def environment() -> bytes:
    """The versions of Python and of the packages that bear on the result, where installed."""
    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # kenlm has no build for every Python; its absence is the information
    content = {"python": platform.python_version(), "packages": versions}
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
