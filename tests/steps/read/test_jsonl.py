from __future__ import annotations

import bz2
import gzip
import io
import random
import tracemalloc
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
import zstandard

from curate.core.errors import ConfigError, RunError
from curate.steps.read import read_chunks

TWO = b'{"text": "one", "n": 1}\n{"text": "two", "n": 2}\n'


def lines(count: int) -> bytes:
    # Random words, so that packed data has a middle that can be damaged.
    rng = random.Random(0)
    texts = (" ".join(f"{rng.getrandbits(32):x}" for _ in range(20)) for _ in range(count))
    return b"".join(orjson.dumps({"text": text, "n": i}) + b"\n" for i, text in enumerate(texts))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress, bz2.compress])
def test_plain_and_packed_files_give_the_same_rows(read, pack):
    found = read(pack(TWO), "a.jsonl")
    assert found.texts == ["one", "two"]
    assert found.rows == [0, 1]
    assert found.column("n") == [1, 2]
    assert found.bad == []


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bz2.compress])
def test_files_of_several_members_are_read_to_the_end(read, pack):
    assert read(pack(TWO) + pack(TWO), "a.jsonl.gz").texts == ["one", "two"] * 2


def test_a_skippable_zstd_frame_is_skipped(read):
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    assert read(skippable + zstandard.compress(TWO) + skippable, "a.jsonl.zst").texts == ["one", "two"]


def test_a_bad_line_is_bad_and_the_rest_is_read(read):
    found = read(b'{"text": "one"}\n{"text": "tw\n["text"]\n"text"\n{"text": "five"}\n', "a.jsonl")
    assert found.texts == ["one", "five"]
    assert found.rows == [0, 4]
    assert found.errors == [(1, "json"), (2, "not-object"), (3, "not-object")]
    assert found.bad[0].offset == 16 and found.bad[0].sample == b'{"text": "tw'


def test_blank_lines_are_no_records(read):
    assert read(b'\n{"text": "one"}\n\n  \n{"text": "two"}\n\n', "a.jsonl").rows == [0, 1]


def test_a_byte_order_mark_and_crlf_line_ends_are_no_part_of_the_data(read):
    found = read(b"\xef\xbb\xbf" + TWO.replace(b"\n", b"\r\n") + b"{\r\n", "a.jsonl")
    assert found.texts == ["one", "two"]
    assert found.errors == [(2, "json")]
    assert found.bad[0].offset == 3 + 2 * 25


