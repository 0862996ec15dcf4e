"""Counts of n-grams, a file for each shard of text, and the merging of such files.

    count_shard(texts, "counts/part-00000.parquet", order=5, form=TextForm("ccnet_spaced", "punct"))
    counts = merge_counts(["counts/part-00000.parquet", "counts/part-00001.parquet"])

What a count file holds: the n-grams of the highest order only, as every lower order follows from
them. It is Parquet with one row per n-gram (`w1` ... `wN`, `count`), except that its first row group
is the vocabulary (`word`, the other columns null). A number in `w` is a row of that vocabulary, which
is sorted by hash. The other row groups are hash ranges of the n-gram's last word, the same ranges in
every file, so that merging holds one range of all files at a time.

The words are compared by their bytes, not by their hashes: there are no collisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from curate.errors import ConfigError, RunError
from curate.files import atomic_output, open_input
from curate.text.normalise import SPECIAL_WORDS, TextForm

UNK, BOS, EOS = 0, 1, 2  # the places of SPECIAL_WORDS in every vocabulary
MAX_ORDER = 6
RANGE_BITS = 6  # 64 hash ranges

Ids = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Counts:
    """The n-grams of one order with their counts, and the words that their numbers stand for.

    `ngrams` has a row per n-gram, sorted by the last word, then the one before it, and so on; short
    beginnings of a text are padded with `<s>` on the left. `words` starts with SPECIAL_WORDS.
    """

    order: int
    form: TextForm
    words: list[str]
    ngrams: Ids
    counts: npt.NDArray[np.int64]
    tokens: int
    documents: int

    def digest(self) -> str:
        """Identity of the data: 32 hex digits, whatever its cut into shards."""
        state = xxhash.xxh3_128(f"{self.order} {self.form.normaliser} {self.form.tokeniser}".encode())
        state.update("\n".join(self.words).encode())
        state.update(np.ascontiguousarray(self.ngrams).data)
        state.update(self.counts.data)
        return state.hexdigest()


def count_shard(texts: Iterable[str], path: str, *, order: int, form: TextForm) -> int:
    """Count the n-grams of a shard's texts into one file; a text without a word is skipped.

    Every text is one sentence to the model: `<s>` before it, `</s>` after it. The file appears under its
    name only when it is whole, so a killed run counts again only what is not there.

    Args:
        texts: the texts; held as word numbers, 4 bytes a word and about 100 while sorting, at order 5.
        path: the file to write, local or remote.
        order: the highest order, 1 to 6.
        form: how a text becomes words.

    Returns:
        The number of tokens, `</s>` not included.

    Raises:
        ConfigError: the order is out of range.
    """
    if not 1 <= order <= MAX_ORDER:
        raise ConfigError(f"order {order}: an n-gram model has order 1 to {MAX_ORDER}")
    first_seen: dict[str, int] = {word: i for i, word in enumerate(SPECIAL_WORDS)}
    pieces: list[Ids] = []
    lengths: list[int] = []
    for text in texts:
        if words := form.tokens(text):
            numbers = [first_seen.setdefault(word, len(first_seen)) for word in words]
            pieces.append(np.array(numbers, dtype=np.uint32))
            lengths.append(len(words))
    words, rank, ranges = _by_hash(list(first_seen))
    stream, ends = _stream(pieces, order)
    ngrams = np.stack([rank[stream[ends - (order - 1 - k)]] for k in range(order)], axis=1)
    ngrams, counts = _sum_equal(ngrams, np.ones(len(ngrams), dtype=np.int64), len(words))
    info = {"tokens": sum(lengths), "documents": len(lengths), "order": order}
    names = {"normaliser": form.normaliser, "tokeniser": form.tokeniser}
    _write(path, words, ranges, ngrams, counts, {**{k: str(v) for k, v in info.items()}, **names})
    return sum(lengths)


def _by_hash(seen: list[str]) -> tuple[list[str], Ids, npt.NDArray[np.int64]]:
    """The special words and then the others by hash; the new number of each old one; the hash ranges."""
    special = len(SPECIAL_WORDS)
    keys = [(xxhash.xxh3_64_intdigest(word.encode()), word) for word in seen[special:]]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    words = [*SPECIAL_WORDS, *(keys[i][1] for i in order)]
    rank = np.arange(len(seen), dtype=np.uint32)
    rank[np.array(order, dtype=np.int64) + special] = np.arange(special, len(seen), dtype=np.uint32)
    ranges = [0] * special + [keys[i][0] >> (64 - RANGE_BITS) for i in order]
    return words, rank, np.array(ranges, dtype=np.int64)


def _stream(pieces: list[Ids], order: int) -> tuple[Ids, npt.NDArray[np.int64]]:
    """All texts in a row, each with its padding and its end, and where the n-grams end."""
    pad = np.full(order - 1, BOS, dtype=np.uint32)
    end = np.array([EOS], dtype=np.uint32)
    parts = chain.from_iterable((pad, piece, end) for piece in pieces)
    stream = np.concatenate([np.zeros(0, dtype=np.uint32), *parts])
    return stream, np.flatnonzero(stream != BOS)


def _sum_equal(ngrams: Ids, counts: npt.NDArray[np.int64], size: int) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Sort n-grams from the last word to the first, and add up the counts of equal ones."""
    if not len(ngrams):
        return ngrams, counts
    order = np.lexsort(_packed(ngrams, size))
    ngrams = ngrams[order]
    start = np.flatnonzero(np.concatenate([[True], np.any(ngrams[1:] != ngrams[:-1], axis=1)]))
    return ngrams[start], np.add.reduceat(counts[order], start)


