"""Look into a fastText model file before the library does: the library aborts the process on a damaged one.

    head = read_head("quality.bin")
    head.labels                                  # ('__label__hq', '__label__lq')

The layout (version 11 and 12, little-endian): magic, version, twelve 32-bit settings and a double; the
dictionary; then the input and the output matrix, each either plain floats or product-quantised.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

from curate.errors import ModelError
from curate.files import is_remote

MAGIC = 793712314
VERSIONS = (11, 12)
_SUPERVISED = 3
_CENTROIDS = 256
_GET_ANOTHER = "get the file again or train it with curate.train.fasttext"


@dataclass(frozen=True)
class Head:
    """What a supervised model predicts; labels are as in the file, with their prefix."""

    path: str
    labels: tuple[str, ...]


def read_head(path: str) -> Head:
    """Check a model file from its first byte to its length and return its labels.

    Raises:
        ModelError: no such local file, not a fastText model, unsupervised, or cut short.
    """
    path = local_model(path)
    size = os.path.getsize(path)
    if size < 64:
        raise ModelError(f"{path}: not a fastText model ({size} bytes); {_GET_ANOTHER}")
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        magic, version = struct.unpack_from("<ii", data, 0)
        if magic != MAGIC:
            raise ModelError(f"{path}: not a fastText model (it starts with other bytes); {_GET_ANOTHER}")
        if version not in VERSIONS:
            raise ModelError(f"{path}: fastText format {version}, but only 11 and 12 are known; {_GET_ANOTHER}")
        kind = struct.unpack_from("<12i", data, 8)[7]
        if kind != _SUPERVISED:
            raise ModelError(f"{path}: word vectors, not a supervised fastText model; name a classifier")
        try:
            labels, at = _dictionary(data, 64)
            quantised = struct.unpack_from("<?", data, at)[0]
            at = _matrix(data, at + 1, quantised)
            output_quantised = struct.unpack_from("<?", data, at)[0]
            end = _matrix(data, at + 1, quantised and output_quantised)
        except (struct.error, ValueError):
            end = size + 1
        if end > size:
            raise ModelError(f"{path}: the fastText model is cut short or damaged; {_GET_ANOTHER}")
    if not labels:
        raise ModelError(f"{path}: the fastText model has no labels; name a classifier")
    return Head(path, labels)


def local_model(path: str) -> str:
    """The local path of a model that a library opens itself.

    Raises:
        ModelError: it is remote or not there.
    """
    if is_remote(path):
        raise ModelError(f"{path}: the library reads local files only; copy the model and name the copy")
    path = path.removeprefix("file://")
    if not os.path.isfile(path):
        raise ModelError(f"{path}: no such model file; check `model:` (paths start at the working folder)")
    return path


def _dictionary(data: mmap.mmap, at: int) -> tuple[tuple[str, ...], int]:
    """The labels, and where the dictionary ends."""
    entries, _words, _labels, _tokens, pruned = struct.unpack_from("<iiiqq", data, at)
    at += 28
    labels = []
    for _ in range(entries):
        end = data.find(b"\0", at)
        if end < 0:
            raise ValueError("an entry of the dictionary has no end")
        if data[end + 9 : end + 10] == b"\1":
            labels.append(data[at:end].decode("utf-8", "replace"))
        at = end + 10
    return tuple(labels), at + 8 * max(pruned, 0)


def _matrix(data: mmap.mmap, at: int, quantised: bool) -> int:
    """Where a matrix ends."""
    if not quantised:
        rows, columns = struct.unpack_from("<qq", data, at)
        return int(at + 16 + 4 * rows * columns)
    norms, rows, _columns, codes = struct.unpack_from("<?qqi", data, at)
    at = _centroids(data, at + 21 + codes)
    return _centroids(data, int(at + rows)) if norms else at


def _centroids(data: mmap.mmap, at: int) -> int:
    dimension = struct.unpack_from("<4i", data, at)[0]
    return int(at + 16 + 4 * dimension * _CENTROIDS)