def test_a_last_line_without_a_line_end_is_read(read):
    assert read(TWO.rstrip(), "a.jsonl").texts == ["one", "two"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_an_empty_file_gives_nothing(read, pack):
    assert read(pack(b""), "a.jsonl").chunks == []


def test_invalid_utf8_is_bad_with_its_place(read):
    found = read(b'{"text": "one"}\n{"text": "caf\xe9"}\n{"text": "three"}\n', "a.jsonl")
    assert found.texts == ["one", "three"]
    assert found.errors == [(1, "invalid-utf8")]
    assert found.bad[0].offset == 16
    assert "byte 13 " in found.bad[0].message


def test_half_of_a_surrogate_pair_is_bad(read):
    found = read(
        b'{"text": "\\ud83d"}\n{"text": "\\ud83d\\ude00"}\n{"text": "x", "n": NaN, "s": "\\ud83d"}\n',
        "a.jsonl",
    )
    assert found.texts == ["\U0001f600"]
    assert found.errors == [(0, "json"), (2, "json")]


def test_nan_as_python_writes_it_is_null(read):
    found = read(b'{"text": "one", "n": NaN}\n{"text": "two", "n": 0.5}\n{"text": "NaN", "n": -Infinity}\n', "a.jsonl")
    assert found.texts == ["one", "two", "NaN"]
    assert found.column("n") == [None, 0.5, None]


def test_text_that_is_null_missing_or_no_string_is_bad(read):
    data = b'{"text": null}\n{"body": "x"}\n{"text": 3}\n{"text": ["x"]}\n{"text": ""}\n'
    found = read(data, "a.jsonl")
    assert found.texts == [""]
    assert found.errors == [(0, "null-text"), (1, "no-text"), (2, "text-type"), (3, "text-type")]


def test_a_file_without_the_text_column_names_the_nearest_and_the_others(read):
    data = b'{"texts": "one", "url": "u"}\n{"texts": "two", "lang": "en"}\n'
    with pytest.raises(ConfigError, match=r"no column 'text'.*did you mean 'texts'.*lang, texts, url"):
        read(data, "a.jsonl")
    with pytest.raises(ConfigError, match=r"no column 'body'.*known: lang, texts, url"):
        read(data, "a.jsonl", text="body")


def test_the_missing_column_is_noticed_in_the_first_chunk(read):
    with pytest.raises(ConfigError, match="content"):
        read(b'{"content": "one"}\n' * 100 + TWO, "a.jsonl", chunk_bytes=100)


def test_text_from_another_column_keeps_an_own_column_of_that_name(read):
    found = read(b'{"body": "b", "text": "t", "n": 1}\n', "a.jsonl", text="body")
    assert found.texts == ["b"]
    assert found.chunks[0].table.column_names == ["text", "input_text", "n"]
    assert found.column("input_text") == ["t"]


def test_only_the_wanted_columns_are_kept(read):
    assert read(TWO, "a.jsonl", columns=[]).chunks[0].table.column_names == ["text"]
    assert read(TWO, "a.jsonl", columns=["n"]).chunks[0].table.column_names == ["text", "n"]


def test_values_without_a_common_type_become_json(read):
    data = b'{"text": "a", "x": {"b": 1, "a": [2]}, "y": {}}\n{"text": "b", "x": "s", "y": {}}\n{"text": "c", "z": 1}\n'
    found = read(data, "a.jsonl")
    assert found.column("x") == ['{"a": [2], "b": 1}', '"s"', None]
    assert found.column("y") == ["{}", "{}", None]
    assert found.column("z") == [None, None, 1]


def test_integers_that_fit_nowhere_do_not_fail(read):
    found = read(b'{"text": "a", "x": 18446744073709551615}\n{"text": "b", "x": -1}\n', "a.jsonl")
    assert found.column("x") == ["18446744073709551615", "-1"]


def test_values_nested_beyond_reason_are_bad(read):
    deep = b'{"text": "a", "x": ' + b"[" * 500 + b"]" * 500 + b"}\n"
    wide = b'{"text": "b", "x": [' + b",".join([b"[]"] * 500) + b"]}\n"
    found = read(deep + wide, "a.jsonl")
    assert found.texts == ["b"]
    assert found.errors == [(0, "json")]


def test_a_json_array_is_refused_with_the_remedy(read):
    for data in (
        b'[{"text": "one"}]',
        b'[\n  {"text": "one"}\n]\n',
        b'[{"text": "one"},\n{"text": "two"}]\n',
    ):
        with pytest.raises(ConfigError, match=r"JSON array.*jq"):
            read(data, "a.json")
    with pytest.raises(ConfigError, match=r"over several lines.*jq"):
        read(b'{\n "text": "one"\n}\n', "a.json")


def test_a_line_over_the_limit_is_bad_and_the_rest_is_read(read):
    long = b'{"text": "' + b"x" * 2_000_000 + b'"}'
    found = read(TWO + long + b"\n" + TWO, "a.jsonl", max_bytes=1_000_000)
    assert found.texts == ["one", "two", "one", "two"]
    assert found.errors == [(2, "too-large")]
    assert "2,000,012 bytes" in found.bad[0].message and found.bad[0].sample == long[:200]
    assert read(long, "a.jsonl", max_bytes=1_000_000).errors == [(0, "too-large")]
    assert read(long, "a.jsonl", max_bytes=2_000_012).errors == []


@pytest.mark.slow
def test_a_line_of_100_mb_over_the_limit_takes_no_memory(tmp_path: Path):
    path = tmp_path / "a.jsonl.zst"
    with open(path, "wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packed:
        packed.write(TWO + b'{"text": "')
        for _ in range(120):
            packed.write(b"x" * 1_000_000)
        packed.write(b'"}\n' + TWO)
    tracemalloc.start()
    with open(path, "rb") as stream:
        chunks = list(read_chunks(stream, "a.jsonl.zst", max_bytes=10_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [bad.error for chunk in chunks for bad in chunk.bad] == ["too-large"]
    assert sum(chunk.table.num_rows for chunk in chunks) == 4
    assert peak < 60_000_000


@pytest.mark.slow
def test_a_line_of_100_mb_within_the_limit_is_read():
    data = b'{"text": "' + b"x" * 100_000_000 + b'"}\n' + TWO
    chunks = list(read_chunks(io.BytesIO(data), "a.jsonl", max_bytes=200_000_000))
    assert [len(text) for c in chunks for text in c.table.column("text").to_pylist()] == [100_000_000, 3, 3]


@pytest.mark.parametrize(
    ("pack", "name"), [(gzip.compress, "gzip"), (zstandard.compress, "zstd"), (bz2.compress, "bzip2")]
)
def test_a_truncated_file_gives_what_is_there_and_one_bad_record(read, pack, name):
    data = lines(20_000)
    packed = pack(data)
    found = read(packed[: len(packed) * 6 // 10], "a.jsonl")
    assert len(found.texts) > 5_000
    assert found.rows == list(range(len(found.texts)))
    assert found.errors == [(len(found.texts), f"truncated-{name}")]
    # Its place is that of the line that was cut.
    bad = found.bad[0]
    assert data[bad.offset :].startswith(bad.sample)
    assert data[: bad.offset].count(b"\n") == len(found.texts)


def test_a_file_damaged_in_the_middle_gives_what_is_before(read):
    data = lines(10_000)
    packed = bytearray(gzip.compress(data) + gzip.compress(data))
    middle = len(packed) * 3 // 4
    packed[middle : middle + 64] = bytes(64)
    found = read(bytes(packed), "a.jsonl.gz")
    good = read(data + data, "a.jsonl").texts
    assert found.texts[:14_900] == good[:14_900]
    # The damage can show at once, or as lines of garbage up to the checksum.
    assert {error for _, error in found.errors[:-1]} <= {
        "json",
        "not-object",
        "no-text",
        "text-type",
        "invalid-utf8",
    }
    assert found.errors[-1][1] == "corrupt-gzip"
    assert found.errors[0][0] >= 14_900


def test_what_follows_the_last_gzip_member_is_not_passed_in_silence(read):
    found = read(gzip.compress(TWO) + b"rest", "a.jsonl.gz")
    assert found.texts == ["one", "two"]
    assert found.errors == [(2, "corrupt-gzip")]


def test_chunks_are_cut_by_bytes_and_hold_the_same_rows(read):
    data = lines(1_000)
    whole = read(data, "a.jsonl")
    cut = read(data, "a.jsonl", chunk_bytes=10_000)
    assert len(whole.chunks) == 1 and len(cut.chunks) > 15
    assert cut.texts == whole.texts and cut.rows == whole.rows
    assert max(chunk.table.nbytes for chunk in cut.chunks) < 15_000
    assert cut.chunks[0].table.schema == pa.schema([("text", pa.large_string()), ("n", pa.int64())])


def test_a_failing_stream_is_no_damaged_file():
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 1_000:
                raise OSError("connection reset")
            return super().read(min(size or 0, 600))

    for data in (lines(1_000), gzip.compress(lines(1_000)), bz2.compress(lines(1_000))):
        with pytest.raises(RunError, match=r"a.jsonl.*connection reset"):
            list(read_chunks(Failing(data), "a.jsonl"))


def test_a_real_file_is_read_whole(shared: Path):
    with open(shared / "data" / "cc_clean_misc.dev.jsonl.zst", "rb") as stream:
        chunks = list(read_chunks(stream, "cc_clean_misc.dev.jsonl.zst"))
    assert sum(chunk.table.num_rows for chunk in chunks) == 330
    assert not any(chunk.bad for chunk in chunks)
    assert chunks[0].table.column_names == ["text", "source", "url"]
