from __future__ import annotations

import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.digest import RowDigest, canonical, digest_of

rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(max_size=5),
            "n": st.one_of(st.none(), st.integers(-(2**40), 2**40)),
            "x": st.one_of(st.none(), st.floats(allow_nan=False)),
            "flag": st.one_of(st.none(), st.booleans()),
            "tags": st.one_of(st.none(), st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=3)),
            "m": st.lists(st.fixed_dictionaries({"role": st.text(max_size=3), "k": st.integers(0, 9)}), max_size=2),
        }
    ),
    max_size=12,
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("n", pa.int64()),
        ("x", pa.float64()),
        ("flag", pa.bool_()),
        ("tags", pa.list_(pa.string())),
        ("m", pa.list_(pa.struct([("role", pa.string()), ("k", pa.int64())]))),
    ]
)


def digest(table: pa.Table, size: int) -> str:
    result = RowDigest()
    result.update(table.schema.empty_table())
    for batch in table.to_batches(max_chunksize=size):
        result.update(batch)
    return result.hexdigest()


@given(rows, st.integers(1, 5))
def test_rows_have_one_digest_however_they_are_batched_and_whatever_the_string_width(
    data: list[dict], size: int
) -> None:
    table = pa.Table.from_pylist(data, schema=SCHEMA)
    wide = table.cast(pa.schema([("id", pa.large_string()), *list(SCHEMA)[1:]]))
    assert digest(table, size) == digest(table, 100) == digest(wide, size)


@given(rows)
def test_a_slice_has_the_digest_of_its_rows_alone(data: list[dict]) -> None:
    table = pa.Table.from_pylist(data + data, schema=SCHEMA)
    assert digest(table.slice(len(data)), 100) == digest(pa.Table.from_pylist(data, schema=SCHEMA), 100)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([None], [""]),
        (["a", None], [None, "a"]),
        ([["a"], ["b"]], [["a", "b"], []]),
        ([1], [1.0]),
        ([True], [1]),
    ],
)
def test_different_rows_have_different_digests(a: list, b: list) -> None:
    assert digest(pa.table({"x": a}), 9) != digest(pa.table({"x": b}), 9)


def test_dates_decimals_and_binary_have_a_digest() -> None:
    table = pa.table(
        {
            "d": pa.array([datetime.date(2026, 1, 2), None]),
            "t": pa.array([datetime.datetime(2026, 1, 2), None]),
            "b": pa.array([b"\xff\x00", None]),
            "f": pa.array([b"ab", None], pa.binary(2)),
            "c": pa.array(["x", "x"]).dictionary_encode(),
        }
    )
    assert digest(table, 1) == digest(table, 2)


def test_an_identity_refuses_what_has_no_stable_form() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    with pytest.raises(TypeError):
        canonical({"x": float("nan")})
    with pytest.raises(TypeError):
        canonical({"x": object()})  # type: ignore[dict-item]
