"""The selector `bm25`: the rows whose words are those of the targets.

    picks: {select: {from: [pool], budget: 0.05, bm25: {targets: [bbh, mmlu], part: question}}}

A baseline without any model. The score of row d for an example q (Robertson and Zaragoza 2009; the inverse document
frequency as Lucene has it, which is never negative; a word that q has twice counts twice) is the sum over the words
of q of

    ln(1 + (N - n + 0.5) / (n + 0.5)) * f * (k1 + 1) / (f + k1 * (1 - b + b * |d| / mean |d|))

with f the times that d has the word, n the rows that have it, N all rows of the pool, and |d| the words of d. Words
are those of Unicode's annex 29, in lower case. Shards are read once, where the workers are; what comes back is a
number for a row and a task.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from curate.core import files
from curate.core.chat.messages import MESSAGES, ChatBatch, Part
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError, RunError
from curate.core.map_shard import ShardTask, shard_tasks
from curate.core.shards import read_shard
from curate.core.step import Job, Receipt
from curate.models.retrieval.bm25 import K1, B, inverse_document_frequency, word_weights
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Floats, Ints, Objects, Pool
from curate.steps.select.selector import Verdict
from curate.steps.select.targets import Targeted, Task, listed
from curate.steps.select.turns import Over, take_over_tasks
from curate.text.batch import TextBatch

Keys = npt.NDArray[np.uint64]
# Examples, and words of rows, that are multiplied at once: 16 MB.
_EXAMPLES, _WORDS = 64, 1 << 15


class Bm25(Targeted):
    """Rows by their BM25 score for the examples of every task.

    Attributes:
        part: of the rows and of the examples: `question`, `answer` or all of the `text`.
        k1: how soon a word that comes again stops counting.
        b: how much long rows are marked down, 0 to 1.
        over_examples: of a task: the `mean` score or the `max`.
        over_tasks: over the tasks: `max`, `mean` or `round_robin`.
    """

    part: Part = "question"
    k1: Annotated[float, Field(ge=0)] = K1
    b: Annotated[float, Field(ge=0, le=1)] = B
    over_examples: Literal["mean", "max"] = "mean"
    over_tasks: Over = "max"

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        """Count the words of the targets in every shard, score every shard, and take the best rows."""
        tasks = self.tasks(job)
        queries = self._queries(job, tasks)
        shards = shard_tasks(job.inputs["from[0]"])
        counted = job.map("words", functools.partial(_Count, queries.words, self.part, job.scratch), shards)
        corpus = _corpus(job.scratch, [each.task for each in counted], len(queries.words), self.k1, self.b)
        make = functools.partial(_Score, queries, corpus, self.over_examples, job.scratch)
        scored = job.map("scores", make, shards)
        if len(scored) < len(shards):
            raise RunError(f"step {job.step.name}: a shard was given up, and a selection needs them all; run again")
        parts = [_load(job.scratch, each.task, "scores") for each in scored]
        by_task: Floats = np.concatenate([part["scores"] for part in parts], axis=1)
        nearest: Ints = np.concatenate([part["nearest"] for part in parts], axis=1)
        scores, targets = take_over_tasks(by_task, [task.name for task in tasks], self.over_tasks, pool, filling)
        targets[scores <= 0] = None
        return Verdict(scores, targets, _ids(tasks, targets, nearest))

    def _queries(self, job: Job, tasks: Sequence[Task]) -> _Queries:
        """The words of every example of every task.

        Raises:
            ConfigError: no example has a word.
        """
        found: list[list[Keys]] = []
        for i, _ in enumerate(listed(self.targets)):
            data = job.inputs[f"targets[{i}]"]
            found.append([row for _, keys, at in _words(data, self.part) for row in np.split(keys, at[1:-1])])
        examples = [found[task.dataset][row] for task in tasks for row in task.rows.tolist()]
        words = np.unique(np.concatenate(examples))
        if not len(words):
            raise ConfigError(f"the targets have no word in their {self.part}; name another `part`")
        ends = np.cumsum([len(each) for each in examples])
        terms = np.searchsorted(words, np.concatenate(examples))
        return _Queries(words, terms, np.concatenate([[0], ends]), tuple(len(task) for task in tasks))


@dataclass(frozen=True)
class _Queries:
    """The examples of all tasks.

    Attributes:
        words: all their words by hash, sorted.
        terms: the words of every example, as places in `words`; of example i `terms[at[i]:at[i + 1]]`.
        at: see `terms`.
        sizes: how many examples each task has.
    """

    words: Keys
    terms: Ints
    at: Ints
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class _Corpus:
    """What the scores need to know of the whole pool: each word's inverse document frequency, and the mean length."""

    idf: Floats
    mean: float
    k1: float
    b: float


def _words(data: Dataset, part: Part) -> Iterator[tuple[int, Keys, Ints]]:
    for shard in data.shards:
        for batch in data.read(shard, ["messages"]):
            yield _hashes(batch, part)


def _hashes(batch: pa.RecordBatch, part: Part) -> tuple[int, Keys, Ints]:
    """The hashes of the words of a batch: how many rows, the words, and where those of each row begin."""
    texts = ChatBatch(batch.column("messages").cast(MESSAGES)).parts(part)
    words = TextBatch.of([text.lower() for text in texts]).words("uax29")
    return batch.num_rows, words.hash, words.offsets


