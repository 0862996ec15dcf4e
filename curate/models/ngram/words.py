"""The words of a batch after a normaliser and a tokeniser: `TextForm.tokens` of every text, in native code.

    words = form_words(batch, TextForm("ccnet_spaced", "punct"))
    words.offsets[1:] - words.offsets[:-1]      # the number of words of each text

What a character becomes is worked out by the functions of `text_form` when a character of its block is first
met, and kept for the process. Few depend on their neighbours: the capital sigma, and the combining marks that
stay, as they may change places. A text with one goes through those functions as a whole.
"""

from __future__ import annotations

import functools
import threading
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from curate.models.ngram.text_form import SENTENCEPIECE, TextForm
from curate.models.ngram.words_kernel import ALONE, CONTEXT, GONE, LEFT, MOST, UNKNOWN, hash_words
from curate.models.ngram.words_kernel import form_words as fill_words
from curate.text.batch import TextBatch
from curate.text.native import Bytes, Ints, Keys

_BLOCK = 256
_SIGMA = "Σ"


@dataclass(frozen=True, slots=True)
class FormWords:
    """The words of a batch; those of text i are `offsets[i]` up to `offsets[i + 1]`.

    Word k is `data[bounds[k] : bounds[k + 1]]`, and `hash[k]` is the `hash_bytes` of it.
    """

    data: Bytes
    offsets: Ints
    bounds: Ints
    hash: Keys

    def strings(self) -> list[list[str]]:
        """The words of each text."""
        raw, at = self.data.tobytes(), self.bounds.tolist()
        each = [raw[a:b].decode() for a, b in pairwise(at)]
        return [each[a:b] for a, b in pairwise(self.offsets.tolist())]


def form_words(batch: TextBatch, form: TextForm) -> FormWords:
    """The words of every text; a null text has none."""
    if form.tokeniser == SENTENCEPIECE:
        pieces = [" ".join(tokens) for tokens in form.tokens_of(batch.strings())]
        batch, form = TextBatch.of(pieces), TextForm("none", "whitespace")
    table = _table(form)
    size = int(batch.offsets[-1] - batch.offsets[0])
    out = np.empty(MOST * size, dtype=np.uint8)
    bounds, hashes = np.empty(size + 1, dtype=np.int64), np.empty(size, dtype=np.uint64)
    firsts = np.empty(len(batch) + 1, dtype=np.int64)
    bounds[0] = firsts[0] = 0
    here = np.array([0, batch.offsets[0], 0, 0], dtype=np.int64)
    while status := fill_words(
        batch.data, batch.offsets, table.codes, table.pool, table.ascii, here, out, bounds, hashes, firsts
    ):
        text, at, to, count = here.tolist()
        if status == UNKNOWN:
            table.fill(batch.data, at, int(batch.offsets[text + 1]))
            continue
        assert status == LEFT
        words = [word.encode() for word in form.tokens(batch.strings()[text])]
        raw = np.frombuffer(b"".join(words), dtype=np.uint8)
        out[to : to + len(raw)] = raw
        bounds[count + 1 : count + 1 + len(words)] = to + np.cumsum([len(word) for word in words], dtype=np.int64)
        hash_words(out, bounds, hashes, count, count + len(words))
        firsts[text + 1] = count + len(words)
        here[:] = text + 1, batch.offsets[text + 1], to + len(raw), count + len(words)
    count = int(firsts[-1])
    return FormWords(out[: bounds[count]], firsts, bounds[: count + 1], hashes[:count])


class _Table:
    """What each character becomes in a text form, as far as it was asked."""

    def __init__(self, form: TextForm) -> None:
        self._form = form
        self._lock = threading.Lock()
        self._used = 0
        self.codes = np.zeros(0x110000, dtype=np.uint32)
        # Room for all characters there are, so that it never moves under a running kernel.
        self.pool = np.empty(1 << 23, dtype=np.uint8)
        self.ascii = np.array([self._ascii(chr(code)) for code in range(128)], dtype=np.int16)

    def _ascii(self, character: str) -> int:
        made = self._form.character(character)
        if len(made) > 1:  # a mark that is set apart
            return ALONE
        return ord(made) if made else GONE

    def fill(self, data: Bytes, at: int, end: int) -> None:
        """Work out the block of the character at a position."""
        code = ord(data[at : min(at + 4, end)].tobytes().decode("utf-8", "replace")[0])
        first = code // _BLOCK * _BLOCK
        with self._lock:
            for each in range(first, first + _BLOCK):
                if not 0xD800 <= each <= 0xDFFF and not self.codes[each]:
                    self.codes[each] = self._entry(chr(each))

    def _entry(self, character: str) -> int:
        made = self._form.character(character)
        if self._form.normaliser != "none" and (character == _SIGMA or any(map(unicodedata.combining, made))):
            return CONTEXT
        raw = made.encode()
        start = self._used
        self.pool[start : start + len(raw)] = np.frombuffer(raw, dtype=np.uint8)
        self._used += len(raw)
        return 1 | len(raw) << 1 | start << 8


@functools.cache
def _table(form: TextForm) -> _Table:
    return _Table(form)
