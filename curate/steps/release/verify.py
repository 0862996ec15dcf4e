"""Whether a release is what its MANIFEST.json says, file by file and row group by row group.

for problem in verify("runs/demo/out-1f0c22aa"):
    print(problem)
"""

from __future__ import annotations

import itertools
import posixpath
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from curate.core import files
from curate.core.dataset import MANIFEST as STEP_MANIFEST
from curate.core.dataset import Dataset
from curate.core.digest import RowDigest
from curate.core.errors import ConfigError
from curate.steps.release.parquet import Entry, file_hash, read_groups, schema_hash
from curate.steps.release.write import MANIFEST, RELEASE

# What the Hub and git put beside the files of a dataset.
_FOREIGN = (".git/", ".cache/", ".gitattributes")


class _Totals(BaseModel):
    files: int
    bytes: int
    rows: int


class _Release(BaseModel):
    format: int
    files: list[Entry]
    totals: _Totals


def verify(folder: str) -> list[str]:
    """Recompute everything that the manifest says.

    Args:
        folder: of a release, of the step that made it, or of the run.

    Returns:
        The problems, a line each; none when everything is as the manifest says.

    Raises:
        ConfigError: there is no release, or more than one.
    """
    root = find_release(folder)
    try:
        release = _Release.model_validate_json(files.read_bytes(files.join(root, MANIFEST)))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return [f"{MANIFEST}: is damaged{f' at {place}' if place else ''}: {first['msg']}"]
    if release.format != 1:
        return [f"{MANIFEST}: has format {release.format}, and this Curate knows 1; use a newer one"]
    problems = list(_against_step(root))
    there = set(_walk(root)) - {MANIFEST}
    listed = [entry.path for entry in release.files]
    problems += [f"{MANIFEST}: lists {path} twice" for path, n in Counter(listed).items() if n > 1]
    for entry in release.files:
        if posixpath.isabs(entry.path) or ".." in entry.path.split("/"):
            problems.append(f"{MANIFEST}: lists {entry.path}, which is outside the release")
        elif entry.path not in there:
            problems.append(f"{entry.path}: is missing")
        else:
            found = _check(files.join(root, entry.path), entry)
            problems += [f"{entry.path}: {problem}" for problem in found]
    problems += [f"{path}: is not in {MANIFEST}" for path in sorted(there - set(listed))]
    sums = {
        "files": len(release.files),
        "bytes": sum(entry.bytes for entry in release.files),
        "rows": sum(entry.rows or 0 for entry in release.files),
    }
    for name, value in sums.items():
        stated = getattr(release.totals, name)
        if stated != value:
            problems.append(f"{MANIFEST}: totals.{name} is {stated}, but its files have {value}")
    return problems


def find_release(folder: str) -> str:
    """The folder that has the MANIFEST.json.

    Raises:
        ConfigError: there is none, or more than one.
    """
    for place in (folder, files.join(folder, RELEASE)):
        if files.exists(files.join(place, MANIFEST)):
            return place
    inside = files.list_folders(folder) if files.exists(folder) else []
    found = [name for name in inside if files.exists(files.join(folder, name, RELEASE, MANIFEST))]
    if len(found) > 1:
        raise ConfigError(f"{folder}: holds {len(found)} releases; name one: {', '.join(found)}")
    if not found:
        raise ConfigError(f"{folder}: holds no {MANIFEST}, so it is no release; name the folder of one")
    return files.join(folder, found[0], RELEASE)


def _against_step(root: str) -> Iterator[str]:
    """Whether the manifest itself is the one that the step wrote, where the step's folder is still around."""
    step = files.join(posixpath.dirname(root.rstrip("/")), STEP_MANIFEST)
    if posixpath.basename(root.rstrip("/")) == RELEASE and files.exists(step):
        written = Dataset.open(posixpath.dirname(step)).manifest.files.get(f"{RELEASE}/{MANIFEST}")
        if written is not None and written != files.content_hash(files.join(root, MANIFEST)):
            yield f"{MANIFEST}: is not the one that the release step wrote"


def _walk(root: str) -> Iterator[str]:
    """All files below a folder, by their paths in it."""
    fs, path = files.file_system(root)
    for each in fs.find(path):
        name = posixpath.relpath(each, path)
        if not name.startswith(_FOREIGN):
            yield name


def _check(url: str, entry: Entry) -> Iterator[str]:
    size, sha256 = file_hash(url)
    if size != entry.bytes:
        yield f"has {size} bytes, not {entry.bytes}"
    if sha256 != entry.sha256:
        yield f"has the sha256 {sha256[:16]}..., not {entry.sha256[:16]}..."
    if entry.rows is None:
        return
    with files.open_input(url) as stream:
        try:
            reader = pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            yield f"cannot be read as Parquet: {' '.join(str(error).split())}"
            return
        yield from _check_rows(reader, entry)


def _check_rows(reader: pq.ParquetFile, entry: Entry) -> Iterator[str]:
    if schema_hash(reader.schema_arrow) != entry.schema:
        yield "has other columns or types than when it was written"
    if reader.metadata.num_rows != entry.rows:
        yield f"has {reader.metadata.num_rows} rows, not {entry.rows}"
    rows = RowDigest()
    groups = read_groups(reader)
    start = 0
    for number in itertools.count():
        place = f"row group {number}"
        try:
            table, group = next(groups)
        except StopIteration:
            break
        except (pa.ArrowException, OSError) as error:
            yield f"{place} (from row {start}) cannot be read: {' '.join(str(error).split())}"
            return
        rows.update(table)
        expected = entry.groups[number] if number < len(entry.groups) else None
        if expected is None or group != expected:
            named = table.num_rows and "id" in table.column_names
            first = f", the first with id {table.column('id')[0]}" if named else ""
            yield f"{place} (rows {start} to {start + group.rows - 1}{first}) has other values"
        start += group.rows
    if rows.hexdigest() != entry.digest:
        yield f"its rows have the digest {rows.hexdigest()}, not {entry.digest}"
