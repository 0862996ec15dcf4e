"""The frame of a fit: its vocabulary, its ranges of n-grams, and where its stages leave their files.

An n-gram belongs to the range of its last two words, so that all that end alike, of every order from 2 up, stand
together; what is known of a single word lies in arrays as long as the vocabulary. Ranges are intervals of the one
order of all n-grams (by the last word, then the one before it, and so on): a model does not depend on where they
are cut. So a range may begin inside of the n-grams of one frequent last word.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from curate.core import files
from curate.core.errors import ConfigError, RunError
from curate.core.step import Receipt
from curate.models.ngram.counts import Head, Ids, Ints, read_head, read_words, word_hash
from curate.models.ngram.text_form import SPECIAL_WORDS, TextForm

Keys = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

_SPECIAL = len(SPECIAL_WORDS)
_PENDING = 1 << 20  # words that are collected before they are added up
_SLICE = 1 << 16  # words that are Python strings at a time


@dataclass(frozen=True)
class Part:
    """One task of a stage: a count file, a range, or the whole."""

    name: str
    rows: int
    index: int


class Run(Protocol):
    """Runs the tasks of a stage somewhere, as `Job.map` does."""

    def __call__(
        self, stage: str, make: Callable[[], Callable[[Part], Receipt]], tasks: Sequence[Part]
    ) -> list[Receipt]:
        """The receipts of all tasks, in their order."""
        ...


@dataclass(frozen=True)
class Options:
    """How a model is fitted, apart from its data.

    Attributes:
        prune: n-grams of order 1, 2, ... that occur this often or less are left out of the model; the last
            number holds for the higher orders; none prunes nothing.
        vocabulary: so many of the most frequent words stay in the model, of equals the first by its bytes;
            None keeps all.
        range_rows: about how many rows of the count files make a range. Bears on memory, not on the model.
    """

    prune: tuple[int, ...] = ()
    vocabulary: int | None = None
    range_rows: int = 1 << 21


@dataclass(frozen=True)
class Plan:
    """What every stage knows: the data, the options, the cuts between the ranges, and the folder of its files."""

    folder: str
    count_files: tuple[str, ...]
    order: int
    form: TextForm
    tokens: int
    documents: int
    words: int
    prune: tuple[int, ...]
    cuts: tuple[int, ...]

    @property
    def ranges(self) -> int:
        """How many ranges there are."""
        return len(self.cuts) + 1

    def path(self, stage: str, index: int) -> str:
        """The file that a stage writes for a count file or a range."""
        return files.join(self.folder, stage, f"{index:05d}.npz")

    def range_of(self, last: Ids, before: Ids) -> Ints:
        """The ranges of n-grams by their last two words."""
        return np.searchsorted(np.array(self.cuts, dtype=np.uint64), pair(before, last), side="right")


_PLAN = TypeAdapter(Plan)


def pair(first: Ids, second: Ids) -> Keys:
    """Two words as one number, which sorts as n-grams do: by the second word before the first."""
    return (second.astype(np.uint64) << np.uint64(32)) | first


def save(path: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Write arrays by name into one file, whole or not at all."""
    with files.atomic_output(path) as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]  # numpy takes its own flag by keyword, too


