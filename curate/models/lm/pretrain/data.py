"""What a causal language model learns from: texts in a seeded order, its tokenizer, and blocks of tokens.

split = split_texts([("id", "Some text.")], held_out=0.05, seed=0)
tokenizer = train_tokenizer(split.learnt, vocabulary=4096)
blocks = Blocks(pack(tokenizer, split.learnt, wanted=500_000), context=256, seed=0)
blocks.rows(0, 16)                           # ids (16, 257): the first batch
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import xxhash

from curate.core.errors import RunError
from curate.models.lm.folder import Tokenizer, Tokens, encode

END = "<|end|>"
# The tokenizer is learnt from the first texts in order, up to this size.
_TOKENIZER_BYTES = 20_000_000
_TEXTS_AT_ONCE = 1000
# The time that the tokenizer's training takes for a word grows with the square of its length: a run of characters
# without white space, or of white space, is cut after so many.
_RUN = re.compile(r"\S{256}|\s{256}")


@dataclass(frozen=True)
class Split:
    """The texts to learn from, in order, and those held out; a digest of them all."""

    learnt: list[str]
    held_out: list[str]
    digest: str


def split_texts(texts: Iterable[tuple[str, str]], *, held_out: float, seed: int) -> Split:
    """Order ids and texts by the seeded hash of the id; hold out by that of the text, equal texts together."""
    ordered = sorted((_hash(id_, seed), id_, text) for id_, text in texts if text)
    digest = xxhash.xxh3_128()
    split = Split([], [], "")
    for _, id_, text in ordered:
        digest.update(xxhash.xxh3_128_digest(id_.encode()) + xxhash.xxh3_128_digest(_bytes(text)))
        (split.held_out if _hash(text, seed) < held_out * 2.0**64 else split.learnt).append(text)
    return Split(split.learnt, split.held_out, digest.hexdigest())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _hash(text: str, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(_bytes(text), seed)


def head(texts: Sequence[str], size: int) -> list[str]:
    """The first texts that hold so many bytes together, at least one of them."""
    found: list[str] = []
    for text in texts:
        if size <= 0:
            break
        found.append(text)
        size -= len(_bytes(text))
    return found


def _cut(text: str) -> Iterator[str]:
    """The text in pieces that hold no long run."""
    at = 0
    for run in _RUN.finditer(text):
        yield text[at : run.end()]
        at = run.end()
    yield text[at:]


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of at most `vocabulary` tokens, among them the 256 bytes and `END`, which is its first id."""
    tokenizers = importlib.import_module("tokenizers")
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator((piece for text in head(texts, _TOKENIZER_BYTES) for piece in _cut(text)), trainer)
    fast = importlib.import_module("transformers").PreTrainedTokenizerFast
    return cast(Tokenizer, fast(tokenizer_object=bpe, bos_token=END, eos_token=END))


def pack(tokenizer: Tokenizer, texts: Sequence[str], wanted: int, end: int) -> Tokens:
    """The tokens of the texts in order with `end` around each, up to the text with which they are `wanted`."""
    parts: list[Tokens] = [np.asarray([end], dtype=np.int32)]
    count = 0
    for tokens in _encoded(tokenizer, texts):
        parts += [tokens, parts[0]]
        count += len(tokens) + 1
        if count >= wanted:
            break
    return np.concatenate(parts)


def _encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[Tokens]:
    for at in range(0, len(texts), _TEXTS_AT_ONCE):
        yield from encode(tokenizer, texts[at : at + _TEXTS_AT_ONCE])


class Blocks:
    """A stream of tokens cut into blocks, in another order every time that all were seen.

    Raises:
        RunError: the stream is shorter than a block.
    """

    def __init__(self, stream: Tokens, context: int, seed: int) -> None:
        self._stream, self._context, self._seed = stream, context, seed
        self.count = (len(stream) - 1) // context
        if self.count < 1:
            raise RunError(f"{len(stream)} tokens to learn from, less than a context of {context}; give it more text")
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(self.count)

    def rows(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """Blocks `start` to `end` of the endless sequence: ids (rows, context + 1); each ends as the next begins."""
        order = [int(self._order(at // self.count)[at % self.count]) for at in range(start, end)]
        starts = np.asarray(order, dtype=np.int64)[:, None] * self._context
        found: npt.NDArray[np.int64] = self._stream[starts + np.arange(self._context + 1)].astype(np.int64)
        return found