def _packed(ngrams: Ids, size: int) -> list[npt.NDArray[np.uint64]]:
    """Sort keys for lexsort (the most important last), several words to a 64-bit number."""
    bits = max(1, int(size - 1).bit_length())
    together = 64 // bits
    keys = []
    for left in range(0, ngrams.shape[1], together):
        key = np.zeros(len(ngrams), dtype=np.uint64)
        for column in reversed(range(left, min(left + together, ngrams.shape[1]))):
            key = (key << np.uint64(bits)) | ngrams[:, column]
        keys.append(key)
    return keys


def _write(
    path: str,
    words: list[str],
    ranges: npt.NDArray[np.int64],
    ngrams: Ids,
    counts: npt.NDArray[np.int64],
    info: dict[str, str],
) -> None:
    names = [f"w{k + 1}" for k in range(ngrams.shape[1])]
    columns = [(name, pa.uint32()) for name in names]
    schema = pa.schema([*columns, ("count", pa.int64()), ("word", pa.large_string())], metadata=info)
    nothing = {"count": pa.nulls(len(words), pa.int64()), "word": pa.array(words, pa.large_string())}
    vocabulary = {**{name: pa.nulls(len(words), pa.uint32()) for name in names}, **nothing}
    # Rows are sorted by the last word's number, and so by its hash.
    cuts = np.searchsorted(ranges[ngrams[:, -1]], np.arange((1 << RANGE_BITS) + 1))
    with (
        atomic_output(path) as out,
        pq.ParquetWriter(out, schema, compression="zstd", use_dictionary=False) as to,
    ):
        to.write_table(pa.table(vocabulary, schema=schema), row_group_size=len(words))
        for start, end in pairwise(cuts):
            part = {name: pa.array(ngrams[start:end, k]) for k, name in enumerate(names)}
            part |= {"count": pa.array(counts[start:end]), "word": pa.nulls(end - start, pa.large_string())}
            to.write_table(pa.table(part, schema=schema), row_group_size=max(1, int(end - start)))


@dataclass(frozen=True)
class _Shard:
    path: str
    info: dict[str, str]
    words: list[str]


def _open(path: str) -> _Shard:
    try:
        with open_input(path) as stream, pq.ParquetFile(stream) as file:
            info = {k.decode(): v.decode() for k, v in (file.schema_arrow.metadata or {}).items()}
            if "order" not in info or file.num_row_groups < 1:
                raise RunError(f"{path}: not a file of n-gram counts; delete it and count again")
            words: list[str] = file.read_row_group(0, ["word"])["word"].to_pylist()
    except pa.ArrowInvalid as error:
        raise RunError(f"{path}: not a whole file of n-gram counts ({error}); delete it and count again") from None
    return _Shard(path, info, words)


def merge_counts(paths: Sequence[str]) -> Counts:
    """The counts of all files together; the same for any cut into files and any order of them.

    Memory: the merged n-grams (4 bytes a word and 8 for the count), and one hash range of all files.

    Raises:
        RunError: a file is damaged, holds another order or text form, or there is not one word in all.
    """
    shards = [_open(path) for path in paths]
    kinds = {tuple(s.info.get(k, "") for k in ("order", "normaliser", "tokeniser")): s.path for s in shards}
    if len(kinds) > 1:
        (_, one), (_, other) = sorted(kinds.items())[:2]
        raise RunError(f"{other}: counted with another order or text form than {one}; count both again")
    documents = sum(int(s.info["documents"]) for s in shards)
    if not documents:
        raise RunError("there is not one word to train an n-gram model on; check the input of the training step")
    order, normaliser, tokeniser = next(iter(kinds))
    seen = dict.fromkeys([*SPECIAL_WORDS, *chain.from_iterable(s.words for s in shards)])
    words = _by_hash(list(seen))[0]
    number = {word: i for i, word in enumerate(words)}
    ranks = [np.array([number[word] for word in s.words], dtype=np.uint32) for s in shards]
    parts = [_merge_range(shards, ranks, k, int(order), len(words)) for k in range(1 << RANGE_BITS)]
    return Counts(
        order=int(order),
        form=TextForm(normaliser, tokeniser),
        words=words,
        ngrams=np.concatenate([ngrams for ngrams, _ in parts]),
        counts=np.concatenate([counts for _, counts in parts]),
        tokens=sum(int(s.info["tokens"]) for s in shards),
        documents=documents,
    )


def _merge_range(
    shards: Sequence[_Shard], ranks: Sequence[Ids], which: int, order: int, size: int
) -> tuple[Ids, npt.NDArray[np.int64]]:
    ngrams, counts = [], []
    names = [f"w{k + 1}" for k in range(order)]
    for shard, rank in zip(shards, ranks, strict=True):
        with open_input(shard.path) as stream, pq.ParquetFile(stream) as file:
            table = file.read_row_group(1 + which, [*names, "count"])
        ngrams.append(np.stack([rank[table[name].to_numpy()] for name in names], axis=1))
        counts.append(table["count"].to_numpy())
    return _sum_equal(np.concatenate(ngrams), np.concatenate(counts), size)
