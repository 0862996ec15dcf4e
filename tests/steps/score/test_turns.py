from __future__ import annotations

from curate.core.chat.messages import ChatBatch
from curate.steps.score.turns import turns


def test_golden_row() -> None:
    chat = [
        ("system", "Be brief."),
        ("user", "Who are you?"),
        ("assistant", "Nobody"),
        ("user", "漢 é"),
        ("assistant", "at all."),
    ]
    assert {name: values.to_pylist() for name, values in turns()(ChatBatch.of([chat])).items()} == {
        "": [5],
        "answers": [2],
        "question_words": [7],  # 2 + 3 + 2
        "question_chars": [24],  # 9 + 12 + 3
        "answer_words": [3],  # Nobody, at, all: apart, though nothing stands between the two turns
        "answer_chars": [13],
    }
