"""The scorer `turns`: how many turns a conversation has, and how long its questions and answers are.

    turns()(ChatBatch.of([[("user", "Hi there"), ("assistant", "Hello")]]))["question_words"]        # [2]

Lengths are needed to choose the longest rows (a baseline that many scores do not beat) and to see what a score owes
to length. Words are those of Unicode's annex 29, as in `curate.text.split`; characters are code points.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.chat.messages import ANSWERS, ChatBatch
from curate.steps.score.scorer import Columns, ConversationScorer
from curate.text.batch import TextBatch
from curate.text.columns import column


def turns() -> ConversationScorer:
    """All int32: turns `""`, `answers`, `question_words`, `question_chars`, `answer_words`, `answer_chars`.

    `answers` counts the turns of the assistant; all other turns, a system's among them, are the question. A
    conversation without turns has 0 of everything.
    """

    def score(batch: ChatBatch) -> Columns:
        every = batch.conversations
        answers = [sum(turn.role == ANSWERS for turn in each) for each in every]
        columns = {
            "": pa.array([len(each) for each in every], pa.int32()),
            "answers": pa.array(answers, pa.int32()),
        }
        for part, answered in (("question", False), ("answer", True)):
            chosen = [[turn.content for turn in each if (turn.role == ANSWERS) == answered] for each in every]
            # Apart, so that a word does not reach from one turn into the next.
            words = TextBatch.of([content for each in chosen for content in each]).words().offsets
            ends = np.cumsum([0, *map(len, chosen)])
            counts: npt.NDArray[np.int64] = words[ends[1:]] - words[ends[:-1]]
            columns[f"{part}_words"] = column(counts.astype(np.int32))
            columns[f"{part}_chars"] = pa.array([sum(map(len, each)) for each in chosen], pa.int32())
        return columns

    return score
