"""The best passages of a dataset for queries, by their words (BM25) or by a sentence encoder.

    facts = load_retriever("runs/demo/docs-1f0c22aa", by="bm25")
    (found,) = facts.search(["When is the tide high?"], top=3)
    found[0].id, found[0].text, found[0].score

The dataset is read once, a row group at a time; ids and an index are held, the texts are not: those of the passages
that are found are read again. Scores are rounded to six decimals, so that two that differ by the order of a sum, or
by the machine that an encoder ran on, tie; ties are broken by the id. What is found for a query depends on it and on
the rows alone, not on the other queries nor on the cut into shards.
"""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core import files
from curate.core.chat.messages import MESSAGES, ChatBatch, content_of
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.models.device import Device
from curate.models.encoder.encoder import load_encoder
from curate.models.retrieval.bm25_index import Bm25Builder
from curate.models.retrieval.embedding_index import EmbeddingBuilder
from curate.text.batch import TextBatch
from curate.text.native import Floats, Ints
from curate.text.sentences import sentence_ends

_DECIMALS = 6
# Row groups of texts that are kept for the next hits, each of 16 MB or little more.
_GROUPS = 8
# Tokens of a text that an encoder reads, if it can read so many.
_CONTEXT = 512


@dataclass(frozen=True)
class Passage:
    """A text that was found: the id of its row, what it says, and how well it fits the query."""

    id: str
    text: str
    score: float


class Retriever(Protocol):
    """Finds passages."""

    def search(
        self, queries: Sequence[str], top: int, exclude: Sequence[str | None] | None = None
    ) -> list[list[Passage]]:
        """For each query its `top` best passages, best first, ties by id; fewer where no others share a word with it.

        Args:
            queries: of any length; one without a word that is known gets nothing.
            top: 1 or more.
            exclude: for each query an id that is not to be found, as that of the row it is made of.
        """
        ...


class _Index(Protocol):
    def candidates(self, queries: Sequence[str], tops: Sequence[int]) -> Iterable[tuple[Ints, Floats]]:
        """For each query numbers of passages, each once, among them the `tops` best, and their scores."""
        ...


def load_retriever(
    folder: str,
    *,
    by: Literal["bm25", "embedding"],
    model: str | None = None,
    device: Device = "cpu",
    column: str = "text",
    words: int | None = None,
) -> Retriever:
    """Index a dataset.

    Args:
        folder: of a finished dataset of documents or of conversations.
        by: `bm25` or `embedding`.
        model: the folder of an encoder, for `embedding`.
        device: where the encoder runs; the search is on the CPU.
        column: what is searched. `text` of a dataset of conversations is all that their turns say.
        words: a longer text is cut into passages of so many words at most, at ends of paragraphs, and of sentences
            where a paragraph is longer; a sentence is left whole. Each has the id of its row. None leaves texts whole.

    Raises:
        ConfigError: there is no such dataset or column, or a model is missing or not needed.
        ModelError: the encoder cannot be loaded.
        RunError: a shard is damaged.
    """
    if (model is None) != (by == "bm25"):
        raise ConfigError(f"retrieval by {by} {'needs a model; name' if model is None else 'has no model; remove'} it")
    if words is not None and words < 1:
        raise ConfigError(f"retrieval: passages of {words} words; set 1 or more, or leave it out")
    data = Dataset.open(folder)
    if column == "text":
        column = content_of(data.schema().names)
    builder = EmbeddingBuilder(load_encoder(model, context=_CONTEXT, device=device)) if model else Bm25Builder()
    ids: list[pa.Array] = []
    sizes: list[Ints] = []
    groups: list[_Group] = []
    start = 0
    for shard in data.shards:
        for number, batch in enumerate(data.read(shard, ["id", column])):
            texts = _passages(_texts(batch.column(column), column), words)
            builder.add([passage for each in texts for passage in each])
            ids.append(batch.column("id").cast(pa.large_string()))
            sizes.append(np.array([len(each) for each in texts], np.int64))
            groups.append(_Group(start, data.path(shard), number))
            start += batch.num_rows
    return _Found(builder.build(), ids, sizes, groups, column, words)


@dataclass(frozen=True)
class _Group:
    """A row group: the number of its first row among all, its file, and its place there."""

    start: int
    path: str
    number: int


