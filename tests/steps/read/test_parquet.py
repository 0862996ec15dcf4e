from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import ConfigError, RunError
from curate.steps.read import read_chunks


def parquet(table: pa.Table, **options: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def texts(values: list[object], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"n": list(range(len(values))), "text": pa.array(values, kind or pa.string())})


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_every_type_of_text_column_gives_the_same(read, kind):
    table = texts(["one", "zwei ä", None, ""], pa.string())
    table = table.set_column(
        1, "text", table.column("text").cast(kind) if kind != pa.string() else table.column("text")
    )
    found = read(parquet(table), "a.parquet")
    assert found.texts == ["one", "zwei ä", ""]
    assert found.rows == [0, 1, 3]
    assert found.column("n") == [0, 1, 3]
    assert found.errors == [(2, "null-text")]
    assert found.chunks[0].table.schema.field("text").type == pa.large_string()


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()], ids=str)
def test_rows_that_are_not_utf8_are_bad(read, kind):
    values = pa.array([b"one", b"caf\xe9", b"three"], pa.binary())
    found = read(parquet(pa.table({"text": values if kind == pa.binary() else values.view(pa.string())})), "a.parquet")
    assert found.texts == ["one", "three"]
    assert found.errors == [(1, "invalid-utf8")]
    assert found.bad[0].sample == b"caf\xe9"


def test_an_own_column_that_is_not_utf8_makes_the_row_bad(read):
    urls = pa.array([b"http://a", b"\xff"], pa.binary()).view(pa.string())
    found = read(parquet(pa.table({"text": ["one", "two"], "url": urls})), "a.parquet")
    assert found.errors == [(1, "invalid-utf8")]
    assert "'url'" in found.bad[0].message


def test_own_columns_keep_their_types_and_dictionaries_are_resolved(read):
    table = pa.table(
        {
            "tags": pa.array([["a"], None], pa.list_(pa.string())),
            "text": ["one", "two"],
            "lang": pa.array(["en", "de"]).dictionary_encode(),
            "meta": pa.array([{"x": 1}, {"x": 2}]),
        }
    )
    found = read(parquet(table), "a.parquet").chunks[0].table
    assert found.column_names == ["text", "tags", "lang", "meta"]
    assert found.column("tags").type == pa.list_(pa.string())
    assert found.column("meta").type == pa.struct([("x", pa.int64())])
    assert found.column("lang").to_pylist() == ["en", "de"]
    assert not pa.types.is_dictionary(found.column("lang").type)


def test_a_missing_column_is_refused_with_those_there_are(read):
    data = parquet(pa.table({"content": ["one"], "url": ["u"]}))
    with pytest.raises(ConfigError, match=r"no column 'text'.*known: content, url"):
        read(data, "a.parquet")
    with pytest.raises(ConfigError, match=r"no column 'lang'"):
        read(data, "a.parquet", text="content", columns=["url", "lang"])
    with pytest.raises(ConfigError, match=r"column 'n' is int64, not text"):
        read(parquet(pa.table({"n": [1]})), "a.parquet", text="n")


def test_a_file_cut_in_half_is_one_bad_record(read):
    data = parquet(texts([f"text {i}" for i in range(1_000)]))
    for cut in (data[: len(data) // 2], data[:-1], data[:3], b"", b"no parquet at all"):
        found = read(cut, "a.parquet")
        assert found.texts == []
        assert found.errors == [(0, "not-parquet")]
        assert "cut or not Parquet" in found.bad[0].message
        assert found.bad[0].sample == cut[:200]


def test_a_file_without_rows_gives_nothing(read):
    assert read(parquet(texts([])), "a.parquet").texts == []
    assert read(parquet(texts([])), "a.parquet").bad == []


def test_a_damaged_row_group_is_one_bad_record_and_the_others_are_read(read):
    table = texts([f"{i} {i * 7919 % 10_007}" for i in range(3_000)])
    data = bytearray(parquet(table, row_group_size=1_000, compression="zstd", use_dictionary=False))
    column = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(1)
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    found = read(bytes(data), "a.parquet")
    assert found.rows == [*range(1_000), *range(2_000, 3_000)]
    assert found.errors == [(1_000, "corrupt-parquet")]
    assert "rows 1,000 to 1,999" in found.bad[0].message


def test_a_text_over_the_limit_is_bad(read):
    found = read(parquet(texts(["x" * 100, "ü" * 51, "x" * 101])), "a.parquet", max_bytes=100)
    assert found.rows == [0]
    assert found.errors == [(1, "too-large"), (2, "too-large")]


def test_batches_are_cut_by_bytes(read):
    table = texts([f"{i:0100}" for i in range(10_000)])
    found = read(parquet(table, use_dictionary=False), "a.parquet", chunk_bytes=100_000)
    assert found.texts == table.column("text").to_pylist()
    assert found.rows == list(range(10_000))
    assert max(chunk.table.nbytes for chunk in found.chunks) < 200_000


def test_text_from_another_column_keeps_an_own_column_of_that_name(read):
    found = read(parquet(pa.table({"text": ["t"], "body": ["b"]})), "a.parquet", text="body")
    assert found.texts == ["b"]
    assert found.column("input_text") == ["t"]


def test_a_failing_stream_is_no_damaged_file():
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("connection reset")

    with pytest.raises(RunError, match="connection reset"):
        list(read_chunks(Failing(parquet(texts(["one"]))), "a.parquet"))
