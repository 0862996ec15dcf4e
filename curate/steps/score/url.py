"""The scorer `url`: whether a document's URL is in the lists that a user names.

    scorer = url(domains="adult.txt", soft_words="soft.txt")
    scorer(TextBatch.of(["https://www.example.com/a-page"]))["listed"]

The order and the kinds of lists are those of datatrove's URL filter, which follows RefinedWeb (Penedo et al.
2023, appendix G.1): domain, host, URL, a word, two softer words, a part of the URL. Lists are not part of Curate.
"""

from __future__ import annotations

import codecs
import gzip
import zlib

import numpy as np
import pyarrow as pa

from curate.core import files
from curate.core.errors import ModelError
from curate.core.files import ModelFile
from curate.steps.score.scorer import Columns, Scorer
from curate.text.batch import TextBatch
from curate.text.columns import column, names
from curate.text.native import Ints, Keys
from curate.text.rules.url import HOST, URL, WORD, Lists, keys_of, scan

# Why a URL is listed, in the order in which the lists are asked.
REASONS = ("domain", "subdomain", "url", "word", "soft-words", "substring")
_GZIP = b"\x1f\x8b"
_HOST_MOST = 253  # bytes, RFC 1035: what is longer is no host


def url(
    *,
    domains: ModelFile | None = None,
    subdomains: ModelFile | None = None,
    urls: ModelFile | None = None,
    words: ModelFile | None = None,
    soft_words: ModelFile | None = None,
    substrings: ModelFile | None = None,
    soft_at_least: int = 2,
    host: bool = False,
) -> Scorer:
    """Whether a URL is listed, and why. A document without a URL has nulls; one whose URL has no host is not listed.

    Each list is a file, plain or packed with gzip, of one entry a line; `#` begins a comment line. The scheme,
    the port and letter case of hosts and words do not count.

    Columns: `listed` (bool); `reason` (string), the first of "domain", "subdomain", "url", "word", "soft-words"
    and "substring" that holds, null where none does; `words` and `soft_words` (int32), how many different ones
    the URL has; and where it is asked for, `host` (string), in lower case, null where there is none.

    Args:
        domains: a host is listed where it or any domain above it is: `example.com` lists `www.example.com`.
        subdomains: the host itself.
        urls: the whole URL but for its scheme, `www.`, fragment and a slash at its end.
        words: one of them is enough. Words of a URL are its runs of ASCII letters and digits.
        soft_words: `soft_at_least` different ones are needed.
        substrings: one of them in the URL's letters and digits, all else left out.
        soft_at_least: how many soft words list a URL.
        host: whether to give the host too. A crawl has millions of them.

    Raises:
        ModelError: a list has no entry, or its gzip is damaged.
    """
    if soft_at_least < 1:
        raise ModelError("`soft_at_least` must be 1 or more; leave `soft_words` out to have none")
    parts, lengths = _read(substrings, WORD)
    lists = Lists(
        domains=_read(domains, HOST)[0],
        subdomains=_read(subdomains, HOST)[0],
        urls=_read(urls, URL)[0],
        words=_read(words, WORD)[0],
        soft_words=_read(soft_words, WORD)[0],
        substrings=parts,
        lengths=lengths,
    )
    needed = np.array([1, 1, 1, 1, soft_at_least, 1])

    def score(batch: TextBatch) -> Columns:
        found = scan(batch, lists)
        hits = found.counts >= needed
        listed = np.asarray(hits.any(axis=1))
        first = column(hits.argmax(axis=1), listed)
        columns = {
            "listed": column(listed),
            "reason": names(REASONS).take(first),
            "words": column(found.counts[:, 3]),
            "soft_words": column(found.counts[:, 4]),
        }
        if host:
            columns["host"] = _hosts(batch, found.start, found.end)
        return columns

    return score


def _read(path: str | None, kind: int) -> tuple[Keys, Ints]:
    if path is None:
        return keys_of(b"", kind)
    data = files.read_bytes(path)
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ModelError(f"{path}: its gzip is damaged ({error}); get the list again") from None
    keys, lengths = keys_of(data.removeprefix(codecs.BOM_UTF8), kind)
    if not len(keys):
        raise ModelError(f"{path}: lists nothing; write one entry a line, or leave the list out")
    return keys, lengths


def _hosts(batch: TextBatch, start: Ints, end: Ints) -> pa.Array:
    buffer = batch.data.data
    hosts = [
        bytes(buffer[a:b]).lower().decode("utf-8", "replace") if 0 < b - a <= _HOST_MOST else None
        for a, b in zip(start.tolist(), end.tolist(), strict=True)
    ]
    return pa.array(hosts, pa.string())