class _Found:
    """What is found in an index, with ids and texts."""

    def __init__(
        self,
        index: _Index,
        ids: Sequence[pa.Array],
        sizes: Sequence[Ints],
        groups: Sequence[_Group],
        column: str,
        words: int | None,
    ) -> None:
        self._index, self._groups, self._column, self._words = index, groups, column, words
        self._ids = pa.chunked_array(ids, pa.large_string()).combine_chunks()
        # Passages of row i are numbered from first[i] up to first[i + 1].
        self._first = np.concatenate([np.zeros(1, np.int64), *sizes]).cumsum()
        self._order = np.asarray(pc.sort_indices(self._ids)).astype(np.int64)
        self._rank = np.empty_like(self._order)
        self._rank[self._order] = np.arange(len(self._order))
        self._group = functools.lru_cache(maxsize=_GROUPS)(self._read_group)

    def search(
        self, queries: Sequence[str], top: int, exclude: Sequence[str | None] | None = None
    ) -> list[list[Passage]]:
        """See `Retriever`.

        Raises:
            ConfigError: `top` is below 1.
        """
        if top < 1:
            raise ConfigError(f"retrieval: the top {top} passages; set 1 or more")
        keys = [None] * len(queries) if exclude is None else exclude
        hidden = [self._numbers(each) for each in keys]
        found = []
        # A passage that is hidden may take the place of another among the best.
        candidates = self._index.candidates(queries, [top + len(each) for each in hidden])
        for without, (numbers, scores) in zip(hidden, candidates, strict=True):
            shown = ~np.isin(numbers, without)
            found.append(self._best(numbers[shown], scores[shown], top))
        # Group by group, for all queries together.
        texts = {number: self._text(number) for number in sorted({number for best in found for number, _ in best})}
        return [
            [Passage(self._id(self._row(number)), texts[number], score) for number, score in best] for best in found
        ]

    def _best(self, numbers: Ints, scores: Floats, top: int) -> list[tuple[int, float]]:
        """The best passages and their scores, ties by id, then by their order in the row."""
        scores = scores.round(_DECIMALS)
        if len(scores) > top:
            among = scores >= np.partition(scores, -top)[-top]
            numbers, scores = numbers[among], scores[among]
        rows = np.searchsorted(self._first, numbers, side="right") - 1
        order = np.lexsort((numbers, self._rank[rows], -scores))[:top]
        return list(zip(numbers[order].tolist(), scores[order].tolist(), strict=True))

    def _numbers(self, key: str | None) -> Ints:
        """The passages of the row with this id."""
        if key is None:
            return np.zeros(0, np.int64)
        low = bisect.bisect_left(self._order, key, key=self._id)
        high = bisect.bisect_right(self._order, key, lo=low, key=self._id)
        rows = self._order[low:high].tolist()
        return np.array([number for row in rows for number in range(*self._first[row : row + 2])], np.int64)

    def _row(self, number: int) -> int:
        return int(np.searchsorted(self._first, number, side="right")) - 1

    def _id(self, row: int) -> str:
        return str(self._ids[int(row)])

    def _text(self, number: int) -> str:
        row = self._row(number)
        group = bisect.bisect_right(self._groups, row, key=lambda each: each.start) - 1
        values = self._group(group).slice(row - self._groups[group].start, 1).combine_chunks()
        return _passages(_texts(values, self._column), self._words)[0][number - int(self._first[row])]

    def _read_group(self, group: int) -> pa.ChunkedArray:
        with files.open_input(self._groups[group].path) as stream:
            reader = pq.ParquetFile(stream, pre_buffer=False)
            table = reader.read_row_group(self._groups[group].number, columns=[self._column], use_threads=False)
        return table.column(self._column)


def _texts(values: pa.Array, column: str) -> TextBatch:
    """What rows say; null says nothing."""
    if column == "messages":
        return TextBatch.of(ChatBatch(values.cast(MESSAGES)).parts("text"))
    return TextBatch(values)


def _passages(batch: TextBatch, words: int | None) -> list[list[str]]:
    """The passages of each text, one or more."""
    texts = batch.strings()
    if words is None:
        return [[text] for text in texts]
    sizes = np.diff(batch.words("uax29").offsets).tolist()
    return [
        [text] if size <= words else _cut(batch, i, words)
        for i, (text, size) in enumerate(zip(texts, sizes, strict=True))
    ]


def _cut(batch: TextBatch, text: int, words: int) -> list[str]:
    """The passages of a text: as many paragraphs, and sentences of long ones, as have so many words together."""
    starts, lines, bits = batch.words("uax29").start, batch.lines(), batch.bits()
    parts: list[tuple[int, int]] = []
    for line in range(lines.offsets[text], lines.offsets[text + 1]):
        first, last = int(lines.first[line]), int(lines.last[line])
        low, high = np.searchsorted(starts, [first, last])
        ends = [last] if high - low <= words else sentence_ends(batch.data, bits, first, last).tolist()
        parts += itertools.pairwise([first, *ends])
    passages: list[str] = []
    begin = end = parts[0][0]
    held = 0
    for start, stop in parts:
        low, high = np.searchsorted(starts, [start, stop])
        size = int(high - low)
        if held and size and held + size > words:
            passages.append(_decode(batch, begin, end))
            begin, held = start, 0
        end, held = stop, held + size
    return [*passages, _decode(batch, begin, end)]


def _decode(batch: TextBatch, start: int, end: int) -> str:
    return batch.data[start:end].tobytes().decode("utf-8", "replace").strip()