class Arrays:
    """The arrays of a file that `save` wrote, each read when it is asked for."""

    def __init__(self, found: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self._found = found

    def get(self, name: str, kind: type[Scalar]) -> npt.NDArray[Scalar]:
        """An array, of the kind it was saved with."""
        return np.asarray(self._found[name], dtype=kind)


@contextlib.contextmanager
def load(path: str) -> Iterator[Arrays]:
    """Open what `save` wrote."""
    with files.open_input(path) as stream, np.load(stream, allow_pickle=False) as found:
        yield Arrays(found)


@dataclass(frozen=True)
class Vocabulary:
    """All words, SPECIAL_WORDS first and the others by hash; how often each occurs; which stay in the model."""

    data: npt.NDArray[np.uint8]
    offsets: Ints
    occurrences: Ints
    kept: Bools

    def strings(self) -> pa.LargeStringArray:
        """The words as an Arrow array on the same memory."""
        offsets, data = pa.py_buffer(self.offsets), pa.py_buffer(self.data)
        return pa.LargeStringArray.from_buffers(len(self.occurrences), offsets, data)


def make_plan(folder: str, count_files: Sequence[str], options: Options) -> Plan:
    """Merge the vocabularies, and cut the n-grams into ranges; leaves both in the folder.

    Raises:
        ConfigError: the options are no thresholds.
        RunError: a count file is damaged, holds another order or text form, or there is not one word in all.
    """
    heads = [read_head(path) for path in count_files]
    kinds = {(h.order, *h.form.names().values()): h.path for h in heads}
    if len(kinds) > 1:
        (_, one), (_, other) = sorted(kinds.items())[:2]
        raise RunError(f"{other}: counted with another order or text form than {one}; count both again")
    documents = sum(h.documents for h in heads)
    if not documents:
        raise RunError("there is not one word to train an n-gram model on; check the input of the training step")
    order = heads[0].order
    prune = thresholds(options.prune, order)
    words = _merge_words(heads)
    kept = _kept(words, prune[0], options.vocabulary)
    strings = words["word"].combine_chunks()
    _, offsets, data = strings.buffers()
    save(
        _vocabulary_path(folder),
        {
            "data": np.frombuffer(data, dtype=np.uint8),
            "offsets": np.frombuffer(offsets, dtype=np.int64)[: len(strings) + 1],
            "occurrences": words["count"].to_numpy(),
            "kept": kept,
        },
    )
    plan = Plan(
        folder=folder,
        count_files=tuple(count_files),
        order=order,
        form=heads[0].form,
        tokens=sum(h.tokens for h in heads),
        documents=documents,
        words=len(strings),
        prune=prune,
        cuts=_cuts(heads, strings, options.range_rows),
    )
    with files.atomic_output(_plan_path(folder)) as out:
        out.write(_PLAN.dump_json(plan))
    return plan


def read_plan(folder: str) -> Plan:
    """The plan that `make_plan` left in the folder."""
    return _PLAN.validate_json(files.read_bytes(_plan_path(folder)))


def read_vocabulary(folder: str) -> Vocabulary:
    """The vocabulary that `make_plan` left in the folder."""
    with load(_vocabulary_path(folder)) as found:
        return Vocabulary(
            data=found.get("data", np.uint8),
            offsets=found.get("offsets", np.int64),
            occurrences=found.get("occurrences", np.int64),
            kept=found.get("kept", np.bool_),
        )


def _plan_path(folder: str) -> str:
    return files.join(folder, "plan.json")


def _vocabulary_path(folder: str) -> str:
    return files.join(folder, "vocabulary.npz")


def thresholds(prune: Sequence[int], order: int) -> tuple[int, ...]:
    """A threshold for every order, from those given.

    Raises:
        ConfigError: there are more than orders, or they fall, which would leave n-grams without their parts.
    """
    if len(prune) > order or any(a > b for a, b in zip([0, *prune], prune, strict=False)):
        raise ConfigError(f"prune {list(prune)}: takes up to {order} thresholds, one an order, none below the last")
    return (*prune, *[prune[-1] if prune else 0] * (order - len(prune)))


def _merge_words(heads: Sequence[Head]) -> pa.Table:
    """The words of all files with their occurrences, in the order of a vocabulary."""
    parts: list[pa.Table] = []
    for i, head in enumerate(heads):
        parts.append(read_words(head))
        if i + 1 == len(heads) or sum(len(part) for part in parts[1:]) > max(_PENDING, len(parts[0])):
            added = pa.concat_tables(parts).group_by("word", use_threads=False).aggregate([("count", "sum")])
            parts = [pa.table({"word": added["word"], "count": added["count_sum"]})]
    words = parts[0]
    special = pc.index_in(words["word"], pa.array(SPECIAL_WORDS, pa.large_string()))
    hashes = np.fromiter(map(word_hash, plain(words["word"])), dtype=np.uint64, count=len(words))
    keyed = words.append_column("special", special.combine_chunks().fill_null(_SPECIAL))
    keyed = keyed.append_column("hash", pa.array(hashes))
    order = pc.sort_indices(keyed, [(name, "ascending") for name in ("special", "hash", "word")])
    return words.take(order)


def plain(words: pa.ChunkedArray | pa.Array) -> Iterator[str]:
    """Words as Python strings, not all at once."""
    for start in range(0, len(words), _SLICE):
        yield from words.slice(start, _SLICE).to_pylist()


def _kept(words: pa.Table, threshold: int, limit: int | None) -> Bools:
    occurrences = words["count"].to_numpy()
    kept: Bools = occurrences > threshold
    if limit is not None:
        others = words.slice(_SPECIAL).append_column("row", pa.array(np.arange(_SPECIAL, len(words))))
        rare = pc.sort_indices(others, [("count", "descending"), ("word", "ascending")]).to_numpy()[limit:]
        kept[rare + _SPECIAL] = False
    kept[:_SPECIAL] = True
    return kept


def _cuts(heads: Sequence[Head], words: pa.LargeStringArray, range_rows: int) -> tuple[int, ...]:
    """Where the ranges after the first begin, so that each has about as many rows, by the samples of the files."""
    rows = sum(head.rows for head in heads)
    ranges = -(-rows // range_rows)
    if ranges == 1:
        return ()
    keys: list[Keys] = []
    weights: list[npt.NDArray[np.float64]] = []
    for head in heads:
        number = pc.index_in(read_words(head)["word"], words).to_numpy().astype(np.uint32)
        ends = number[head.sample]
        keys.append(pair(ends[:, 0], ends[:, 1]))
        weights.append(np.full(len(head.sample), head.rows / max(len(head.sample), 1)))
    order = np.argsort(np.concatenate(keys), kind="stable")
    before = np.cumsum(np.concatenate(weights)[order])
    at = np.searchsorted(before, rows / ranges * np.arange(1, ranges))
    return tuple(np.unique(np.concatenate(keys)[order][at]).tolist())
