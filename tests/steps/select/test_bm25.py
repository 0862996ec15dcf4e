"""BM25 against a plain reference, and what the words of targets find in a pool."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from curate.core.chat.messages import Turn, part
from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.core.engine import Outcome
from curate.core.engine.local import LocalEngine
from curate.text.batch import TextBatch
from tests.helpers import rows, tree
from tests.steps.select.picks import selected, taken
from tests.steps.select.pools import dolly, flan, pool

TASKS = ("gsm8k", "qasc", "creak")


@pytest.fixture(scope="module")
def target(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Tasks of 1, 2 and 70 examples."""
    some = [(task, chat) for task, many in zip(TASKS, (1, 2, 70), strict=True) for chat in flan(shared, task, many)]
    folder = tmp_path_factory.mktemp("target")
    return pool(folder / "t", [c for _, c in some], step="t", shards=2, columns={"task": [task for task, _ in some]})


def words(text: str) -> list[str]:
    batch = TextBatch.of([text.lower()])
    found = batch.words("uax29")
    data = batch.data.tobytes()
    return [data[a:b].decode() for a, b in zip(found.start, found.end, strict=True)]


def reference(pool_texts: Sequence[str], queries: Sequence[str], k1: float, b: float) -> np.ndarray:
    """Scores (rows, queries), a word at a time."""
    bags = [Counter(words(text)) for text in pool_texts]
    mean = sum(bag.total() for bag in bags) / len(bags)
    having = Counter(word for bag in bags for word in bag)
    scores = np.zeros((len(bags), len(queries)))
    for i, bag in enumerate(bags):
        for j, query in enumerate(queries):
            for word in words(query):
                idf = math.log(1 + (len(bags) - having[word] + 0.5) / (having[word] + 0.5))
                times = bag[word]
                scores[i, j] += idf * times * (k1 + 1) / (times + k1 * (1 - b + b * bag.total() / mean))
    return scores


@pytest.mark.parametrize(
    ("over_examples", "over_tasks", "which"), [("mean", "max", "question"), ("max", "mean", "text")]
)
def test_scores_equal_a_plain_reference(
    shared: Path, tmp_path: Path, target: Dataset, over_examples: str, over_tasks: str, which: str
) -> None:
    chats = [*dolly(shared, 60), (Turn("assistant", ""),), *flan(shared, "gsm8k", 40)[1:]]
    docs = pool(tmp_path / "docs", chats, shards=3)
    arguments = {"targets": "t", "by": "task", "part": which, "k1": 1.2, "b": 0.6, "over_examples": over_examples, "over_tasks": over_tasks}  # fmt: skip
    found = rows(selected(tmp_path, [docs], {"t": target}, budget=20, bm25=arguments))
    examples = [*flan(shared, "gsm8k", 1), *flan(shared, "qasc", 2), *flan(shared, "creak", 70)]
    every = reference([part(c, which) for c in chats], [part(c, which) for c in examples], 1.2, 0.6)  # type: ignore[arg-type]  # fmt: skip
    parts = {"gsm8k": every[:, :1], "qasc": every[:, 1:3], "creak": every[:, 3:]}
    one = {name: p.mean(axis=1) if over_examples == "mean" else p.max(axis=1) for name, p in parts.items()}
    expected = np.stack(list(one.values())).max(axis=0) if over_tasks == "max" else np.stack(list(one.values())).mean(axis=0)  # fmt: skip
    np.testing.assert_allclose([row["score"] for row in found], expected, rtol=1e-12)
    firsts = {"gsm8k": 0, "qasc": 1, "creak": 3}
    for i, row in enumerate(found):
        if expected[i] == 0:
            assert row["target"] is None and row["nearest"] is None
            continue
        best = max(one, key=lambda name: (one[name][i], -sorted(one).index(name)))
        assert row["target"] == best
        nearest = parts[best][i, int(str(row["nearest"])) - firsts[best]]
        assert nearest == pytest.approx(parts[best][i].max(), rel=1e-12)
    kept = sorted(range(len(chats)), key=lambda i: (-expected[i], i))[:20]
    assert [int(str(row["id"])) for row in found if row["keep"]] == sorted(kept)


def test_sums_of_school_are_found_among_other_questions(shared: Path, tmp_path: Path) -> None:
    chats = [*dolly(shared, 200), *flan(shared, "gsm8k", 30)[10:]]
    docs = pool(tmp_path / "docs", chats)
    aim = pool(tmp_path / "aim", flan(shared, "gsm8k", 10), step="aim")
    found = taken(selected(tmp_path, [docs], {"aim": aim}, budget=20, bm25={"targets": "aim"}))
    assert sum(int(each) >= 200 for each in found) >= 15


def test_neither_shards_nor_other_tasks_change_a_score(shared: Path, tmp_path: Path, target: Dataset) -> None:
    chats = [*dolly(shared, 80), *flan(shared, "qasc", 20)]
    results = []
    for name, shards in (("one", 1), ("four", 4)):
        docs = pool(tmp_path / name / "docs", chats, shards=shards)
        results.append(rows(selected(tmp_path / name, [docs], {"t": target}, budget=5, bm25={"targets": "t", "by": "task"})))  # fmt: skip
    assert results[0] == results[1]


class Stopping(LocalEngine):
    """Stops after so many tasks, as a kill does."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def map(self, *args: object, **named: object) -> Iterator[Outcome]:  # type: ignore[override]
        for outcome in super().map(*args, **named):  # type: ignore[arg-type]
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
            yield outcome


def test_a_run_that_was_stopped_at_any_task_ends_with_the_same_bytes(
    shared: Path, tmp_path: Path, target: Dataset
) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 40), shards=3)
    config = {"budget": 0.3, "bm25": {"targets": "t", "by": "task", "over_tasks": "round_robin"}}
    selected(tmp_path / "whole", [docs], {"t": target}, **config)
    stops = 0
    for after in (0, 1, 2, 1, 0, 3):
        try:
            selected(tmp_path / "stopped", [docs], {"t": target}, engine=Stopping(after), **config)
        except KeyboardInterrupt:
            stops += 1
    selected(tmp_path / "stopped", [docs], {"t": target}, **config)
    assert stops >= 5
    assert tree(tmp_path / "stopped") == tree(tmp_path / "whole")


def test_targets_without_words_are_refused(shared: Path, tmp_path: Path) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 5))
    aim = pool(tmp_path / "aim", [(Turn("assistant", "Yes."),)], step="aim")
    with pytest.raises(BadValue, match="have no word in their question; name another `part`"):
        selected(tmp_path, [docs], {"aim": aim}, budget=2, bm25={"targets": "aim"})
