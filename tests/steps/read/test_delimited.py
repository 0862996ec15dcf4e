from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest

from curate.core.errors import ConfigError
from curate.steps.read import read_chunks


def test_quoted_fields_hold_commas_quotes_and_line_ends(read):
    found = read(b'id,text\n1,"a, ""b""\nc"\n2,plain\n', "a.csv")
    assert found.texts == ['a, "b"\nc', "plain"]
    assert found.column("id") == ["1", "2"]
    assert found.rows == [0, 1]


def test_tsv_is_read_with_tabs(read):
    assert read(b"text\tn\na, b\t1\n", "a.tsv").texts == ["a, b"]


def test_packed_files_a_byte_order_mark_and_crlf_are_understood(read):
    found = read(gzip.compress(b"\xef\xbb\xbftext,n\r\none,1\r\n\r\ntwo,2\r\n"), "a.csv.gz")
    assert found.texts == ["one", "two"]
    assert found.column("n") == ["1", "2"]


def test_a_quote_inside_a_field_is_a_quote(read):
    assert read(b'text,n\na 5" pipe,1\nb,2\n', "a.csv").texts == ['a 5" pipe', "b"]


def test_a_row_with_another_number_of_fields_is_bad_and_the_rest_is_read(read):
    found = read(b"text,n\none,1\ntwo\nthree,3,3\nfour,4\n", "a.csv")
    assert found.texts == ["one", "four"]
    assert found.rows == [0, 3]
    assert found.errors == [(1, "fields"), (2, "fields")]
    assert found.bad[0].offset == 13 and found.bad[0].sample == b"two"


def test_a_quote_that_is_never_closed_takes_only_its_line(read):
    found = read(b'text,n\none,1\n"two,2\nthree,3\nfour,4\n', "a.csv")
    assert found.texts == ["one", "three", "four"]
    assert found.errors == [(1, "unclosed-quote")]
    assert found.rows == [0, 2, 3]


def test_a_quote_that_is_open_for_too_long_takes_only_its_line(read):
    data = b'text,n\n"one,1\n' + b"two,2\n" * 50 + b'"three",3\n'
    found = read(data, "a.csv", max_bytes=100)
    assert found.texts == ["two"] * 50 + ["three"]
    assert found.errors == [(0, "unclosed-quote")]


def test_a_line_over_the_limit_is_bad(read):
    found = read(b"text,n\none,1\n" + b"x" * 500 + b",2\nthree,3\n", "a.csv", max_bytes=100)
    assert found.texts == ["one", "three"]
    assert found.errors == [(1, "too-large")]


def test_invalid_utf8_is_bad(read):
    found = read(b"text,n\ncaf\xe9,1\ntwo,2\n", "a.csv")
    assert found.texts == ["two"]
    assert found.errors == [(0, "invalid-utf8")]


def test_a_header_without_the_text_column_is_refused(read):
    with pytest.raises(ConfigError, match=r"no column 'text'.*known: body, n"):
        read(b"body,n\nx,1\n", "a.csv")
    with pytest.raises(ConfigError, match="two columns are called 'n'"):
        read(b"text,n,n\nx,1,2\n", "a.csv")
    with pytest.raises(ConfigError, match="no column 'm'"):
        read(b"text,n\nx,1\n", "a.csv", columns=["m"])


def test_a_truncated_file_gives_the_rows_before_and_one_bad_record(read):
    rows = "".join(f'"line {i * 7919 % 1009}\nand {i * 104729 % 10007}",{i}\n' for i in range(20_000))
    packed = gzip.compress(b"text,n\n" + rows.encode())
    found = read(packed[: len(packed) // 2], "a.csv.gz")
    assert len(found.texts) > 5_000
    assert found.column("n") == [str(i) for i in range(len(found.texts))]
    assert found.errors == [(len(found.texts), "truncated-gzip")]


def test_an_empty_file_or_a_lone_header_gives_nothing(read):
    assert read(b"", "a.csv").chunks == []
    assert read(b"text,n\n", "a.csv").chunks == []


def test_fields_longer_than_the_csv_module_allows_are_read(read):
    assert read(b"text\n" + b"x" * 300_000 + b"\n", "a.csv").texts == ["x" * 300_000]


def test_a_real_file_gives_what_the_csv_module_gives(shared: Path):
    path = shared / "data" / "perplexity_corr_bpb.dev.csv"
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    with open(path, "rb") as stream:
        (chunk,) = read_chunks(stream, path.name, text=rows[0][1])
    assert chunk.bad == ()
    assert chunk.table.column("text").to_pylist() == [row[1] for row in rows[1:]]
    assert chunk.table.column(rows[0][-1]).to_pylist() == [row[-1] for row in rows[1:]]


def test_rows_stay_the_same_however_chunks_are_cut(read):
    out = io.StringIO()
    csv.writer(out).writerows([["text", "n"], *([f'a "{i}"\nb', str(i)] for i in range(500))])
    data = out.getvalue().encode()
    cut = read(data, "a.csv", chunk_bytes=500)
    assert len(cut.chunks) > 10
    assert cut.texts == read(data, "a.csv").texts == [f'a "{i}"\nb' for i in range(500)]
