from __future__ import annotations

import gzip
import zlib
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from fastwarc.warc import ArchiveIterator

from curate.core.errors import ConfigError
from curate.steps.read import read_chunks
from curate.steps.read.http import HttpError, parse_http

PAGE = b"<html><body><h1>Title</h1><p>A paragraph of text.</p></body></html>"
TEXT = "Title\n\nA paragraph of text."


def record(body: bytes, kind: str = "response", mime: str = "application/http; msgtype=response", **more: str) -> bytes:
    headers = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{zlib.crc32(body):032x}>",
        "WARC-Date": "2024-05-18T01:58:10Z",
        "WARC-Target-URI": "https://a.example/",
        "Content-Type": mime,
        "Content-Length": str(len(body)),
    } | {name.replace("_", "-"): value for name, value in more.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return b"WARC/1.0\r\n" + head.encode() + b"\r\n" + body + b"\r\n\r\n"


def http(body: bytes = PAGE, *headers: str, status: str = "200 OK", mime: str = "text/html") -> bytes:
    lines = [f"HTTP/1.1 {status}", *([f"Content-Type: {mime}"] if mime else []), *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def page(number: int) -> bytes:
    return record(http(b"<html><body><p>Page number %d of the archive.</p></body></html>" % number))


def members(*records: bytes) -> bytes:
    return b"".join(gzip.compress(each) for each in records)


PACKINGS = {
    "plain": b"".join,
    "a member a record": lambda records: members(*records),
    "one member": lambda records: gzip.compress(b"".join(records)),
    "blocks": lambda records: members(*(b"".join(records)[i : i + 100] for i in range(0, len(b"".join(records)), 100))),
    "zstd": lambda records: zstandard.compress(b"".join(records)),
    "unix line ends": lambda records: b"".join(records).replace(b"\r\n\r\n\r\n", b"\n\n"),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_gives_the_same_documents(read, packing):
    info = record(b"software: x\r\n", "warcinfo", "application/warc-fields")
    request = record(b"GET / HTTP/1.1\r\n\r\n", "request", "application/http; msgtype=request")
    found = read(PACKINGS[packing]([info, request, page(1), request, page(2)]), "a.warc.gz")
    assert found.texts == ["Page number 1 of the archive.", "Page number 2 of the archive."]
    assert found.rows == [0, 1]
    assert found.bad == []


def test_own_columns_come_from_the_headers(read):
    found = read(members(record(http(), WARC_Target_URI="<https://a.example/>")), "a.warc.gz")
    assert found.texts == [TEXT]
    row = found.chunks[0].table.to_pylist()[0]
    assert row["url"] == "https://a.example/"
    assert row["date"] == "2024-05-18T01:58:10Z"
    assert row["content_type"] == "text/html"
    assert row["warc_record_id"].startswith("urn:uuid:")
    assert row["status"] == 200
    assert read(members(page(1)), "a.warc", columns=["url"]).chunks[0].table.column_names == ["text", "url"]
    with pytest.raises(ConfigError, match="did you mean 'url'"):
        read(members(page(1)), "a.warc", columns=["uri"])


def test_every_response_is_a_row_or_bad_with_a_reason(read):
    records = [
        record(http()),
        record(http(status="404 Not Found")),
        record(http(b"\x89PNG", mime="image/png")),
        record(http(b"<html><body></body></html>")),
        record(b"no header at all"),
        record(http(b"plain\r\ntext", mime="text/plain; charset=utf-8")),
        record(PAGE, "resource", "text/html"),
        record(b"log", "resource", "text/plain", WARC_Target_URI="metadata://gnu.org/wget.log"),
        record(b"", "revisit"),
        record(b"\x00\x01", "response", "text/dns", WARC_Target_URI="dns:a.example"),
        record(http(b"<div>" * 2_000)),
        record(http(b"\x00\xff\xfe junk", "Content-Encoding: zstd")),
        record(http(mime="")),
    ]
    found = read(members(*records), "a.warc.gz")
    assert found.texts == [TEXT, "plain\ntext", TEXT, TEXT]
    assert found.rows == [0, 5, 6, 10]
    assert found.column("status") == [200, 200, None, 200]
    assert found.errors == [
        (1, "http-status"),
        (2, "not-text"),
        (3, "empty-text"),
        (4, "http-header"),
        (7, "not-text"),
        (8, "html"),
        (9, "content-encoding"),
    ]
    assert found.bad[0].message == "https://a.example/: HTTP status 404"
    assert found.bad[0].offset == len(gzip.compress(records[0]))


def brotli(data: bytes) -> bytes:
    return pa.Codec("brotli").compress(data, asbytes=True)


def chunked(data: bytes) -> bytes:
    parts = [data[i : i + 20] for i in range(0, len(data), 20)]
    return b"".join(b"%x;x=y\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(PAGE, mtime=0), ["Content-Encoding: gzip"]),
        (PAGE, ["Content-Encoding: gzip"]),  # unpacked by the crawler
        (zlib.compress(PAGE), ["Content-Encoding: deflate"]),
        (zlib.compress(PAGE, wbits=-15), ["Content-Encoding: deflate"]),
        (PAGE, ["Content-Encoding: deflate"]),
        (brotli(PAGE), ["Content-Encoding: br"]),
        (PAGE, ["Content-Encoding: br"]),
        (zstandard.compress(PAGE), ["Content-Encoding: zstd"]),
        (chunked(PAGE), ["Transfer-Encoding: chunked"]),
        (PAGE, ["Transfer-Encoding: chunked"]),
        (chunked(gzip.compress(PAGE, mtime=0)), ["Transfer-Encoding: chunked", "content-encoding: GZIP"]),
        (PAGE, ["Content-Encoding: identity"]),
    ],
)
def test_bodies_are_unpacked(read, body, headers):
    assert read(members(record(http(body, *headers))), "a.warc.gz").texts == [TEXT]


def test_a_body_that_unpacks_to_over_the_limit_is_bad():
    with pytest.raises(HttpError, match="over the limit") as caught:
        parse_http(http(gzip.compress(bytes(10_000_000)), "Content-Encoding: gzip"), 1_000_000)
    assert caught.value.error == "too-large"


def test_the_character_set_of_the_header_is_used(read):
    body = "<html><body><p>Привет, мир</p></body></html>".encode("cp1251")
    found = read(members(record(http(body, mime='text/html; charset="windows-1251"'))), "a.warc.gz")
    assert found.texts == ["Привет, мир"]


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9, 0.99])
def test_a_damaged_member_is_bad_and_the_rest_is_read(read, where):
    packed = [gzip.compress(page(i)) for i in range(5)]
    start = len(packed[0]) + len(packed[1])
    data = bytearray(b"".join(packed))
    place = start + int(len(packed[2]) * where)
    data[place : place + 3] = bytes(255 - byte for byte in data[place : place + 3])
    found = read(bytes(data), "a.warc.gz")
    assert found.texts == [f"Page number {i} of the archive." for i in (0, 1, 3, 4)]
    assert found.rows == [0, 1, 3, 4]
    assert found.errors == [(2, "corrupt-gzip")]
    assert found.bad[0].offset == start


