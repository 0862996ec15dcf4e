"""The UTF-8 bytes of an Arrow string column, with words and lines found at most once.

Every scorer of text gets a `TextBatch`; what two scorers both need is computed by the first and
kept for the second.

    batch = TextBatch(table["text"])
    words = batch.words("uax29")
    words.offsets[1:] - words.offsets[:-1]      # the number of words of each text
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.errors import CurateError
from curate.text.bitmaps import bitmaps
from curate.text.native import Bytes, Ints, Keys
from curate.text.spans import Lines, Words
from curate.text.split import split, split_lines

N = TypeVar("N", bound=np.generic)


class TextBatch:
    """UTF-8 bytes and offsets of an Arrow string column; tokenises at most once per splitter.

    `tokenisations` counts the calls of each splitter, and of "lines".

    `data` is a read-only view of the column's buffer, `offsets` has one more entry than there are
    texts, and `valid` is false where the text is null (a null text is an empty one). The bytes are
    not checked: a column may hold invalid UTF-8. The offsets are: no kernel looks at them again.

    Raises:
        CurateError: not a column of strings, or one whose offsets are not those of its bytes.
    """

    data: Bytes
    offsets: Ints
    valid: npt.NDArray[np.bool_]
    tokenisations: Counter[str]

    def __init__(self, texts: pa.Array | pa.ChunkedArray) -> None:
        array = _one_array(texts)
        if array.null_count:
            self.valid = np.asarray(array.is_valid())
            if _null_slots_hold_bytes(array, self.valid):
                array = array.fill_null("")
        else:
            self.valid = np.ones(len(array), dtype=np.bool_)
        self.offsets = _offsets(array)
        self.data = _data(array)
        self.tokenisations = Counter()
        self._array = array
        self._words: dict[str, Words] = {}
        self._bits: Keys | None = None
        self._lines: Lines | None = None
        self._strings: list[str] | None = None

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> TextBatch:
        """A batch of Python strings."""
        return cls(pa.array(texts, type=pa.large_string()))

    def __len__(self) -> int:
        return len(self.valid)

    def bits(self) -> Keys:
        """The bitmaps of character classes, see `curate.text.bitmaps`; computed by the first call."""
        if self._bits is None:
            self._bits = bitmaps(self.data, self.offsets)
        return self._bits

    def words(self, splitter: str = "uax29") -> Words:
        """The words by `whitespace`, `uax29` or `treebank`; computed by the first call."""
        found = self._words.get(splitter)
        if found is None:
            found = split(self.data, self.bits(), self.offsets, splitter)
            self._words[splitter] = found
            self.tokenisations[splitter] += 1
        return found

    def lines(self) -> Lines:
        """The lines; computed by the first call."""
        if self._lines is None:
            self._lines = split_lines(self.data, self.bits(), self.offsets)
            self.tokenisations["lines"] += 1
        return self._lines

    def strings(self) -> list[str]:
        """The texts as Python strings, invalid bytes replaced by U+FFFD, null as an empty string."""
        if self._strings is None:
            try:
                self._strings = [text or "" for text in self._array.to_pylist()]
            except UnicodeDecodeError:
                buffer = self.data.tobytes()
                at = self.offsets.tolist()
                self._strings = [buffer[start:end].decode("utf-8", "replace") for start, end in pairwise(at)]
        return self._strings


def _one_array(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One string or large_string array; copies only where there are several chunks."""
    if isinstance(texts, pa.ChunkedArray):
        if texts.num_chunks == 1:
            texts = texts.chunk(0)
        elif pa.types.is_string(texts.type):  # together they may pass the 2 GiB of 32-bit offsets
            texts = texts.cast(pa.large_string()).combine_chunks()
        else:
            texts = texts.combine_chunks()
    kind = texts.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return texts
    if pa.types.is_null(kind) or pa.types.is_string_view(kind):
        return texts.cast(pa.large_string())
    raise CurateError(f"a text column must hold strings, this one holds {kind}; cast it to large_string")


def _offsets(array: pa.Array) -> Ints:
    if len(array) == 0:
        return _read_only(np.zeros(1, dtype=np.int64))
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, bounds, data = array.buffers()
    every = np.frombuffer(bounds, dtype=width)
    offsets = every[array.offset : array.offset + len(array) + 1].astype(np.int64, copy=False)
    size = 0 if data is None else data.size
    within = len(offsets) == len(array) + 1 and offsets[0] >= 0 and offsets[-1] <= size
    if not within or np.any(offsets[1:] < offsets[:-1]):
        raise CurateError("a text column names bytes that it does not have: it is damaged; write it again")
    return _read_only(offsets)


def _data(array: pa.Array) -> Bytes:
    buffer = array.buffers()[2] if len(array) else None
    return _read_only(np.frombuffer(b"" if buffer is None else buffer, dtype=np.uint8))


def _read_only(array: npt.NDArray[N]) -> npt.NDArray[N]:
    """A view that cannot be written to: whether it can is part of the type that a kernel is compiled for."""
    view = array.view()
    view.flags.writeable = False
    return view


def _null_slots_hold_bytes(array: pa.Array, valid: npt.NDArray[np.bool_]) -> bool:
    offsets = _offsets(array)
    return bool(np.any((offsets[1:] > offsets[:-1]) & ~valid))
