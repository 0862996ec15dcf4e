"""Read an ARPA file into tables.

tables = read_arpa("wiki.arpa")
tables.order

What the format leaves open is read as KenLM reads it: lines that start with # and blank lines may come first, the
unknown word may be missing (it gets log10 P = -100) or be called `<UNK>`, a back-off that is not there is 0, the
context of every n-gram must be in the model, and other suffixes of it need not be.
"""

from __future__ import annotations

import mmap
import re

import numpy as np

from curate.core.errors import ModelError
from curate.models.ngram import arpa_kernel as lines
from curate.models.ngram.build_kernel import clear, index_words, put_words, skip_leaves
from curate.models.ngram.table_kernel import BUCKET, HELD, NODES, first_bucket
from curate.models.ngram.tables import Tables, aligned, frozen
from curate.text.native import Bytes

MISSING_UNK = -100.0  # KenLM's unknown_missing_logprob
_FULL = 0.75  # how much of the buckets is used
_BLOCK = 64  # lines that are put in together
_UNK = b"<unk>"
_GZIP = b"\x1f\x8b"
_AGAIN = "get or train the model again"
_WRONG = {
    lines.NOT_A_NUMBER: "a field that must be a finite number is not one",
    lines.POSITIVE: "a log probability above 0",
    lines.TOO_FEW_WORDS: "fewer words than the order says",
    lines.TOO_MANY_FIELDS: "more fields than the order says",
    lines.UNKNOWN_WORD: "a word that is not among the single words",
    lines.NO_CONTEXT: "an n-gram whose first words are not in the model",
    lines.TWICE: "an n-gram that was there before",
}


def read_arpa(path: str) -> Tables:
    """The tables of an ARPA file of any order from 1; it is read once, 100 MB in about 1.5 s.

    Raises:
        ModelError: not an ARPA file, cut short, malformed (the line is named), or of more than about 10^9 n-grams.
    """
    with open(path, "rb") as stream:
        if not stream.read(1):
            raise ModelError(f"{path}: neither an ARPA file nor another n-gram model: it is empty; {_AGAIN}")
        # The map closes with the array.
        return parse_arpa(path, np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8))


def parse_arpa(name: str, data: Bytes) -> Tables:
    """The tables of the bytes of an ARPA file; `name` is for the messages of what `read_arpa` raises."""
    return _File(name, data).read()


