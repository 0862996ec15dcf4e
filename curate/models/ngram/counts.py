"""Counts of the n-grams of a shard of text, in one file.

    count_shard(texts, "counts/part-00000.parquet", order=5, form=TextForm("ccnet_spaced", "punct"))
    head = read_head("counts/part-00000.parquet")
    ngrams, counts = read_ngrams(head)

A count file holds the n-grams of the highest order only, as every lower order follows from them. It is Parquet
with one row per n-gram (`w1` ... `wN`, `count`), sorted by the last word, then the one before it, and so on;
short beginnings of a text are padded with `<s>` on the left. The first row group is the vocabulary: `word` and,
as `count`, how often it occurs. A number in `w` is a row of that vocabulary, which is sorted by hash after the
special words; so n-grams are in the same order in every file, whatever the numbers of their words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from curate.core.errors import ConfigError, RunError
from curate.core.files import atomic_output, open_input
from curate.models.ngram.text_form import SPECIAL_WORDS, TextForm

UNK, BOS, EOS = 0, 1, 2  # the places of SPECIAL_WORDS in every vocabulary
MAX_ORDER = 6
SAMPLE = 256  # n-grams of a file that tell where to cut ranges of all files

_GROUP_ROWS = 1 << 18

Ids = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Head:
    """What a count file says before its n-grams.

    `rows` is how many they are, and `sample` has the last two words of some of them, at equal distances.
    """

    path: str
    order: int
    form: TextForm
    tokens: int
    documents: int
    rows: int
    sample: Ids


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
    words, rank = _by_hash(list(first_seen))
    stream, ends = _stream(pieces, order)
    ngrams = np.stack([rank[stream[ends - (order - 1 - k)]] for k in range(order)], axis=1)
    ngrams, counts = sum_equal(ngrams, np.ones(len(ngrams), dtype=np.int64), len(words))
    occurrences = np.bincount(rank[stream[ends]], minlength=len(words))
    info = {
        "order": str(order),
        **form.names(),
        "tokens": str(sum(lengths)),
        "documents": str(len(lengths)),
        "rows": str(len(ngrams)),
        "sample": orjson.dumps(_sample(ngrams).tolist()).decode(),
    }
    _write(path, words, occurrences, ngrams, counts, info)
    return sum(lengths)


def _by_hash(seen: list[str]) -> tuple[list[str], Ids]:
    """The special words and then the others by hash; the new number of each old one."""
    special = len(SPECIAL_WORDS)
    keys = [(word_hash(word), word) for word in seen[special:]]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    words = [*SPECIAL_WORDS, *(keys[i][1] for i in order)]
    rank = np.arange(len(seen), dtype=np.uint32)
    rank[np.array(order, dtype=np.int64) + special] = np.arange(special, len(seen), dtype=np.uint32)
    return words, rank


def word_hash(word: str) -> int:
    """What the words of a vocabulary are sorted by, and then by themselves."""
    return xxhash.xxh3_64_intdigest(word.encode())


def _stream(pieces: list[Ids], order: int) -> tuple[Ids, Ints]:
    """All texts in a row, each with its padding and its end, and where the n-grams end."""
    pad = np.full(order - 1, BOS, dtype=np.uint32)
    end = np.array([EOS], dtype=np.uint32)
    parts = chain.from_iterable((pad, piece, end) for piece in pieces)
    stream = np.concatenate([np.zeros(0, dtype=np.uint32), *parts])
    return stream, np.flatnonzero(stream != BOS)


def last_two(ngrams: Ids) -> Ids:
    """The word before the last of each n-gram (0 where the order is 1), and the last."""
    last = ngrams[:, -2:]
    return last if last.shape[1] == 2 else np.concatenate([np.zeros_like(last), last], axis=1)


def _sample(ngrams: Ids) -> Ids:
    many = min(SAMPLE, len(ngrams))
    return last_two(ngrams[(2 * np.arange(many) + 1) * len(ngrams) // (2 * max(many, 1))])


def sum_equal(ngrams: Ids, counts: Ints, size: int) -> tuple[Ids, Ints]:
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


def _write(path: str, words: list[str], occurrences: Ints, ngrams: Ids, counts: Ints, info: dict[str, str]) -> None:
    names = _columns(ngrams.shape[1])
    columns = [(name, pa.uint32()) for name in names]
    schema = pa.schema([*columns, ("count", pa.int64()), ("word", pa.large_string())], metadata=info)
    vocabulary = {
        **{name: pa.nulls(len(words), pa.uint32()) for name in names},
        "count": pa.array(occurrences),
        "word": pa.array(words, pa.large_string()),
    }
    rows = {name: pa.array(ngrams[:, k]) for k, name in enumerate(names)}
    rows |= {"count": pa.array(counts), "word": pa.nulls(len(ngrams), pa.large_string())}
    with (
        atomic_output(path) as out,
        pq.ParquetWriter(out, schema, compression="zstd", use_dictionary=False) as to,
    ):
        to.write_table(pa.table(vocabulary, schema=schema), row_group_size=len(words))
        if len(ngrams):
            to.write_table(pa.table(rows, schema=schema), row_group_size=_GROUP_ROWS)


def _columns(order: int) -> list[str]:
    return [f"w{k + 1}" for k in range(order)]


@contextlib.contextmanager
def _open(path: str) -> Iterator[pq.ParquetFile]:
    try:
        with open_input(path) as stream, pq.ParquetFile(stream) as file:
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        raise RunError(f"{path}: not a whole file of n-gram counts ({error}); delete it and count again") from None


def read_head(path: str) -> Head:
    """What a count file says of itself, without reading its n-grams.

    Raises:
        RunError: the file is damaged, or is no count file.
    """
    with _open(path) as file:
        info = {k.decode(): v.decode() for k, v in (file.schema_arrow.metadata or {}).items()}
        if "order" not in info or file.num_row_groups < 1:
            raise RunError(f"{path}: not a file of n-gram counts; delete it and count again")
    return Head(
        path=path,
        order=int(info["order"]),
        form=TextForm(info["normaliser"], info["tokeniser"], info.get("sentencepiece", "")),
        tokens=int(info["tokens"]),
        documents=int(info["documents"]),
        rows=int(info["rows"]),
        sample=np.array(orjson.loads(info["sample"]), dtype=np.uint32).reshape(-1, 2),
    )


def read_words(head: Head) -> pa.Table:
    """The vocabulary of a count file: `word`, and how often each occurs as `count`."""
    with _open(head.path) as file:
        return file.read_row_group(0, ["word", "count"])


def read_ngrams(head: Head) -> tuple[Ids, Ints]:
    """The n-grams of a count file, as rows of the numbers of its words, and their counts."""
    names = _columns(head.order)
    with _open(head.path) as file:
        table = file.read_row_groups(range(1, file.num_row_groups), [*names, "count"])
    return np.stack([table[name].to_numpy() for name in names], axis=1), table["count"].to_numpy()
