"""Run every kernel over texts that touch memory which no one may read: `python -m tests.text.guarded 70 4097`.

A read past the bytes of a text ends this process, so it is one of its own. What is printed at last is how many
texts there were.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import get_args

import numpy as np
import pyarrow as pa

from curate.models.fasttext.write import write_model
from curate.models.ngram.arpa import parse_arpa
from curate.models.ngram.text_form import TextForm
from curate.models.ngram.words import form_words
from curate.steps.clean import CLEANERS
from curate.steps.score import SCORERS, gopher
from curate.steps.score.scorer import Columns
from curate.text.batch import TextBatch
from curate.text.rules.hashed_ngrams import HashedNgrams
from curate.text.split import Splitter
from curate.warm import ARPA

PATTERNS = [
    b"a",
    b"The cat sat. \n",
    b"...",
    b". . .\n",
    b"''\"\"``'s",
    b"Cannot gonna d'ye more'n't ",
    b"([{<a href='//x.y'>}])&amp;#",
    b"javascript privacy policy cookie policy terms of use uses cookies lorem ipsum [12][edit]\r\n",
    b"https://www.example.com/a?b#c \\",
    "é“ß”«»–…".encode(),
    "日本語、ภาษาไทย".encode(),
    "👨\u200d👩🇩🇪𝕏\u0301Σİ\u0344\u2028\x85".encode(),
    b"\xf0\x9f\x99",
    b"\x80\xff\xe2\x80\xc2\xed\xa0\x80",
    b"\x00",
    b" \t",
    b"\n\n- x\n#!",
    b"1,204 likes\n3.14 e.g. U.S. Mr. J. ",
]
Check = Callable[[TextBatch], Columns]


class Pages:
    """Memory between two pages that may not be touched."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        self.size = -(-size // page) * page
        self.memory = mmap.mmap(-1, self.size + 2 * page)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory)) + page
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for at in (self.start - page, self.start + self.size):
            if protect(ctypes.c_void_p(at), ctypes.c_size_t(page), 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def batch(self, raw: bytes, offsets: list[int], end: bool) -> TextBatch:
        """Texts whose bytes end, or begin, where the memory does."""
        at = self.start + self.size - len(raw) if end else self.start
        ctypes.memmove(at, raw, len(raw))
        return batch_of(pa.foreign_buffer(at, len(raw), self), offsets)


def batch_of(data: pa.Buffer, offsets: list[int]) -> TextBatch:
    bounds = pa.py_buffer(np.array(offsets, dtype=np.int64))
    return TextBatch(pa.LargeStringArray.from_buffers(len(offsets) - 1, bounds, data))


def checks(folder: str) -> dict[str, Check]:
    """Everything that reads the bytes of a batch, by a name."""
    found: dict[str, Check] = {}
    for variant in get_args(gopher.Variant):
        found[f"quality {variant}"] = SCORERS["gopher_quality"](variant=variant)
        found[f"repetition {variant}"] = SCORERS["gopher_repetition"](variant=variant)
    for variant in ("paper", "code"):
        found[f"c4 {variant}"] = SCORERS["c4"](variant=variant)
    for name in ("fineweb", "lines", "markup"):
        found[name] = SCORERS[name]()
    words = os.path.join(folder, "words.txt")
    with open(words, "w") as stream:
        stream.write("example.com\ncat\nwww\na\n")
    found["url"] = SCORERS["url"](domains=words, urls=words, words=words, soft_words=words, substrings=words, host=True)
    model = os.path.join(folder, "tiny.bin")
    rows = np.linspace(-1, 1, 14, dtype=np.float32).reshape(7, 2)
    known, labels = {"</s>": 1, "cat": 1}, {"__label__a": 2, "__label__b": 1}
    write_model(model, known, labels, rows, rows[:2], word_ngrams=3, minn=2, maxn=4)
    found["fasttext"] = SCORERS["quality"](model=model, label="a")
    ngrams, tables = HashedNgrams("polynomial", 97), parse_arpa("", np.frombuffer(ARPA, dtype=np.uint8))
    found["hashed"] = lambda batch: {
        "count": pa.array(ngrams.count(batch)),
        "sum": pa.array(ngrams.sum(batch, np.linspace(-1, 1, 97))),
    }
    for form in (TextForm("ccnet_spaced", "punct"), TextForm("none", "whitespace")):
        found[f"form {form.normaliser}"] = lambda batch, form=form: {
            "score": pa.array(tables.score(form_words(batch, form)))
        }
    for splitter in get_args(Splitter):
        found[splitter] = lambda batch, splitter=splitter: {
            name: pa.array(getattr(batch.words(splitter), name)) for name in ("offsets", "hash", "chars", "flags")
        }
    found["line"] = lambda batch: {
        name: pa.array(getattr(batch.lines(), name)) for name in ("offsets", "hash", "chars")
    }
    found["cleaned"] = lambda batch: {"": CLEANERS["c4"]()(batch)[0]}
    return found


def texts(lengths: list[int]) -> Iterator[tuple[bytes, list[int]]]:
    """The bytes of two texts, the first of which is cut anywhere, and their offsets."""
    for pattern, length in itertools.product(PATTERNS, lengths):
        yield (pattern * (length // len(pattern) + 1))[:length], [0, 0, length // 3, length]
        if length:
            yield (pattern * (length // len(pattern) + 1))[-length:], [0, length]


def main(lengths: list[int]) -> None:
    """Score texts that end or begin at the guard, and the same amid other bytes, on which nothing may depend."""
    begin, end = Pages(max(lengths)), Pages(max(lengths))
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        every = checks(folder)
        for raw, offsets in texts(lengths):
            guarded = begin.batch(raw, offsets, end=False), end.batch(raw, offsets, end=True)
            within = batch_of(pa.py_buffer(b"\x80. use of" + raw + b"\xbf policy."), [at + 9 for at in offsets])
            for name, check in every.items():
                expected = check(within)
                for found in map(check, guarded):
                    if not all(found[key].equals(expected[key]) for key in expected):
                        raise AssertionError(f"{name} of {raw!r} depends on what is around it")
            count += 1
    print(count)


if __name__ == "__main__":
    main([*range(int(sys.argv[1])), *map(int, sys.argv[2:])])
