"""Compiled look-ups of URLs in lists of hosts, URLs and words.

    lists = Lists(domains=read_keys("domains.txt", HOST))
    found = scan(batch, lists)
    found.counts[:, DOMAIN]                      # 1 where the host or a domain above it is listed

A list is a sorted array of 64-bit hashes, 8 bytes an entry. Case counts in neither hosts nor words.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from curate.text.batch import TextBatch
from curate.text.native import Bytes, Chars, Ints, Keys, kernel
from curate.text.simd import BASE

# What an entry of a list is.
HOST, URL, WORD = range(3)
# What `Found.counts` counts, in this order.
DOMAIN, SUBDOMAIN, LISTED_URL, WORDS, SOFT_WORDS, SUBSTRINGS = range(6)

_ONE = np.uint64(1)


def _no_keys() -> Keys:
    return _frozen(np.empty(0, dtype=np.uint64))


def _frozen(keys: Keys) -> Keys:
    keys.flags.writeable = False
    return keys


@dataclass(frozen=True)
class Lists:
    """Sorted keys of the entries of each list; `lengths` are those of the substrings, sorted."""

    domains: Keys = field(default_factory=_no_keys)
    subdomains: Keys = field(default_factory=_no_keys)
    urls: Keys = field(default_factory=_no_keys)
    words: Keys = field(default_factory=_no_keys)
    soft_words: Keys = field(default_factory=_no_keys)
    substrings: Keys = field(default_factory=_no_keys)
    lengths: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))


@dataclass(frozen=True)
class Found:
    """For each URL where its host begins and ends in the batch's data (equal where it has none), and six counts."""

    start: Ints
    end: Ints
    counts: npt.NDArray[np.int32]


def keys_of(data: bytes, kind: int) -> tuple[Keys, Ints]:
    """The sorted keys of a list's entries, one a line, and the sorted lengths that they have.

    Blank lines and those that start with `#` are none; of a `HOST` its scheme, port, path and leading dots
    are left out, of a `WORD` all but letters and digits of ASCII.
    """
    raw = np.frombuffer(data, dtype=np.uint8)
    most = int(np.count_nonzero(raw == 10)) + 1
    keys, lengths = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.int64)
    count = _list_keys(raw, kind, keys, lengths)
    return _frozen(np.unique(keys[:count])), np.unique(lengths[:count])


def scan(batch: TextBatch, lists: Lists) -> Found:
    """Look every URL of a batch up."""
    rows = len(batch)
    longest = int(np.diff(batch.offsets).max()) if rows else 0
    start, end = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    counts = np.zeros((rows, 6), dtype=np.int32)
    prefix, seen = np.empty(longest + 1, dtype=np.uint64), np.empty(longest + 1, dtype=np.uint64)
    _scan(
        batch.data, batch.offsets, lists.domains, lists.subdomains, lists.urls, lists.words, lists.soft_words,
        lists.substrings, lists.lengths, prefix, seen, start, end, counts,
    )  # fmt: skip
    return Found(start, end, counts)


@kernel
def _lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@kernel
def _alnum(byte: int) -> bool:
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122


@kernel
def _add(key: np.uint64, byte: int) -> np.uint64:
    """The hash of some bytes and one more."""
    return key * BASE + np.uint64(byte) + _ONE


@kernel
def _member(keys: Keys, key: np.uint64) -> bool:
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low < len(keys) and keys[low] == key