class _File:
    """An ARPA file and how far it was read."""

    def __init__(self, path: str, data: Bytes) -> None:
        self.path = path
        self.data = data
        self.at = 0

    def error(self, what: str, at: int | None = None) -> ModelError:
        line = 1 + int(np.count_nonzero(self.data[: self.at if at is None else at] == 10))
        return ModelError(f"{self.path}:{line}: {what}; {_AGAIN}")

    def line(self) -> bytes:
        """The line at hand without the white space around it."""
        rest = self.data[self.at : self.at + 1000].tobytes()
        line, _, _ = rest.partition(b"\n")
        self.at += min(len(line) + 1, len(rest))
        return line.strip()

    def counts(self) -> list[int]:
        """The head: how many n-grams of each order."""
        line = b""
        while self.at < len(self.data) and (not line or line.startswith(b"#")):
            line = self.line()
        if line != b"\\data\\":
            kind = "compressed with gzip; unpack it and name the unpacked file"
            if self.data[:2].tobytes() != _GZIP:
                kind = f"neither an ARPA file (no \\data\\ at its start) nor another n-gram model; {_AGAIN}"
            raise ModelError(f"{self.path}: {kind}")
        counts: list[int] = []
        start = self.at
        while found := re.fullmatch(rb"ngram\s+(\d+)\s*=\s*(\d{1,18})", self.line()):
            if int(found[1]) != len(counts) + 1:
                raise self.error("the orders of the head do not follow one another", start)
            counts.append(int(found[2]))
            start = self.at
        self.at = start
        # An n-gram takes a line of a digit, and for each word a separator and a byte.
        if sum(count * (2 * n + 2) for n, count in enumerate(counts, start=1)) > len(self.data):
            raise self.error("the ARPA file is cut short: its head names more n-grams than it can hold")
        if not counts or not counts[0]:
            raise self.error("an ARPA file without words")
        return counts

    def heading(self, expected: str) -> None:
        self.at = lines.skip_blank_lines(self.data, self.at)
        start = self.at
        if self.line() == expected.encode():
            return
        if self.at >= len(self.data):
            raise self.error(f"the ARPA file is cut short (no {expected})", start)
        raise self.error(f"expected {expected}, so the counts in the head are wrong", start)

    def check(self, status: int, order: int) -> None:
        if status == lines.ENDED:
            what = "the ARPA file is cut short" if self.at >= len(self.data) else "the counts in the head are wrong"
            raise self.error(f"{what}: fewer {order}-grams than the head says")
        if status != lines.OK:
            if not np.any(self.data[self.at :] == 10):
                raise self.error("the ARPA file is cut short in this line")
            raise self.error(f"in the {order}-grams, {_WRONG[status]}")

    def read(self) -> Tables:
        counts = self.counts()
        order = len(counts)
        buckets = int(sum(counts[1:]) / (HELD * _FULL)) + 1
        if 4 * (counts[0] + 3 + buckets) > NODES:
            raise ModelError(f"{self.path}: more n-grams than a table holds ({sum(counts)}); prune the model")
        starts, ends = np.zeros(counts[0] + 1, dtype=np.int64), np.zeros(counts[0] + 1, dtype=np.int64)
        probability, backoff = np.zeros(counts[0] + 1, dtype=np.float32), np.zeros(counts[0] + 1, dtype=np.float32)
        self.heading("\\1-grams:")
        status, self.at, size = lines.read_words(
            self.data, self.at, counts[0], order == 1, starts, ends, probability, backoff
        )
        self.check(status, 1)
        if starts[0] < 0:
            probability[0] = MISSING_UNK
        words, offsets = (
            np.empty(len(_UNK) + int((ends - starts)[1:size].sum()), dtype=np.uint8),
            np.zeros(size + 1, dtype=np.int64),
        )
        words[: len(_UNK)] = np.frombuffer(_UNK, dtype=np.uint8)
        offsets[1] = len(_UNK)
        lines.gather(self.data, starts, ends, words, offsets)
        slots = np.zeros(1 << int(2 * size).bit_length(), dtype=np.uint64)
        twice = index_words(words, offsets, slots)
        if twice >= 0:
            raise self.error("in the 1-grams, a word that was there before", int(starts[twice]))
        words, offsets, slots = frozen(words), frozen(offsets), frozen(slots)
        first = first_bucket(size)
        cells = aligned((first + buckets) * BUCKET)
        keys, values = cells.view(np.uint64), cells.view(np.float32)
        clear(cells, keys, first, size)
        put_words(cells, values, probability[:size], backoff[:size])
        for n in range(2, order + 1):
            self.heading(f"\\{n}-grams:")
            block, numbers = np.empty((_BLOCK, n + 2), dtype=np.int64), np.empty((_BLOCK, 2), dtype=np.float64)
            status, self.at = lines.read_ngrams(
                self.data,
                self.at,
                n,
                counts[n - 1],
                n == order,
                words,
                offsets,
                slots,
                cells,
                keys,
                values,
                block,
                numbers,
            )
            self.check(status, n)
        self.heading("\\end\\")
        if lines.skip_blank_lines(self.data, self.at) < len(self.data):
            raise self.error("something follows \\end\\")
        skip_leaves(cells, keys, first)
        tables = Tables(
            order=order,
            ngrams=tuple(counts),
            words=words,
            offsets=offsets,
            slots=slots,
            cells=frozen(cells),
        )
        for special in (b"<s>", b"</s>"):
            if tables.number(special) < 0:
                raise ModelError(f"{self.path}: the model has no {special.decode()}; {_AGAIN}")
        return tables
