"""Recorded answers as files: out of a ledger to ship them, and into one to replay them.

    export(["runs/demo/ledger"], "answers.parquet")         # or answers.jsonl
    import_recorded(["answers.parquet"], "runs/other/ledger")

A row has `key`, `endpoint`, `model`, `revision`, `kind`, `sample`, `request` and `response`, the last two as JSON. The
key is computed again from the request, so that a file whose requests were changed answers nothing.
"""

from __future__ import annotations

import glob
import heapq
import itertools
import os
from collections.abc import Iterator, Sequence

import orjson
import pyarrow as pa
import zstandard

from curate.core import files
from curate.core.errors import ConfigError
from curate.core.shards import ShardWriter, read_shard
from curate.generate.ledger import entries, open_sqlite, stored
from curate.generate.request import Request, Unreadable, as_request, read_completion

SUFFIX = ".sqlite"
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("endpoint", pa.string()),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("kind", pa.string()),
        ("sample", pa.int64()),
        ("request", pa.large_string()),
        ("response", pa.large_string()),
    ]
)
_AT_ONCE = 2000


def find_ledgers(folder: str) -> list[str]:
    """The ledgers below a folder, in order of name."""
    return sorted(glob.glob(os.path.join(glob.escape(folder), "**", f"*{SUFFIX}"), recursive=True))


def export(sources: Sequence[str], path: str) -> int:
    """Write every answer of some ledgers, each once, in the order of the keys; how many there are.

    Args:
        sources: files of ledgers.
        path: of a `.parquet` or `.jsonl` file.

    Raises:
        ConfigError: the name of the file has another ending.
    """
    if not path.endswith((".parquet", ".jsonl")):
        raise ConfigError(f"{path}: answers are written as .parquet or .jsonl; name one of them")
    rows = _rows_of(sources)
    count = 0
    if path.endswith(".jsonl"):
        with files.atomic_output(path) as out:
            for row in rows:
                plain = {name: orjson.loads(str(row[name])) for name in ("request", "response")}
                out.write(orjson.dumps({**row, **plain}) + b"\n")
                count += 1
    else:
        with ShardWriter(path, SCHEMA) as writer:
            while some := list(itertools.islice(rows, _AT_ONCE)):
                writer.write(pa.RecordBatch.from_pylist(some, schema=SCHEMA))
                count += len(some)
    return count


def _rows_of(sources: Sequence[str]) -> Iterator[dict[str, object]]:
    """Of all ledgers, in the order of the keys, each once."""
    last = ""
    for entry in heapq.merge(*map(entries, sources), key=lambda each: each.key):
        if entry.key == last:
            continue
        last = entry.key
        asked = orjson.loads(entry.request)
        row = {name: asked[name] for name in ("endpoint", "model", "revision", "kind", "sample")}
        yield {"key": last, **row, "request": entry.request.decode(), "response": entry.response.decode()}


def import_recorded(paths: Sequence[str], folder: str) -> tuple[str, ...]:
    """Ledgers that hold the answers in some files, made below a folder where they are not there yet.

    Raises:
        ConfigError: a file is damaged, or of no known kind.
    """
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            found += find_ledgers(path)
            continue
        if path.endswith(SUFFIX):
            found.append(path)
            continue
        target = os.path.join(folder, "recorded", f"{files.content_hash(path)}{SUFFIX}")
        if not os.path.exists(target):
            _import(path, target)
        found.append(target)
    return tuple(found)


def _import(path: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = f"{target}.tmp"
    if os.path.exists(temporary):
        os.unlink(temporary)
    connection = open_sqlite(temporary, schema=True)
    zip_ = zstandard.ZstdCompressor(level=1)
    try:
        connection.execute("BEGIN")
        for request, response in _read(path):
            statement, values = stored(zip_, request.key, request.canonical, response)
            connection.execute(statement, values)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, to be renamed
    finally:
        connection.close()
    os.replace(temporary, target)


def _read(path: str) -> Iterator[tuple[Request, bytes]]:
    for number, row in enumerate(_rows(path)):
        try:
            request_, response = row["request"], row["response"]
            asked = orjson.loads(request_) if isinstance(request_, str) else request_
            if not isinstance(asked, dict):
                raise TypeError("its request is no object")
            body = response.encode() if isinstance(response, str) else orjson.dumps(response)
            request = as_request(asked)
            read_completion(request.kind, body)
        except (KeyError, TypeError, ValueError, Unreadable) as error:
            raise ConfigError(f"{path}: row {number} is no recorded answer ({error}); export it again") from None
        yield request, body


def _rows(path: str) -> Iterator[dict[str, object]]:
    if path.endswith(".parquet"):
        for batch in read_shard(path, ["request", "response"]):
            yield from batch.to_pylist()
        return
    if not path.endswith(".jsonl"):
        raise ConfigError(f"{path}: recorded answers are .jsonl, .parquet, or a folder of a ledger; export them again")
    for number, line in enumerate(files.read_bytes(path).splitlines()):
        if line.strip():
            try:
                yield dict(orjson.loads(line))
            except (orjson.JSONDecodeError, TypeError, ValueError):
                raise ConfigError(f"{path}:{number + 1}: is no JSON object; export it again") from None