@kernel
def _trim(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """The range without white space and control characters of ASCII at both ends."""
    while start < end and data[start] <= 32:
        start += 1
    while start < end and data[end - 1] <= 32:
        end -= 1
    return start, end


@kernel
def _authority(data: Bytes, start: int, end: int) -> tuple[int, int, int]:
    """Where the host begins and ends and the path begins; the host is empty where there is none.

    What stands before `://` is the scheme, and a URL may lack it.
    """
    at = start
    while at < end and (_alnum(data[at]) or data[at] in (43, 45, 46)):
        at += 1
    if at + 2 < end and data[at] == 58 and data[at + 1] == 47 and data[at + 2] == 47:
        at += 3
    elif start + 1 < end and data[start] == 47 and data[start + 1] == 47:
        at = start + 2
    else:
        at = start
    host = at
    path = at
    while path < end and data[path] not in (47, 63, 35, 92):  # / ? # \
        if data[path] == 64:  # @: what was before it is no host
            host = path + 1
        path += 1
    stop = path
    colon = path
    while colon > host and 48 <= data[colon - 1] <= 57:
        colon -= 1
    if colon > host and data[colon - 1] == 58:
        stop = colon - 1
    while stop > host and data[stop - 1] == 46:
        stop -= 1
    while host < stop and data[host] == 46:
        host += 1
    for each in range(host, stop):
        if data[each] <= 32 or data[each] in (34, 60, 62):  # white space, quotes: not a URL
            return host, host, path
    return host, stop, path


@kernel
def _url_key(data: Bytes, host: int, stop: int, path: int, end: int) -> np.uint64:
    """The hash of a URL without scheme, user, `www.`, port, fragment and a slash at its end."""
    w = stop - host > 4 and data[host + 3] == 46
    if w and _lower(data[host]) == 119 and _lower(data[host + 1]) == 119 and _lower(data[host + 2]) == 119:
        host += 4
    key = np.uint64(0)
    for at in range(host, stop):
        key = _add(key, _lower(data[at]))
    last = path
    while last < end and data[last] != 35:
        last += 1
    if last > path and data[last - 1] == 47:
        last -= 1
    for at in range(path, last):
        key = _add(key, data[at])
    return key


@kernel
def _list_keys(data: Bytes, kind: int, keys: Keys, lengths: Ints) -> int:
    count = 0
    at = 0
    while at < len(data):
        end = at
        while end < len(data) and data[end] != 10:
            end += 1
        first, last = _trim(data, at, end)
        at = end + 1
        if first == last or data[first] == 35:
            continue
        key = np.uint64(0)
        length = 0
        if kind == WORD:
            for each in range(first, last):
                if _alnum(data[each]):
                    key = _add(key, _lower(data[each]))
                    length += 1
        else:
            if data[first] == 42:  # *.example.com
                first += 1
            host, stop, path = _authority(data, first, last)
            length = stop - host
            if kind == URL:
                key = _url_key(data, host, stop, path, last)
            else:
                for each in range(host, stop):
                    key = _add(key, _lower(data[each]))
        if length:
            keys[count], lengths[count] = key, length
            count += 1
    return count


@kernel
def _hosts(data: Bytes, host: int, stop: int, domains: Keys, subdomains: Keys) -> tuple[int, int]:
    """Whether the host or a domain above it is in `domains`, and whether the host is in `subdomains`."""
    key = np.uint64(0)  # from the right: of the longer and longer ends of the host
    power = _ONE
    listed = 0
    for at in range(stop - 1, host - 1, -1):
        key += (np.uint64(_lower(data[at])) + _ONE) * power
        power *= BASE
        if at == host or data[at - 1] == 46:
            listed |= _member(domains, key)
    return listed, int(_member(subdomains, key))


@kernel
def _words(data: Bytes, start: int, end: int, words: Keys, seen: Keys) -> int:
    """How many different words of the URL are in the list."""
    count = 0
    key = np.uint64(0)
    length = 0
    for at in range(start, end + 1):
        if at < end and _alnum(data[at]):
            key = _add(key, _lower(data[at]))
            length += 1
            continue
        if length and _member(words, key):
            known = False
            for k in range(count):
                known |= seen[k] == key
            if not known:
                seen[count] = key
                count += 1
        key = np.uint64(0)
        length = 0
    return count


@kernel
def _substrings(data: Bytes, start: int, end: int, substrings: Keys, lengths: Ints, prefix: Keys) -> int:
    """How many times an entry stands in the letters and digits of the URL, all else left out."""
    size = 0
    prefix[0] = np.uint64(0)
    for at in range(start, end):
        if _alnum(data[at]):
            prefix[size + 1] = _add(prefix[size], _lower(data[at]))
            size += 1
    count = 0
    power = _ONE
    raised = 0
    for k in range(len(lengths)):
        length = lengths[k]
        while raised < length:
            power *= BASE
            raised += 1
        for first in range(size - length + 1):
            count += _member(substrings, prefix[first + length] - prefix[first] * power)
    return count


@kernel
def _scan(
    data: Bytes, offsets: Ints, domains: Keys, subdomains: Keys, urls: Keys, words: Keys, soft_words: Keys,
    substrings: Keys, lengths: Ints, prefix: Keys, seen: Keys, start: Ints, end: Ints, counts: Chars,
) -> None:  # fmt: skip
    for row in range(len(offsets) - 1):
        first, last = _trim(data, offsets[row], offsets[row + 1])
        host, stop, path = _authority(data, first, last)
        start[row], end[row] = host, stop
        if host < stop:
            counts[row, 0], counts[row, 1] = _hosts(data, host, stop, domains, subdomains)
            counts[row, 2] = _member(urls, _url_key(data, host, stop, path, last))
        if len(words):
            counts[row, 3] = _words(data, first, last, words, seen)
        if len(soft_words):
            counts[row, 4] = _words(data, first, last, soft_words, seen)
        if len(substrings):
            counts[row, 5] = _substrings(data, first, last, substrings, lengths, prefix)
