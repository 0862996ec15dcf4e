"""Open an n-gram model, of either form: an ARPA file is read, a file of tables is mapped.

build_tables("wiki.arpa", "wiki.ngram")
tables = load("wiki.ngram")                 # mapped: workers share its pages
tables.score(form_words(batch, form))       # log10 P of each text
"""

from __future__ import annotations

import mmap
import os
import struct

import numpy as np
import orjson
import xxhash

from curate.core.errors import ModelError
from curate.models.ngram.arpa import read_arpa
from curate.models.ngram.tables import MAGIC, TYPES, Tables, save
from curate.models.ngram.text_form import TextForm, read_form


def build_tables(arpa: str, path: str) -> Tables:
    """Read an ARPA file and write its tables, with the text form of its card, to a file that `load` maps.

    Raises:
        ModelError: the ARPA file or its card is missing or malformed.
    """
    tables = read_arpa(arpa)
    save(tables, path, read_form(arpa))
    return tables


def load(path: str) -> Tables:
    """Map the tables that `save` wrote; for any other file, read it as ARPA.

    Raises:
        ModelError: neither of the two, another version, cut short or damaged.
    """
    with open(path, "rb") as stream:
        start = stream.read(len(MAGIC) + 16)
        if start[: len(MAGIC) - 1] != MAGIC[:-1]:
            return read_arpa(path)
        if start[len(MAGIC) - 1] != MAGIC[-1]:
            raise ModelError(f"{path}: n-gram tables of another version of Curate; build them again from the ARPA file")
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    size, digest = struct.unpack("<QQ", start[len(MAGIC) :].ljust(16, b"\0"))
    base = len(MAGIC) + 16 + size
    encoded = mapped[len(MAGIC) + 16 : min(base, len(mapped))]
    if len(encoded) != size or xxhash.xxh3_64_intdigest(encoded) != digest:
        raise ModelError(f"{path}: the head of the n-gram tables is damaged; copy or build them again")
    head = orjson.loads(encoded)
    whole = os.path.getsize(path) == base + head["bytes"]
    if not whole or xxhash.xxh3_64_hexdigest(memoryview(mapped)[base:]) != head["digest"]:
        raise ModelError(f"{path}: the n-gram tables are cut short or damaged; copy or build them again")
    arrays = {
        name: np.frombuffer(mapped, dtype=kind, count=head["arrays"][name][1], offset=base + head["arrays"][name][0])
        for name, kind in TYPES.items()
    }
    form = TextForm(**head["form"]) if "form" in head else None
    return Tables(order=head["order"], ngrams=tuple(head["ngrams"]), form=form, **arrays)
