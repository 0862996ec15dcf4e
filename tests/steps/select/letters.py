"""A kind of feature that needs no model, the letters of a conversation, and a selector by their nearness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from curate.core.chat.messages import Conversation, Turn
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.core.step import Job, Step, execute
from curate.models.lm.chat_encode import Refused
from curate.steps.select.feature import Feature, Features, Featurise
from curate.steps.select.features import VERSION, parse, run
from curate.steps.select.filling import Filling
from curate.steps.select.pool import Ints, Objects, Pool
from curate.steps.select.selector import Verdict, best_first
from curate.steps.select.targets import NearTargets


class Letters(Feature):
    """How often each letter of `letters` is in a conversation; none where it has none of them."""

    letters: str = "abcd"
    optimizer: Literal["adam", "none"] = "adam"

    def load(self, models: Mapping[str, str]) -> Featurise:
        return _Count(self.letters)


class _Count:
    weights: Sequence[float] = (1.0,)

    def __init__(self, letters: str) -> None:
        self._letters, self.width = letters, len(letters)

    def __call__(self, conversations: Sequence[Conversation]) -> Features:
        counts = [
            [sum(turn.content.count(letter) for turn in chat) for letter in self._letters] for chat in conversations
        ]
        vectors = np.array(counts, np.float32).reshape(len(conversations), 1, self.width)
        none = Refused("no-letters", "has none of the letters")
        tokens = np.array([len(chat) for chat in conversations], np.int32)
        return Features(vectors, [None if any(each) else none for each in counts], tokens)


class Near(NearTargets):
    """Rows by the largest cosine to any example."""

    def select(self, job: Job, pool: Pool, filling: Filling) -> Verdict:
        store, at = self.vectors(job, pool)
        scores = np.full(len(pool), np.nan)
        mine = np.flatnonzero(at >= 0)
        examples = list(self.examples(job))
        vectors = np.concatenate([each.vectors for each in examples])[:, 0]
        cosines = store.take(at[mine])[:, 0] @ vectors.T
        best = cosines.argmax(axis=1)
        scores[mine] = cosines.max(axis=1)
        filling.take_in_order(best_first(scores, pool, pool.open))
        names = np.concatenate([np.full(len(each.task), each.task.name, object) for each in examples])
        ids = np.concatenate([each.task.ids for each in examples])
        details = {"tasks": {each.task.name: each.task.ids.tolist() for each in examples}}
        return Verdict(scores, targets=self._of(names, best, at), nearest=self._of(ids, best, at), details=details)

    def _of(self, values: Objects, best: Ints, at: Ints) -> Objects:
        found: Objects = np.full(len(at), None, dtype=object)
        found[at >= 0] = values[best]
        return found


def chats(*texts: str) -> list[Conversation]:
    return [(Turn("user", text), Turn("assistant", "")) for text in texts]


def features(tmp_path: Path, of: Dataset, *keepers: Dataset, name: str = "vectors", **letters: object) -> Dataset:
    """The output of a `features` step."""
    names = [f"in{i}" for i in range(1 + len(keepers))]
    config = parse({"from": names, "letters": letters}, ("steps", name, "features"))  # type: ignore[dict-item]
    datasets = dict(zip(names, [of, *keepers], strict=True))
    roles = {role: datasets[each] for role, each in config.inputs().items()}
    step = Step(name, "features", VERSION, config.identity(), roles, {}, lambda job: run(job, config))
    return execute(step, str(tmp_path / name), LocalEngine(), Resources(workers=1), Progress("quiet"))
