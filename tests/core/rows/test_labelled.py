from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curate.core.chat.messages import Turn, to_arrow
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.core.rows.labelled import check_labelled, label_of, read_labelled
from tests.helpers import dataset


def read(*data: Dataset, label: str = "label") -> list[tuple[str, str]]:
    return [(row.text, row.label) for row in read_labelled(data, label)]


def test_a_dataset_without_texts_lies_beside_the_rows_before_it(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"text": ["a", "b"], "label": ["x", "y"]}, {"text": ["c"], "label": ["z"]})
    other = dataset(tmp_path / "other", {"text": ["d"], "label": ["w"]})
    labels = dataset(tmp_path / "labels", {"label": ["p", None]}, {"label": ["q"]})
    kept = dataset(tmp_path / "kept", {"keep": [True, None]}, {"keep": [False]})
    assert read(docs, other) == [("a", "x"), ("b", "y"), ("c", "z"), ("d", "w")]
    assert read(docs, kept, other) == [("a", "x"), ("d", "w")]
    assert read(docs, labels, other) == [("a", "p"), ("c", "q"), ("d", "w")]
    assert read(docs, labels, kept) == [("a", "p")]


def test_a_shard_that_a_verdict_lacks_is_not_kept(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"text": ["a"], "label": ["x"]}, {"text": ["b"], "label": ["y"]})
    kept = dataset(tmp_path / "kept", {"keep": [True]})
    assert read(docs, kept) == [("a", "x")]


def test_rows_without_a_text_or_a_label_are_left_out_and_labels_may_be_numbers(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"text": ["a", None, " ", "b"], "label": [1, 2, 3, None], "flag": [True] * 4})
    assert read(docs) == [("a", "1")] and read(docs, label="flag") == [("a", "true"), ("b", "true")]
    assert [label_of(each) for each in (" x ", "", None, 0, False)] == ["x", None, None, "0", "false"]


def test_of_conversations_all_turns_are_the_text(tmp_path: Path) -> None:
    chats = to_arrow([(Turn("user", "Hi"), Turn("assistant", "Hello"))])
    assert read(dataset(tmp_path / "chats", pa.table({"messages": chats, "label": ["x"]}))) == [("Hi\n\nHello", "x")]


def test_what_has_no_labels_is_refused(tmp_path: Path) -> None:
    docs = dataset(tmp_path / "docs", {"text": ["a"], "label": ["x"], "score": [0.5]})
    kept = dataset(tmp_path / "kept", {"keep": [True]})
    with pytest.raises(ConfigError, match="step kept: has neither `text` nor `messages`; name the rows before it"):
        check_labelled([kept, docs], "label")
    with pytest.raises(ConfigError, match="step docs: no column 'labels' in it or beside it.*did you mean 'label'"):
        check_labelled([docs, kept], "labels")
    with pytest.raises(ConfigError, match="'score' in docs holds double, not labels"):
        check_labelled([docs], "score")
