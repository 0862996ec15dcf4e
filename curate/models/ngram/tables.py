"""The tables of a back-off n-gram model, and the file that keeps them.

    save(read_arpa("wiki.arpa"), "wiki.ngram")  # `load` maps it
    tables.score(form_words(batch, form))       # log10 P of each text

Size: 29 bytes for each n-gram of order 2 or more (64 for three, in buckets that are three quarters full), and for
each word 40 to 56 bytes and its spelling. (KenLM's probing tables take 24 and, for the highest order, 18.)

The file, little-endian: 16 bytes of magic with the version, the length and the xxh3-64 of a JSON head (two 64-bit
numbers), the head, and the arrays, each at a multiple of 64 bytes. The head says where they are, their xxh3-64 and,
if the ARPA file had a card, how text is prepared. A file that is not as long as its head says, or a part of which
does not have its hash, is refused: a walk through tables with a wrong byte may have no end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import orjson
import xxhash

from curate.core.files import atomic_output
from curate.models.ngram.table_kernel import LANE, Cells, find_words, first_bucket, number_of, score_texts
from curate.models.ngram.text_form import TextForm
from curate.models.ngram.words import FormWords
from curate.text.native import Bytes, Floats, Ints, Keys

MAGIC = b"curate n-gram\0\0\x02"
_ALIGN = 64
_LANES = 16  # texts that are walked at once
TYPES = {
    "words": np.uint8,
    "offsets": np.int64,
    "slots": np.uint64,
    "cells": np.uint32,
}
N = TypeVar("N", bound=np.generic)


def frozen(array: npt.NDArray[N]) -> npt.NDArray[N]:
    """A read-only view: kernels are compiled for such arrays, as those of a mapped file are."""
    view = array.view()
    view.flags.writeable = False
    return view


def aligned(size: int) -> Cells:
    """An array of zeros that starts where a line of cache does."""
    spare = np.zeros(size + _ALIGN // 4, dtype=np.uint32)
    skip = -spare.ctypes.data % _ALIGN // 4
    return spare[skip : skip + size]


@dataclass(frozen=True)
class Tables:
    """A model: its words, and the table of their values and of longer n-grams.

    `words` are the spellings one after another, word i from `offsets[i]` to `offsets[i + 1]`; word 0 is `<unk>`.
    `slots` is their hash table. `cells` is as `table_kernel` says. `ngrams` counts the n-grams of each order.
    `form` is how text becomes words, if the file says so.
    """

    order: int
    ngrams: tuple[int, ...]
    words: Bytes
    offsets: Ints
    slots: Keys
    cells: Cells
    form: TextForm | None = field(default=None)

    def number(self, word: bytes) -> int:
        """The number of a word, or -1."""
        return int(number_of(np.frombuffer(word, dtype=np.uint8), self.words, self.offsets, self.slots))

    def score(self, words: FormWords) -> Floats:
        """log10 P of each text and of its end, behind its beginning, as `kenlm.Model.score` has it: float64.

        A word that the model does not know is `<unk>`. A text without words has 0. Sums are of 64 bits, in the
        order of the text, so they depend on nothing but the text.
        """
        ids = np.empty(len(words.hash), dtype=np.uint32)
        find_words(words.data, words.bounds, words.hash, self.words, self.offsets, self.slots, ids)
        out = np.zeros(len(words.offsets) - 1, dtype=np.float64)
        score_texts(
            ids,
            words.offsets,
            self.cells,
            self.cells.view(np.uint64),
            self.cells.view(np.float32),
            first_bucket(len(self.offsets) - 1),
            self.number(b"<s>"),
            self.number(b"</s>"),
            np.zeros((_LANES, LANE), dtype=np.int64),
            np.zeros(_LANES, dtype=np.float64),
            out,
        )
        return out


def save(tables: Tables, path: str, form: TextForm | None = None) -> None:
    """Write tables to a file, local or remote; the same tables give the same bytes."""
    places: dict[str, list[int]] = {}
    at = 0
    for name in TYPES:
        places[name] = [at, len(getattr(tables, name))]
        at += -(-getattr(tables, name).nbytes // _ALIGN) * _ALIGN
    digest = xxhash.xxh3_64()
    for part in _parts(tables):
        digest.update(part)
    head = {"order": tables.order, "ngrams": tables.ngrams, "arrays": places, "bytes": at, "digest": digest.hexdigest()}
    if form is not None:
        head["form"] = form.names()
    encoded = orjson.dumps(head)
    encoded += b" " * (-(len(MAGIC) + 16 + len(encoded)) % _ALIGN)
    with atomic_output(path) as out:
        out.write(MAGIC + struct.pack("<QQ", len(encoded), xxhash.xxh3_64_intdigest(encoded)) + encoded)
        for part in _parts(tables):
            out.write(part)


def _parts(tables: Tables) -> Iterator[memoryview]:
    """The bytes of the arrays as they stand in the file, each filled up to a multiple of 64."""
    for name in TYPES:
        array = getattr(tables, name)
        yield array.data.cast("B")
        yield memoryview(bytes(-array.nbytes % _ALIGN))
