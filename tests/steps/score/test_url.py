from __future__ import annotations

import gzip
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import ConfigError, ModelError
from curate.steps.score.url import url
from curate.text.batch import TextBatch
from curate.text.rules.url import HOST, WORD, Lists, keys_of, scan
from tests.text.reference import batch_of_bytes


def listed(folder: Path, rows: list[str | None], /, **lists: str | int) -> list[str | None]:
    args: dict[str, str | int] = {}
    for name, content in lists.items():
        args[name] = content
        if isinstance(content, str):
            (folder / name).write_text(content)
            args[name] = str(folder / name)
    found = url(**args)(TextBatch.of(rows))
    reasons = found["reason"].to_pylist()
    assert found["listed"].to_pylist() == [reason is not None for reason in reasons]
    return reasons


def test_a_domain_lists_every_host_below_it_and_no_other(tmp_path: Path) -> None:
    urls = [
        "https://Example.com/a",
        "http://m.www.example.com:8080",
        "https://notexample.com",
        "https://example.com.org",
    ]
    assert listed(tmp_path, urls, domains="example.com\n") == ["domain", "domain", None, None]
    assert listed(tmp_path, ["http://a.co.uk", "http://b.uk"], domains="co.uk") == ["domain", None]


def test_a_subdomain_lists_that_host_alone(tmp_path: Path) -> None:
    urls = ["https://blog.example.com/a", "https://example.com", "https://x.blog.example.com"]
    assert listed(tmp_path, urls, subdomains="blog.example.com") == ["subdomain", None, None]


def test_the_way_a_host_is_written_in_a_list_does_not_matter(tmp_path: Path) -> None:
    content = "# hosts\n\n  HTTPS://One.example/path \r\n*.two.example\n.three.example.\nuser@four.example:80\n"
    urls = [f"https://{name}.example/x" for name in ("one", "two", "three", "four", "five")]
    assert listed(tmp_path, urls, domains=content) == ["domain"] * 4 + [None]


def test_a_url_is_compared_without_scheme_www_port_fragment_and_last_slash(tmp_path: Path) -> None:
    urls = ["http://www.a.org:80/Page/#top", "//a.org/Page", "https://a.org/page", "https://a.org/Page?x=1", "a.org/"]
    assert listed(tmp_path, urls, urls="https://a.org/Page/\n") == ["url", "url", None, None, None]
    assert listed(tmp_path, urls, urls="www.a.org") == [None, None, None, None, "url"]


def test_words_are_whole_and_soft_ones_count_once_each(tmp_path: Path) -> None:
    urls = ["http://a.de/PORN-x", "http://a.de/pornx", "http://hot.de/hot/hot", "http://hot.de/free", "http://x.de"]
    found = listed(tmp_path, urls, words="porn\n", soft_words="hot\nfree\nx\n")
    assert found == ["word", None, None, "soft-words", None]
    assert listed(tmp_path, urls, soft_words="hot\nfree\n", soft_at_least=1)[2:] == ["soft-words", "soft-words", None]


def test_a_substring_is_found_across_what_is_no_letter_or_digit(tmp_path: Path) -> None:
    urls = ["http://bad-wo.rd.de", "http://goodword.de", "http://ba/dw/ord", "http://x.de/a%20b"]
    assert listed(tmp_path, urls, substrings="badword\nb-ad\na20b") == ["substring", None, "substring", "substring"]


def test_the_first_list_that_holds_gives_the_reason(tmp_path: Path) -> None:
    lists = {"domains": "a.de", "subdomains": "w.b.de", "words": "porn", "soft_words": "x\ny", "substrings": "porn"}
    urls = ["http://a.de/porn", "http://w.b.de/x/y", "http://c.de/porn", "http://c.de/x/y/aporn", "http://c.de/aporn"]
    assert listed(tmp_path, urls, **lists) == ["domain", "subdomain", "word", "soft-words", "substring"]


def test_what_has_no_host_is_not_listed_and_a_null_host(tmp_path: Path) -> None:
    urls = ["", "http://", "no url at all", "https://[2001:db8::1]:443/x", "a" * 300 + ".de", "https://Ü.de"]
    found = url(host=True)(TextBatch.of(urls))
    assert found["host"].to_pylist() == [None, None, None, "[2001:db8::1]", None, "Ü.de"]
    assert found["listed"].to_pylist() == [False] * 6


def test_the_host_is_given_where_it_is_asked_for() -> None:
    assert "host" not in url()(TextBatch.of(["https://a.org"]))


def test_a_packed_list_is_read_and_a_bad_one_refused(tmp_path: Path) -> None:
    packed = tmp_path / "hosts.gz"
    packed.write_bytes(gzip.compress(b"a.de\n"))
    assert url(domains=str(packed))(TextBatch.of(["http://a.de"]))["reason"].to_pylist() == ["domain"]
    packed.write_bytes(b"\xef\xbb\xbfa.de\r\n")
    assert url(domains=str(packed))(TextBatch.of(["http://a.de/"]))["listed"].to_pylist() == [True]
    packed.write_bytes(gzip.compress(b"a.de\n" * 99)[:-9])
    with pytest.raises(ModelError, match="gzip is damaged"):
        url(domains=str(packed))
    (tmp_path / "empty").write_text("# nothing\n\n")
    with pytest.raises(ModelError, match="lists nothing"):
        url(words=str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="no such file"):
        url(words=str(tmp_path / "absent"))


def test_a_list_takes_eight_bytes_an_entry_however_long_the_entries_are() -> None:
    keys, _ = keys_of("".join(f"host{i}.example.com\n" for i in range(10_000)).encode(), HOST)
    assert len(keys) == 10_000 and keys.nbytes == 80_000


LETTERS = st.text("aAbB1.-/: ", max_size=12)


@given(st.lists(LETTERS, min_size=1, max_size=4), st.lists(st.text("ab1", min_size=1, max_size=3), max_size=4))
def test_words_and_substrings_are_those_of_the_reference(urls: list[str], entries: list[str]) -> None:
    keys, lengths = keys_of("\n".join(entries).encode(), WORD)
    counts = scan(TextBatch.of(urls), Lists(words=keys, soft_words=keys, substrings=keys, lengths=lengths)).counts
    for row, each in enumerate(urls):
        words = set(re.split("[^a-z0-9]+", each.lower())) & set(entries)
        joined = re.sub("[^a-z0-9]", "", each.lower())
        places = sum(joined.startswith(e, at) for e in set(entries) for at in range(len(joined)))
        assert counts[row, 3:].tolist() == [len(words), len(words), places]


@given(st.lists(st.text("ab.", min_size=1, max_size=8), min_size=1, max_size=6), st.text("ab.", min_size=1, max_size=9))
def test_a_host_is_listed_where_it_or_a_domain_above_it_is(entries: list[str], host: str) -> None:
    keys, _ = keys_of("\n".join(entries).encode(), HOST)
    counts = scan(TextBatch.of([f"http://{host}/"]), Lists(domains=keys, subdomains=keys)).counts
    known = {entry.strip(".") for entry in entries} - {""}
    bare = host.strip(".")
    above = {bare[at:] for at in range(len(bare)) if at == 0 or bare[at - 1] == "."}
    assert counts[0, :2].tolist() == [bool(above & known), bare in known]


@given(st.lists(st.binary(max_size=20), max_size=4))
def test_invalid_utf8_gives_a_value_for_each_row(urls: list[bytes]) -> None:
    found = url(host=True)(batch_of_bytes(urls))
    assert all(len(column) == len(urls) for column in found.values())
    assert pa.compute.utf8_length(found["host"]) is not None
