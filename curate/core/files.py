"""Files by path or URL: list them, read them, and write them so that a name means a whole file.

with atomic_output("runs/demo/part-00000.parquet") as out:
out.write(data)           # under a temporary name until the block ends well
"""

from __future__ import annotations

import contextlib
import glob as globbing
import os
import posixpath
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import xxhash

from curate.core.errors import ConfigError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MODEL_FILE = "model file"
# The type of a config field that names a model, a file or a folder: its content enters the digest of the step.
ModelFile = Annotated[str, MODEL_FILE]

_WILD = "*?["


@dataclass(frozen=True)
class InputFile:
    """One file of an input: where it is, its name below the input's root, and its identity."""

    url: str
    name: str
    size: int
    stamp: str  # what changes when the content may have: mtime in ns, or the store's own tag


def is_remote(url: str) -> bool:
    """Whether `url` names another file system than the local one."""
    return "://" in url and not url.startswith("file://")


def file_system(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a path or URL, and its name there; imported here, as local files need none of it."""
    import fsspec.core

    fs, path = fsspec.core.url_to_fs(url)
    return fs, path


def absolute(url: str) -> str:
    """The same place for a process that works in another folder."""
    return url if is_remote(url) else os.path.abspath(url.removeprefix("file://"))


def shown(url: str) -> str:
    """A path as a person would type it here."""
    if is_remote(url):
        return url
    relative = os.path.relpath(url)
    return url if relative.startswith("..") else relative


def join(folder: str, *parts: str) -> str:
    """Join a folder, local or remote, and names below it."""
    return posixpath.join(folder, *parts)


def open_input(url: str) -> BinaryIO:
    """Open a local path or an fsspec URL for reading bytes; no decompression.

    Raises:
        ConfigError: the file is not there or may not be read.
    """
    try:
        if is_remote(url):
            fs, path = file_system(url)
            return cast(BinaryIO, fs.open(path, "rb"))
        return open(url.removeprefix("file://"), "rb")
    except FileNotFoundError:
        raise ConfigError(f"{url}: no such file; check the path") from None
    except PermissionError:
        raise ConfigError(f"{url}: may not be read; check its permissions") from None


def is_folder(url: str) -> bool:
    """Whether a folder, local or remote, is there."""
    if is_remote(url):
        fs, path = file_system(url)
        return bool(fs.isdir(path))
    return os.path.isdir(url)


def exists(url: str) -> bool:
    """Whether a file or folder is there."""
    if is_remote(url):
        fs, path = file_system(url)
        return bool(fs.exists(path))
    return os.path.exists(url)


def read_bytes(url: str) -> bytes:
    """The whole of a small file."""
    with open_input(url) as stream:
        return stream.read()


def make_folder(url: str) -> None:
    """Make a folder and its parents.

    Raises:
        ConfigError: the place may not be written to.
    """
    try:
        if is_remote(url):
            fs, path = file_system(url)
            fs.makedirs(path, exist_ok=True)
        else:
            os.makedirs(url, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{url}: cannot be made a folder ({error.strerror}); choose another --root") from None
    except OSError as error:
        raise ConfigError(f"{url}: cannot be written ({error.strerror}); choose another --root") from None


@contextlib.contextmanager
def atomic_output(url: str) -> Iterator[BinaryIO]:
    """A binary file that appears under its name only when the block ended without an error.

    Locally: a temporary name in the same folder, fsync, rename, fsync of the folder. On an object store the
    object is put when it is closed, and discarded after an error.
    """
    if is_remote(url):
        # An object appears when the upload is finished, so writing it in one piece is atomic there.
        fs, path = file_system(url)
        with fs.transaction, fs.open(path, "wb") as stream:
            yield cast(BinaryIO, stream)
        return
    folder = os.path.dirname(url) or "."
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{os.path.basename(url)}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, url)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(url: str) -> None:
    """Delete a file if it is there."""
    if is_remote(url):
        fs, path = file_system(url)
        with contextlib.suppress(FileNotFoundError):
            fs.rm_file(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(url)


def list_names(folder: str) -> list[str]:
    """The names of the files directly in a folder, sorted; none when the folder is not there."""
    if is_remote(folder):
        fs, path = file_system(folder)
        fs.invalidate_cache(path)  # another process may have written since
        if not fs.isdir(path):
            return []
        return sorted(posixpath.basename(p) for p in fs.find(path, maxdepth=1))
    if not os.path.isdir(folder):
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_file())


def list_folders(folder: str) -> list[str]:
    """The names of the folders directly in a folder, sorted; none when it is not there."""
    if is_remote(folder):
        fs, path = file_system(folder)
        return sorted(
            posixpath.basename(p["name"].rstrip("/")) for p in fs.ls(path, detail=True) if p["type"] == "directory"
        )
    if not os.path.isdir(folder):
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def list_inputs(paths: str | Sequence[str], known: Sequence[str] = ()) -> list[InputFile]:
    """The files that a path, a glob, a folder, a URL, or a list of those means, in order of name.

    Args:
        paths: each relative to the working folder, or a URL.
        known: suffixes to look for in a folder (in all levels); none takes every file.

    Raises:
        ConfigError: something named is missing, or nothing matches.
    """
    wanted = [paths] if isinstance(paths, str) else list(paths)
    found: dict[str, InputFile] = {}
    for pattern in wanted:
        matches = list(_expand(pattern, known))
        if not matches:
            what = "is a folder with no file that can be read" if is_folder(pattern) else "matches no file"
            raise ConfigError(f"{pattern}: {what}; check the path (working folder: {os.path.basename(os.getcwd())}/)")
        found.update((file.url, file) for file in matches)
    # Names must stay different when several roots are given, as they go into the rows' ids.
    files = sorted(found.values(), key=lambda file: (file.name, file.url))
    names = [file.name for file in files]
    if len(set(names)) != len(names):
        files = [InputFile(f.url, f.url, f.size, f.stamp) for f in files]
        files.sort(key=lambda file: file.name)
    return files


def _root_of(pattern: str) -> str:
    """The folder that names are relative to: the longest part of a glob without wild cards."""
    parts = pattern.split("/")
    fixed = next((i for i, part in enumerate(parts) if any(c in part for c in _WILD)), len(parts) - 1)
    return "/".join(parts[:fixed])


def _expand(pattern: str, known: Sequence[str]) -> Iterator[InputFile]:
    wild = any(c in pattern for c in _WILD)
    if is_remote(pattern):
        fs, path = file_system(pattern)
        if wild:
            paths, root = fs.glob(path), _root_of(path)
        elif fs.isdir(path):
            paths, root = fs.find(path), path.rstrip("/")
        else:
            paths, root = ([path] if fs.exists(path) else []), posixpath.dirname(path)
        for each in sorted(paths):
            info = fs.info(each)
            if info["type"] == "file" and (wild or each == path or _wanted(each, known)):
                name = each[len(root) :].lstrip("/") if root else each
                stamp = str(next((info[k] for k in ("ETag", "etag", "blob_id", "md5Hash", "created") if k in info), ""))
                yield InputFile(fs.unstrip_protocol(each), name, int(info["size"] or 0), stamp)
        return
    path = pattern.removeprefix("file://")
    if wild:
        paths, root = globbing.glob(path, recursive=True), _root_of(path)
    elif os.path.isdir(path):
        paths, root = globbing.glob(os.path.join(globbing.escape(path), "**"), recursive=True), path
    else:
        paths, root = ([path] if os.path.exists(path) else []), os.path.dirname(path)
    for each in sorted(paths):
        if os.path.isfile(each) and (wild or each == path or _wanted(each, known)):
            status = os.stat(each)
            name = os.path.relpath(each, root or ".").replace(os.sep, "/")
            yield InputFile(os.path.abspath(each), name, status.st_size, str(status.st_mtime_ns))


def _wanted(path: str, known: Sequence[str]) -> bool:
    return not posixpath.basename(path).startswith(".") and (not known or path.endswith(tuple(known)))


def content_hash(url: str) -> str:
    """xxh3-128 of a file's bytes, as 32 hex digits."""
    digest = xxhash.xxh3_128()
    with open_input(url) as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def folder_hash(hashes: Mapping[str, str]) -> str:
    """One hash for a folder, of the names below it and the hashes of those files; the same wherever it lies."""
    digest = xxhash.xxh3_128()
    for name, content in sorted(hashes.items()):
        digest.update(f"{name}\n{content}\n".encode())
    return digest.hexdigest()
