"""Hashes of the files that a pipeline reads, remembered while a file's size and time stay.

known = Fingerprints("runs/demo")
known.of("data/pages.jsonl")
known.save()
"""

from __future__ import annotations

import os

import orjson

from curate.core import files

MEMORY = ".fingerprints.json"


class Fingerprints:
    """The memory of one run's folder; a place without that folder has none."""

    def __init__(self, folder: str) -> None:
        self._path = files.join(folder, MEMORY)
        self._known: dict[str, str] = {}
        if files.exists(self._path):
            self._known = orjson.loads(files.read_bytes(self._path))
        self._saved = len(self._known)

    def of(self, url: str, stamp: str = "") -> str:
        """The hash of what a file or folder holds; for an object in a store its own tag (`stamp`), if it has one."""
        if files.is_folder(url):
            return files.folder_hash({each.name: self.of(each.url, each.stamp) for each in files.list_inputs(url)})
        if files.is_remote(url):
            return stamp or files.content_hash(url)
        status = os.stat(url)
        key = f"{url}|{status.st_size}|{status.st_mtime_ns}"
        if key not in self._known:
            self._known[key] = files.content_hash(url)
        return self._known[key]

    def save(self) -> None:
        """Write what is new, where the folder is there."""
        if len(self._known) > self._saved and files.exists(os.path.dirname(self._path)):
            with files.atomic_output(self._path) as out:
                out.write(orjson.dumps(self._known))
            self._saved = len(self._known)
