"""One pass over the conversations that a selection was made from: their lengths, and what the picks say in them.

    found = read_pool(pool, picks, targets)
    found.answers[row], found.turns[row]
    found.seen[digest].questions.first[example]       # the pool's row with the same question, -1 for none

Held in memory are the ids and a few numbers a row, signatures of at most `NEAR_ROWS` picks of each step, and the
hashes of the targets' words; never the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.dataset import Dataset
from curate.report.picks import Bools, Floats, Pick, shard_starts
from curate.steps.dedup.minhash import Hashes, Ints, Signatures, Turns, Wording

# As many words in a row are taken for a copy (Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C).
RUN = 13
NEAR_ROWS = 10_000
_ROWS = 4096


class Shared:
    """Which examples of a target share a hash with rows of the pool, and with those of each pick."""

    def __init__(self, hashes: Hashes, owner: Ints, examples: int, picks: int) -> None:
        self._keys, at = np.unique(hashes, return_inverse=True)
        self._at, self._owner, self._examples = at.ravel(), owner, examples
        self._first = np.full(len(self._keys), np.iinfo(np.int64).max)
        self._picked = np.zeros((picks, len(self._keys)), np.bool_)

    def meet(self, hashes: Hashes, rows: Ints, picked: Sequence[Bools]) -> None:
        """Look at hashes of the pool, each of a row."""
        if not len(self._keys):
            return
        at = np.minimum(np.searchsorted(self._keys, hashes), len(self._keys) - 1)
        hit = self._keys[at] == hashes
        at, rows = at[hit], rows[hit]
        np.minimum.at(self._first, at, rows)
        for flags, mask in zip(self._picked, picked, strict=True):
            flags[at[mask[rows]]] = True

    @property
    def first(self) -> Ints:
        """For each example the first row of the pool that shares a hash with it, -1 for none."""
        found = np.full(self._examples, np.iinfo(np.int64).max)
        np.minimum.at(found, self._owner, self._first[self._at])
        return np.where(found == np.iinfo(np.int64).max, -1, found)

    @property
    def picked(self) -> Bools:
        """For each pick and example, whether one of the pick's rows does, (picks, examples)."""
        found = np.zeros((len(self._picked), self._examples), np.bool_)
        for flags, into in zip(self._picked, found, strict=True):
            into[self._owner[flags[self._at]]] = True
        return found


@dataclass(frozen=True)
class Seen:
    """How much of a target stands in the pool: the same question, and `RUN` words in a row of the whole text."""

    ids: Sequence[str]
    questions: Shared
    runs: Shared


@dataclass(frozen=True)
class PoolRows:
    """What the pass found.

    Attributes:
        ids: of the rows.
        turns: of each row.
        questions: characters of all but the answers of each row.
        answers: characters of its answers.
        copies: for each pick how many of its rows say the same as another of higher rank.
        signatures: for each pick those of its first rows, by rank.
        seen: the targets by digest.
    """

    ids: pa.Array
    turns: Floats
    questions: Floats
    answers: Floats
    copies: tuple[int, ...]
    signatures: tuple[Signatures, ...]
    seen: Mapping[str, Seen]


def read_pool(pool: Dataset, picks: Sequence[Pick], targets: Sequence[Dataset], *, at_once: int = _ROWS) -> PoolRows:
    """Read every conversation of a pool once, `at_once` together."""
    turns, questions, answers = (np.zeros(pool.rows) for _ in range(3))
    masks = [np.zeros(pool.rows, np.bool_) for _ in picks]
    for mask, pick in zip(masks, picks, strict=True):
        mask[pick.rows] = True
    wanted = np.logical_or.reduce(masks)
    whole = np.zeros(pool.rows, np.uint64)
    place = np.full(pool.rows, -1)
    signed = np.unique(np.concatenate([pick.rows[:NEAR_ROWS] for pick in picks]))
    place[signed] = np.arange(len(signed))
    signatures = np.zeros((len(signed), 128), np.uint32)
    seen = {target.manifest.digest: _seen(target, len(picks), at_once) for target in targets}
    ids: list[pa.Array] = []
    for shard, start in shard_starts(pool).items():
        for batch in _small(pool.read(shard, ["id", "messages"]), at_once):
            messages, rows = batch.column("messages"), np.arange(start, start + batch.num_rows)
            start += batch.num_rows
            ids.append(batch.column("id").cast(pa.string()))
            turns[rows], questions[rows], answers[rows] = _measured(messages)
            for each in seen.values():
                asked = Wording.of(messages, "question").whole()
                each.questions.meet(asked[asked != 0], rows[asked != 0], masks)
                runs, owner = Wording.of(messages, "text").runs(RUN)
                each.runs.meet(runs, rows[owner], masks)
            some = np.flatnonzero(wanted[rows])
            words = Wording.of(messages.take(pa.array(some)), "text")
            whole[rows[some]] = words.whole()
            near = place[rows[some]] >= 0
            signatures[place[rows[some]][near]] = words.signatures()[near]
    return PoolRows(
        pa.concat_arrays(ids) if ids else pa.array([], pa.string()),
        turns,
        questions,
        answers,
        tuple(len(pick.rows) - len(np.unique(whole[pick.rows])) for pick in picks),
        tuple(signatures[place[pick.rows[:NEAR_ROWS]]] for pick in picks),
        seen,
    )


def _small(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of so few rows that the hashes of their words take little memory."""
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _measured(messages: pa.Array) -> tuple[Floats, Floats, Floats]:
    """Turns, characters of all but the answers, characters of the answers."""
    each = Turns.of(messages)
    characters = pc.fill_null(pc.utf8_length(each.content), 0).to_numpy(zero_copy_only=False).astype(np.float64)
    weights = (np.ones(len(each.owner)), characters * ~each.answers, characters * each.answers)
    turns, questions, answers = (np.bincount(each.owner, some, len(messages)) for some in weights)
    return turns.astype(np.float64), questions.astype(np.float64), answers.astype(np.float64)


def _seen(target: Dataset, picks: int, at_once: int) -> Seen:
    """The hashes of a target's examples."""
    ids: list[str] = []
    asked: list[Hashes] = []
    runs: list[Hashes] = []
    owners: list[Ints] = []
    for shard in target.shards:
        for batch in _small(target.read(shard, ["id", "messages"]), at_once):
            messages = batch.column("messages")
            asked.append(Wording.of(messages, "question").whole())
            found, owner = Wording.of(messages, "text").runs(RUN)
            runs.append(found)
            owners.append(owner + len(ids))
            ids += batch.column("id").to_pylist()
    whole = np.concatenate([np.zeros(0, np.uint64), *asked])
    questions = Shared(whole[whole != 0], np.flatnonzero(whole), len(ids), picks)
    shared = np.concatenate([np.zeros(0, np.uint64), *runs])
    return Seen(ids, questions, Shared(shared, np.concatenate([np.zeros(0, np.int64), *owners]), len(ids), picks))
