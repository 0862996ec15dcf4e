from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import CurateError
from curate.text.batch import TextBatch
from tests.text.reference import batch_of_bytes


def test_a_batch_views_the_bytes_of_its_column_without_a_copy() -> None:
    column = pa.array(["ab", "cde"], type=pa.large_string())
    batch = TextBatch(column)
    assert batch.data.ctypes.data == column.buffers()[2].address
    assert batch.offsets.tolist() == [0, 2, 5]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_kind_of_string_column_is_read(kind: pa.DataType) -> None:
    assert TextBatch(pa.array(["é", None, ""], type=kind)).strings() == ["é", "", ""]


@given(st.lists(st.none() | st.text(max_size=5), max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_a_slice_is_read_like_the_rows_it_shows(texts: list[str | None], start: int, length: int) -> None:
    column = pa.array(texts, type=pa.large_string()).slice(min(start, len(texts)), length)
    batch = TextBatch(column)
    assert batch.strings() == [text or "" for text in column.to_pylist()]
    assert batch.valid.tolist() == column.is_valid().to_pylist()
    assert len(batch) == len(column)


def test_chunks_are_read_as_one_column() -> None:
    column = pa.chunked_array([["a b"], [], ["c", None]], type=pa.string())
    batch = TextBatch(column)
    assert batch.strings() == ["a b", "c", ""]
    assert batch.words("whitespace").offsets.tolist() == [0, 2, 3, 3]


def test_an_empty_column_has_no_words_and_no_lines() -> None:
    for column in (pa.array([], type=pa.string()), pa.chunked_array([], type=pa.large_string()), pa.nulls(0)):
        batch = TextBatch(column)
        assert (len(batch), len(batch.words()), len(batch.lines())) == (0, 0, 0)


def test_bytes_under_a_null_do_not_count() -> None:
    text = pa.array(["ab", "cd", "ef"])
    hidden = pa.StringArray.from_buffers(3, text.buffers()[1], text.buffers()[2], pa.py_buffer(b"\x05"))
    batch = TextBatch(hidden)
    assert batch.strings() == ["ab", "", "ef"]
    assert batch.words("whitespace").offsets.tolist() == [0, 1, 1, 2]


def test_invalid_bytes_decode_as_python_replaces_them() -> None:
    rows = [b"a\xffb", b"\xe2\x82", b"\xed\xa0\x80", b"ok"]
    assert batch_of_bytes(rows).strings() == [row.decode("utf-8", "replace") for row in rows]


def test_a_column_of_numbers_is_refused_by_name() -> None:
    with pytest.raises(CurateError, match="int64"):
        TextBatch(pa.array([1]))


def test_each_splitter_runs_once_and_so_do_lines() -> None:
    batch = TextBatch.of(["some words"])
    for _ in range(3):
        batch.words("uax29")
        batch.words("whitespace")
        batch.lines()
    assert batch.tokenisations == {"uax29": 1, "whitespace": 1, "lines": 1}
    assert batch.bits() is batch.bits()


@given(st.lists(st.text(alphabet="ab \n\té\u2028", max_size=12), max_size=4))
def test_lines_are_what_splitting_at_line_feeds_gives(texts: list[str]) -> None:
    batch = TextBatch.of(texts)
    lines = batch.lines()
    for row, text in enumerate(texts):
        expected = text.split("\n") if text else []
        found = range(lines.offsets[row], lines.offsets[row + 1])
        assert [bytes(batch.data[lines.start[k] : lines.end[k]]).decode() for k in found] == expected
        stripped = [bytes(batch.data[lines.first[k] : lines.last[k]]).decode() for k in found]
        assert stripped == [line.strip() for line in expected]
        assert [lines.chars[k] for k in found] == [len(line) for line in expected]


@pytest.mark.parametrize("offsets", [[0, 9, 3], [0, -4, 3], [2, 1, 3]])
@pytest.mark.parametrize("valid", [None, b"\x01"])
def test_offsets_that_are_not_those_of_the_bytes_are_refused(offsets: list[int], valid: bytes | None) -> None:
    mask = None if valid is None else pa.py_buffer(valid)
    bounds = pa.py_buffer(np.array(offsets, dtype=np.int64))
    column = pa.LargeStringArray.from_buffers(2, bounds, pa.py_buffer(b"abc"), mask)
    with pytest.raises(CurateError, match="damaged"):
        TextBatch(column)
