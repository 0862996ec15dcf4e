"""Read a supervised fastText model file: settings, dictionary, and where its two matrices lie.

    file = read_model("quality.bin")
    file.labels                                  # ('__label__hq', '__label__lq')
    for first, rows in file.input.blocks():      # float32, a part of the matrix at a time
        ...

The layout (versions 11 and 12, little-endian) is that of the library's `args.cc`, `dictionary.cc`,
`densematrix.cc` and `quantmatrix.cc`: magic, version, twelve 32-bit settings and a double; the dictionary; then
the input and the output matrix, each either plain floats or product-quantised. Everything is checked
here, so that what computes with a model need not look.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import ModelError
from curate.core.files import is_remote
from curate.models.fasttext.file_kernel import scan_entries
from curate.models.fasttext.matrix import Matrix, read_matrix
from curate.text.native import Bytes, Ints

MAGIC = 793712314
VERSIONS = (11, 12)
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
SUPERVISED = 3
_MOST_WORDS = 100  # of an n-gram; nobody trains with more than a few
_GET_ANOTHER = "get the file again or train it with curate.models.fasttext.train"


@dataclass(frozen=True)
class FastTextFile:
    """A model as its file has it; labels are spelt as there, with their prefix.

    Entry i of the dictionary is `letters[offsets[i]:offsets[i + 1]]`: first the `words`, then the labels.
    `pruned` has a bucket and its row after the words, for each bucket that has one; None where none was thrown away.
    """

    path: str
    dimension: int
    word_ngrams: int
    loss: int
    bucket: int
    minn: int
    maxn: int
    words: int
    letters: Bytes
    offsets: Ints
    labels: tuple[str, ...]
    label_counts: tuple[int, ...]
    pruned: npt.NDArray[np.int32] | None
    input: Matrix
    output: Matrix


def read_model(path: str) -> FastTextFile:
    """Check a model file from its first byte to its length, and read all of it but the matrices.

    Raises:
        ModelError: no such local file, not a fastText model, unsupervised, cut short or contradicting itself.
    """
    path = local_model(path)
    size = os.path.getsize(path)
    if size < 64:
        raise ModelError(f"{path}: not a fastText model ({size} bytes); {_GET_ANOTHER}")
    with open(path, "rb") as stream:
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    magic, version = struct.unpack_from("<ii", data, 0)
    if magic != MAGIC:
        raise ModelError(f"{path}: not a fastText model (it starts with other bytes); {_GET_ANOTHER}")
    if version not in VERSIONS:
        raise ModelError(f"{path}: fastText format {version}, but only 11 and 12 are known; {_GET_ANOTHER}")
    settings = struct.unpack_from("<12i", data, 8)
    if settings[7] != SUPERVISED:
        raise ModelError(f"{path}: word vectors, not a supervised fastText model; name a classifier")
    try:
        file = _read(path, data, settings, version)
    except (struct.error, ValueError) as error:
        reason = "" if isinstance(error, struct.error) else f" ({error})"
        raise ModelError(f"{path}: the fastText model is cut short or damaged{reason}; {_GET_ANOTHER}") from None
    if not file.labels:
        raise ModelError(f"{path}: the fastText model has no labels; name a classifier")
    return file


def local_model(path: str) -> str:
    """The local path of a model that is opened by its name.

    Raises:
        ModelError: it is remote, a folder or not there.
    """
    if is_remote(path):
        raise ModelError(f"{path}: a model is read from a local file; copy the model and name the copy")
    path = path.removeprefix("file://")
    if os.path.isdir(path):
        raise ModelError(f"{path}: a folder, but this model is a file; name the file")
    if not os.path.isfile(path):
        raise ModelError(f"{path}: no such model file; check `model:` (paths start at the working folder)")
    return path


def _read(path: str, data: mmap.mmap, settings: tuple[int, ...], version: int) -> FastTextFile:
    """Everything behind the settings.

    Raises:
        ValueError: the file ends early, or one part of it contradicts another.
    """
    dimension, _, _, _, _, word_ngrams, loss, _, bucket, minn, maxn, _ = settings
    if version == 11:  # supervised models knew no character n-grams yet
        maxn = 0
    entries, words, labels, _, kept = struct.unpack_from("<iiiqq", data, 64)
    if not (0 <= words <= entries == words + labels and labels >= 0 and dimension > 0):
        raise ValueError("the sizes in its head contradict one another")
    if loss not in (HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL):
        raise ValueError(f"loss {loss}")
    hashes = word_ngrams > 1 or maxn > 0
    if word_ngrams > _MOST_WORDS or (hashes and bucket < 1) or kept > max(bucket, 0):
        raise ValueError("the sizes in its head contradict one another")
    letters, offsets, counts, at = _dictionary(np.frombuffer(data, np.uint8), 92, entries, words)
    names = tuple(
        letters[offsets[i] : offsets[i + 1]].tobytes().decode("utf-8", "replace") for i in range(words, entries)
    )
    if counts[words:].min(initial=0) < 0 or sum(counts[words:].tolist()) >= 10**15:
        raise ValueError("the counts of its labels make no sense")
    pruned = None
    if kept >= 0:
        pairs = np.frombuffer(data[at : at + 8 * kept], "<i4")
        if len(pairs) != 2 * kept:
            raise ValueError("it ends in the dictionary")
        at += 8 * kept
        pruned = pairs.reshape(-1, 2)
        if kept and (pruned.min() < 0 or pruned[:, 0].max() >= bucket or pruned[:, 1].max() >= kept):
            raise ValueError("an index of a pruned bucket is out of range")
    source, at = read_matrix(path, data, at, dimension, quantised=struct.unpack_from("<?", data, at)[0])
    quantised = source.quantised and struct.unpack_from("<?", data, at)[0]
    output, at = read_matrix(path, data, at, dimension, quantised=quantised)
    needed = words + (max(kept, 0) if kept >= 0 else bucket if hashes else 0)
    if at > len(data) or source.rows < needed or output.rows < labels or (kept >= 0 and not source.quantised):
        raise ValueError("a matrix is too small")
    return FastTextFile(
        path=path,
        dimension=dimension,
        word_ngrams=word_ngrams,
        loss=loss,
        bucket=bucket,
        minn=minn,
        maxn=maxn,
        words=words,
        letters=letters,
        offsets=offsets,
        labels=names,
        label_counts=tuple(counts[words:].tolist()),
        pruned=pruned,
        input=source,
        output=output,
    )


def _dictionary(data: Bytes, at: int, entries: int, words: int) -> tuple[Bytes, Ints, Ints, int]:
    """The bytes of all entries, where each begins, how often each occurs, and where the dictionary ends."""
    if entries > len(data) // 10:
        raise ValueError("it ends in the dictionary")
    offsets = np.zeros(entries + 1, np.int64)
    counts = np.empty(entries, np.int64)
    letters = np.empty(0, np.uint8)
    end = scan_entries(data, at, words, letters, offsets, counts)
    if end < 0:
        raise ValueError("it ends in the dictionary" if end == -1 else "a label stands among the words")
    letters = np.empty(offsets[-1], np.uint8)
    scan_entries(data, at, words, letters, offsets, counts)
    return letters, offsets, counts, end