class _Count:
    """How often each row of a shard has each word of the targets, as a file below the scratch folder."""

    def __init__(self, words: Keys, part: Part, scratch: str) -> None:
        self._words, self._part, self._scratch = words, part, scratch

    def __call__(self, task: ShardTask) -> Receipt:
        many = len(self._words)
        lengths, pairs, times = [], [], []
        at = 0
        for batch in read_shard(task.source, ["messages"]):
            rows, keys, offsets = _hashes(batch, self._part)
            size = np.diff(offsets)
            terms = np.minimum(np.searchsorted(self._words, keys), many - 1)
            known = self._words[terms] == keys
            row = np.repeat(np.arange(at, at + rows), size)
            pair, count = np.unique(row[known] * many + terms[known], return_counts=True)
            lengths.append(size)
            pairs.append(pair)
            times.append(count)
            at += rows
        some = np.zeros(0, np.int64)
        pair = np.concatenate([some, *pairs])
        _save(
            self._scratch,
            task.name,
            "words",
            row=pair // many,
            term=pair % many,
            times=np.concatenate([some, *times]),
            length=np.concatenate([some, *lengths]),
        )
        return Receipt(task.name, task.rows)


def _corpus(scratch: str, shards: Sequence[str], words: int, k1: float, b: float) -> _Corpus:
    """Add the shards up."""
    rows = length = 0
    having = np.zeros(words, np.int64)
    for shard in shards:
        counts = _load(scratch, shard, "words")
        having += np.bincount(counts["term"], minlength=words)
        rows += len(counts["length"])
        length += int(counts["length"].sum())
    return _Corpus(inverse_document_frequency(rows, having), length / max(1, rows), k1, b)


class _Score:
    """The score of every row of a shard for every task, and which of its examples is nearest."""

    def __init__(self, queries: _Queries, corpus: _Corpus, over: str, scratch: str) -> None:
        self._queries, self._corpus, self._over, self._scratch = queries, corpus, over, scratch

    def __call__(self, task: ShardTask) -> Receipt:
        counts = _load(self._scratch, task.name, "words")
        term, times, corpus = counts["term"], counts["times"].astype(np.float64), self._corpus
        length = counts["length"][counts["row"]] / corpus.mean
        weights = word_weights(corpus.idf[term], times, length, corpus.k1, corpus.b)
        rows = len(counts["length"])
        scores = np.zeros((len(self._queries.sizes), rows))
        nearest = np.zeros((len(self._queries.sizes), rows), np.int64)
        first = 0
        for i, size in enumerate(self._queries.sizes):
            total, best = np.zeros(rows), np.zeros(rows)
            for start in range(first, first + size, _EXAMPLES):
                stop = min(start + _EXAMPLES, first + size)
                for among, some in self._multiply(counts["row"], term, weights, start, stop):
                    total[among] += some.sum(axis=1)
                    better = some.max(axis=1) > best[among]
                    best[among[better]] = some[better].max(axis=1)
                    nearest[i, among[better]] = start - first + some[better].argmax(axis=1)
            scores[i] = total / size if self._over == "mean" else best
            first += size
        _save(self._scratch, task.name, "scores", scores=scores, nearest=nearest)
        return Receipt(task.name, task.rows)

    def _multiply(self, row: Ints, term: Ints, weights: Floats, start: int, stop: int) -> Iterator[tuple[Ints, Floats]]:
        """Some rows, each once, and their scores for the examples from `start` to `stop`."""
        queries = self._queries
        inside = slice(queries.at[start], queries.at[stop])
        example = np.repeat(np.arange(stop - start), np.diff(queries.at[start : stop + 1]))
        times = np.zeros((len(queries.words), stop - start))
        np.add.at(times, (queries.terms[inside], example), 1)
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        # Cut between rows, so that a row's sum is in one go.
        cuts = [0, *np.flatnonzero(np.diff(begins // _WORDS)) + 1, len(begins)]
        for low, high in itertools.pairwise(cuts):
            if low == high:
                continue
            begin = begins[low]
            end = begins[high] if high < len(begins) else len(row)
            products = times[term[begin:end]] * weights[begin:end, None]
            yield row[begins[low:high]], np.add.reduceat(products, begins[low:high] - begin, axis=0)


def _ids(tasks: Sequence[Task], targets: Objects, nearest: Ints) -> Objects:
    """The id of the example that is nearest to each row in the task that it is for."""
    found: Objects = np.full(len(targets), None, dtype=object)
    for i, task in enumerate(tasks):
        mine = np.flatnonzero(targets == task.name)
        found[mine] = task.ids[nearest[i, mine]]
    return found


def _save(scratch: str, shard: str, what: str, **arrays: npt.NDArray[np.generic]) -> None:
    with files.atomic_output(files.join(scratch, f"{shard}.{what}.npz")) as out:
        np.savez(out, allow_pickle=False, **arrays)


def _load(scratch: str, shard: str, what: str) -> dict[str, npt.NDArray[Any]]:
    with files.open_input(files.join(scratch, f"{shard}.{what}.npz")) as stream:
        loaded = np.load(stream, allow_pickle=False)
        return {name: loaded[name] for name in loaded.files}
