"""Texts with a label each, of the rows that their attributes keep.

    for row in read_labelled([made, kept], label="label"):      # `kept` has a column `keep` for the rows of `made`
        row.id, row.text, row.label

A dataset with `text` or `messages` begins a new group; one without lies beside the rows before it, and its label is
taken where it has one, and rows with `keep = false` are skipped. Labels are strings; whole numbers and booleans as they
are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.core.chat.messages import MESSAGES, ChatBatch
from curate.core.dataset import Dataset, align
from curate.core.errors import ConfigError, nearest

_CONTENT = ("text", "messages")
_NOT_LABELS = ("id", "source", "keep", "reason", *_CONTENT)


@dataclass(frozen=True)
class Labelled:
    """A row: its id, the text of a document or of all turns, and its label."""

    id: str
    text: str
    label: str


def check_labelled(datasets: Sequence[Dataset], label: str) -> None:
    """See that there are rows, and a column of labels for all of them.

    Raises:
        ConfigError: the first dataset has no text, or rows have no such column, or it holds no labels.
    """
    for group in _groups(datasets):
        _label_owner(group, label)


def read_labelled(datasets: Sequence[Dataset], label: str) -> Iterator[Labelled]:
    """The kept rows that have a text with something in it and a label, in order.

    Raises:
        ConfigError: as `check_labelled`.
    """
    for group in _groups(datasets):
        owner = _label_owner(group, label)
        judges = [i for i, data in enumerate(group) if "keep" in data.schema().names]
        content = next(name for name in _CONTENT if name in group[0].schema().names)
        for shard in group[0].shards:
            wanted = {0: [content], owner: [label]} if owner else {0: [content, label]}
            table, _ = align(group, shard.name, wanted)
            for i in judges:
                kept = pa.Table.from_batches(
                    [] if shard.name not in group[i].names else group[i].read(shard.name, ["id", "keep"]),
                    group[i].schema().empty_table().select(["id", "keep"]).schema,
                )
                good = kept.filter(kept.column("keep")).column("id").combine_chunks()
                table = table.filter(pc.is_in(table.column("id"), value_set=good))
            for batch in table.to_batches():
                yield from _rows(batch, content, label)


def label_of(value: object) -> str | None:
    """A label as it is written: `true` and `1` for a boolean and a whole number; None for null and white space."""
    if value is None:
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return text or None


def _rows(batch: pa.RecordBatch, content: str, label: str) -> Iterator[Labelled]:
    column = batch.column(content)
    texts = column.to_pylist() if content == "text" else ChatBatch(column.cast(MESSAGES)).parts("text")
    for key, text, value in zip(batch.column("id").to_pylist(), texts, batch.column(label).to_pylist(), strict=True):
        name = label_of(value)
        if name is not None and text and not text.isspace():
            yield Labelled(key, text, name)


def _groups(datasets: Sequence[Dataset]) -> list[list[Dataset]]:
    """Each dataset of rows with those that lie beside it."""
    groups: list[list[Dataset]] = []
    for data in datasets:
        if any(name in data.schema().names for name in _CONTENT):
            groups.append([data])
        elif not groups:
            raise ConfigError(f"step {data.manifest.step}: has neither `text` nor `messages`; name the rows before it")
        else:
            groups[-1].append(data)
    return groups


def _label_owner(group: Sequence[Dataset], label: str) -> int:
    """Which dataset of a group has the labels: the last that has such a column."""
    schemas = [data.schema() for data in group]
    owners = [i for i, schema in enumerate(schemas) if label in schema.names]
    if not owners:
        known = [name for schema in schemas for name in schema.names if name not in _NOT_LABELS]
        raise ConfigError(
            f"step {group[0].manifest.step}: no column {label!r} in it or beside it, which `label:` names;"
            f" {nearest(label, known)}"
        )
    kind = schemas[owners[-1]].field(label).type
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_null)
    if not any(test(kind) for test in tests):
        step = group[owners[-1]].manifest.step
        raise ConfigError(f"the column {label!r} in {step} holds {kind}, not labels; name another")
    return owners[-1]
