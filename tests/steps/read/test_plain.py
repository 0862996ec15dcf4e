from __future__ import annotations

import collections
import gzip
import io
import re
from pathlib import Path

import pytest

from curate.core.errors import ConfigError
from curate.steps.read import FORMATS, READERS, SUFFIXES, format_of, read_chunks
from curate.steps.read.html import HtmlError, decode, page_text


def test_a_text_file_is_one_document(read):
    found = read(b"\xef\xbb\xbfone\r\ntwo\r\n", "a.txt")
    assert found.texts == ["one\ntwo\n"]
    assert found.rows == [0]
    assert read(gzip.compress(b"one"), "a.txt.gz").texts == ["one"]


def test_with_format_lines_each_line_is_a_document(read):
    found = read(b"\xef\xbb\xbfone\r\n\r\ncaf\xe9\nthree", "a.txt", format="lines")
    assert found.texts == ["one", "three"]
    assert found.errors == [(1, "invalid-utf8")]
    assert found.rows == [0, 2]


def test_an_empty_text_file_gives_nothing(read):
    assert read(b"", "a.txt").chunks == []
    assert read(b"", "a.html").chunks == []
    assert read(b"", "a.txt", format="lines").chunks == []


def test_a_text_file_that_cannot_be_read_is_one_bad_record(read):
    assert read(b"caf\xe9", "a.txt").errors == [(0, "invalid-utf8")]
    assert read(b"x" * 200, "a.txt", max_bytes=100).errors == [(0, "too-large")]
    assert read(gzip.compress(bytes(range(128)) * 9)[:-12], "a.txt.gz").errors == [(0, "truncated-gzip")]


def test_an_html_file_is_one_document(read):
    found = read(b"<html><body><h1>Title</h1><p>Some text.</p><script>x()</script>", "a.html")
    assert found.texts == ["Title\n\nSome text."]
    assert read(b"<html><body><script>x()</script>", "a.html").errors == [(0, "empty-text")]


def test_a_page_nested_beyond_reason_is_bad_and_not_slow(read):
    # Extraction takes time in the square of the depth: these would take minutes.
    for tags in (b"<div>" * 100_000, b"</p>" * 200_000 + b"<div>" * 100_000):
        assert read(tags + b"x", "a.html").errors == [(0, "html")]
    with pytest.raises(HtmlError, match="deeper"):
        page_text(b"<div>" * 2_000)


def test_many_elements_side_by_side_are_no_depth():
    assert page_text(b"<img>" * 5_000 + b"<p>Hello.</p>") == "Hello."


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        ("naïve – ünï".encode(), "", "naïve – ünï"),
        ("naïve – ünï".encode(), "iso-8859-1", "naïve – ünï"),  # declared wrongly
        ("naïve – ünï".encode("cp1252"), "iso-8859-1", "naïve – ünï"),  # the web's latin-1 is windows-1252
        ("naïve café".encode("cp1252"), "utf-8", "naïve café"),
        (("Ünï " * 99).encode() + b"\xc3", "utf-8", "Ünï " * 99 + "\ufffd"),  # cut within a character
        ("한국어 똠방각하".encode("cp949"), "euc-kr", "한국어 똠방각하"),
        ("<meta charset=utf-16>ä".encode(), "", "<meta charset=utf-16>ä"),
        ("日本語のページ".encode("shift_jis"), "shift_jis", "日本語のページ"),
        ("日本語のページ".encode("iso2022_jp"), "iso-2022-jp", "日本語のページ"),
        ("中文网页内容".encode("gbk"), "gb2312", "中文网页内容"),
        ("Привет, мир".encode("koi8_r"), "koi8-r", "Привет, мир"),
        ("Hi ä".encode("utf-16"), "", "Hi ä"),
        (b"\xef\xbb\xbfHi", "", "Hi"),
        ("<meta charset=windows-1251>Привет".encode("cp1251"), "", "<meta charset=windows-1251>Привет"),
        (b"plain", "no-such-charset", "plain"),
    ],
)
def test_characters_are_found(data: bytes, charset: str, text: str):
    assert decode(data, charset) == text


@pytest.mark.parametrize(
    ("path", "format"),
    [
        ("a/b.jsonl", "jsonl"),
        ("b.json.gz", "jsonl"),
        ("b.ndjson.zst", "jsonl"),
        ("B.JSONL.BZ2", "jsonl"),
        ("hf://datasets/a/b/c.parquet", "parquet"),
        ("CC-MAIN-1.warc.gz", "warc"),
        ("CC-MAIN-1.warc.wet.gz", "wet"),
        ("b.warc", "warc"),
        ("b.csv", "csv"),
        ("b.tsv.zst", "tsv"),
        ("b.txt", "text"),
        ("b.htm", "html"),
    ],
)
def test_the_name_tells_the_format(path: str, format: str):
    assert format_of(path) == format
    assert path.lower().endswith(SUFFIXES)


def test_an_unknown_ending_or_format_is_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=r"'.xml' is not known.*jsonl"):
        format_of("a.xml.gz")
    with pytest.raises(ConfigError, match="has no ending"):
        format_of("data.d/README")
    with pytest.raises(ConfigError, match="WAT"):
        format_of("a.warc.wat.gz")
    with pytest.raises(ConfigError, match="did you mean 'jsonl'"):
        read_chunks(io.BytesIO(), "a", format="jsnl")
    assert tuple(READERS) == FORMATS == tuple(sorted(FORMATS))


def test_the_text_of_real_pages_is_close_to_the_article(shared: Path):
    with open(shared / "data" / "web_aeb_pages.dev.jsonl.zst", "rb") as stream:
        pages = [c.table.to_pylist() for c in read_chunks(stream, "p.jsonl", text="html")]
    scores = []
    for page in (row for rows in pages for row in rows):
        found, want = (
            collections.Counter(re.findall(r"\w+", text.lower()))
            for text in (page_text(page["text"].encode()), page["article_body"])
        )
        scores.append(2 * (found & want).total() / (found.total() + want.total()))
    assert len(scores) == 90
    assert sum(scores) / len(scores) > 0.92