def test_every_byte_of_damage_costs_one_record_at_most(read):
    packed = [gzip.compress(page(i)) for i in range(3)]
    good = b"".join(packed)
    for place in range(len(packed[0]), len(packed[0]) + len(packed[1])):
        data = bytearray(good)
        data[place] ^= 0x55
        found = read(bytes(data), "a.warc.gz")
        # A change in the member's time stamp and the like harms nothing.
        assert (found.rows, found.errors) in (([0, 2], [(1, "corrupt-gzip")]), ([0, 1, 2], []))


def test_bytes_that_are_lost_cost_the_records_they_were_in(read):
    packed = [gzip.compress(page(i)) for i in range(5)]
    data = b"".join(packed)
    start, stop = len(packed[0]) + 30, len(b"".join(packed[:3])) - 30
    found = read(data[:start] + data[stop:], "a.warc.gz")
    assert found.texts == [f"Page number {i} of the archive." for i in (0, 3, 4)]
    assert found.errors == [(1, "corrupt-gzip")]


def test_a_truncated_file_gives_what_is_there_and_one_bad_record(read):
    packed = [gzip.compress(page(i)) for i in range(3)]
    found = read(b"".join(packed)[:-20], "a.warc.gz")
    assert found.rows == [0, 1]
    assert found.errors == [(2, "truncated-gzip")]
    assert found.bad[0].offset == len(packed[0]) + len(packed[1])
    assert found.bad[0].sample.startswith(b"WARC/1.0")
    one = gzip.compress(b"".join(page(i) for i in range(2_000)))
    found = read(one[: len(one) // 2], "a.warc.gz")
    assert len(found.rows) > 500
    assert found.errors == [(len(found.rows), "truncated-gzip")]
    assert read(packed[0][:2], "a.warc.gz").errors == [(0, "warc-header")]


def test_a_plain_file_that_is_cut_gives_what_is_there(read):
    data = page(0) + page(1)
    found = read(data[:-40], "a.warc")
    assert found.rows == [0]
    assert found.errors == [(1, "warc-length")]
    assert found.bad[0].offset == len(page(0))


@pytest.mark.parametrize("pack", [b"".join, lambda records: members(*records), lambda r: gzip.compress(b"".join(r))])
@pytest.mark.parametrize("off", [-10, 10, 300])
def test_a_wrong_content_length_costs_one_record(read, pack, off):
    wrong = page(1).replace(b"Content-Length: ", b"Content-Length: %d" % off if off < 0 else b"X: ", 1)
    length = len(page(1).partition(b"\r\n\r\n")[2]) - 4
    wrong = page(1).replace(b"Content-Length: %d" % length, b"Content-Length: %d" % (length + off))
    found = read(pack([page(0), wrong, page(2), page(3)]), "a.warc")
    assert found.texts == [f"Page number {i} of the archive." for i in (0, 2, 3)]
    assert found.errors == [(1, "warc-length")]


@pytest.mark.parametrize("length", ["", "many", "-5", "9" * 30])
def test_a_content_length_that_is_no_number_costs_one_record(read, length):
    wrong = record(http(), Content_Length=length)
    found = read(page(0) + wrong + page(2), "a.warc")
    assert found.rows == [0, 2]
    assert found.errors == [(1, "warc-length")]


def test_junk_between_records_is_one_bad_record(read):
    found = read(page(0) + b"junk\r\nmore junk\r\n" * 50 + page(1), "a.warc")
    assert [error for _, error in found.errors] in (["warc-header"], ["warc-length"])
    assert found.texts[-1] == "Page number 1 of the archive."
    assert read(b"no archive\n" * 9, "a.warc").errors == [(0, "warc-header")]
    assert read(gzip.compress(b"no archive"), "a.warc.gz").errors == [(0, "warc-header")]


def test_a_record_over_the_limit_is_bad_and_the_rest_is_read(read):
    large = record(http(b"<p>" + b"x" * 30_000_000))
    for data in (members(page(0), large, page(2)), page(0) + large + page(2)):
        found = read(data, "a.warc.gz", max_bytes=1_000_000)
        assert found.rows == [0, 2]
        assert found.errors == [(1, "too-large")]


def test_a_record_larger_than_what_is_held_is_checked_too(read):
    body = b"<html><body><p>" + b"word %d " * 1_000_000 % tuple(range(1_000_000)) + b"</p></body></html>"
    packed = [gzip.compress(page(0)), gzip.compress(record(http(body)), 1), gzip.compress(page(2))]
    assert len(read(b"".join(packed), "a.warc.gz").texts[1]) > 10_000_000
    data = bytearray(b"".join(packed))
    data[len(packed[0]) + len(packed[1]) - 6] ^= 1  # in its checksum
    found = read(bytes(data), "a.warc.gz")
    assert found.rows == [0, 2]
    assert found.errors == [(1, "corrupt-gzip")]


def test_an_empty_file_gives_nothing(read):
    assert read(b"", "a.warc.gz").chunks == []
    assert read(gzip.compress(b""), "a.warc.gz").chunks == []
    assert read(b"", "a.warc.wet").chunks == []


def test_wet_gives_the_text_as_it_is(read):
    records = [
        record(b"Software-Info: x\r\n", "warcinfo", "application/warc-fields"),
        record("Título\nUna línea\n".encode(), "conversion", "text/plain", WARC_Identified_Content_Language="spa"),
        record(b"caf\xe9", "conversion", "text/plain"),
        record(b" \n", "conversion", "text/plain"),
        record(b"four", "conversion", "text/plain"),
    ]
    found = read(members(*records), "a.warc.wet.gz")
    assert found.texts == ["Título\nUna línea\n", "four"]
    assert found.column("language") == ["spa", None]
    assert found.rows == [0, 3]
    assert found.errors == [(1, "invalid-utf8"), (2, "empty-text")]


@pytest.mark.parametrize(
    "name",
    [
        "web_trafilatura.dev.warc.gz",
        "web_trafilatura.dev.warc.wet.gz",
        "dolma_sample0.dev.warc.gz",
        "whirlwind.dev.warc.gz",
        "whirlwind.dev.warc.wet.gz",
    ],
)
def test_every_record_of_a_real_file_is_accounted_for(shared: Path, name: str):
    path = shared / "data" / name
    with open(path, "rb") as stream:
        kinds = Counter(str(item.record_type).rpartition(".")[2] for item in ArchiveIterator(stream, parse_http=False))
    with open(path, "rb") as stream:
        chunks = list(read_chunks(stream, name, chunk_bytes=1_000_000))
    rows = sum(chunk.table.num_rows for chunk in chunks)
    bad = [each for chunk in chunks for each in chunk.bad]
    # The two resources of the dolma sample are wget's own log.
    assert rows + len(bad) == kinds["response"] + kinds["conversion"] > 0
    assert rows >= 0.99 * (rows + len(bad))
    assert {each.error for each in bad} <= {"empty-text"}
    assert sorted([n for c in chunks for n in c.rows.tolist()] + [each.row for each in bad]) == list(
        range(rows + len(bad))
    )


def test_the_text_of_a_real_wet_file_is_what_the_archive_holds(shared: Path):
    path = shared / "data" / "web_trafilatura.dev.warc.wet.gz"
    with open(path, "rb") as stream:
        want = [(item.headers["WARC-Target-URI"], item.reader.read().decode()) for item in ArchiveIterator(stream)]
    with open(path, "rb") as stream:
        tables = [chunk.table for chunk in read_chunks(stream, path.name)]
    assert [(row["url"], row["text"]) for table in tables for row in table.to_pylist()] == want
