"""What a release is made of, and how it is cut into files.

sources = Sources.of({"from[0]": docs, "from[1]": kept})
plan_files(sources, "train", 300_000_000)[0].name        # 'train-00000-of-00007'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core import files
from curate.core.chat.messages import MESSAGES
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError

# What zstd at level 3 leaves of web text in Parquet: 0.36 to 0.39 on three samples of web pages.
COMPRESSED = 0.375
# What a row says: a document's text, or the turns of a conversation.
CONTENT = {"text": pa.large_string(), "messages": MESSAGES}


@dataclass(frozen=True)
class Sources:
    """The datasets of a release by what they give.

    Attributes:
        documents: with the text or the turns.
        beside: with columns.
        judge: with `keep` and `reason`.
        picked: where the judge is a `select` step, its columns that say why a row is there, by their names in the
            release, `picks_rank` for the `rank` of a step `picks`: another's `score` is another thing.
    """

    documents: Dataset
    beside: tuple[Dataset, ...]
    judge: Dataset | None
    picked: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Mapping[str, Dataset]) -> Sources:
        """Find out which dataset is which.

        Raises:
            ConfigError: none has text, two have `keep`, or two have the same column.
        """
        columns = {role: dataset.schema().names for role, dataset in inputs.items()}
        text = next((role for role, names in columns.items() if any(name in names for name in CONTENT)), None)
        if text is None:
            raise ConfigError(
                "none of the inputs of the release has a `text` or `messages` column; name the documents in `from`"
            )
        judges = [role for role, names in columns.items() if role != text and "keep" in names]
        if len(judges) > 1:
            names = " and ".join(inputs[role].manifest.step for role in judges)
            raise ConfigError(f"{names} both have `keep`; let one filter read them, and name that alone")
        beside = [role for role in inputs if role != text and role not in judges]
        picked = _picked(inputs[judges[0]]) if judges else {}
        owner = dict.fromkeys(columns[text], text)
        judged = ("keep", "reason", *picked) if judges else ()
        clashes = [(name, text) for name in judged if name in columns[text]]
        owner.update(dict.fromkeys(judged, judges[0]) if judges else {})
        for role in beside:
            clashes += [(name, owner[name]) for name in columns[role] if name != "id" and name in owner]
            owner.update(dict.fromkeys(columns[role], role))
        if clashes:
            name, role = clashes[0]
            step = inputs[role].manifest.step
            raise ConfigError(f"the column {name!r} of {step} is in another input too; give one of them another name")
        return cls(inputs[text], tuple(inputs[r] for r in beside), inputs[judges[0]] if judges else None, picked)

    def schema(self) -> pa.Schema:
        """id, text or messages, source, the documents' own columns, the columns beside them, why a row was picked."""
        own = self.documents.schema()
        fields = {field.name: field.type for field in self._first(own)}
        fields.update({field.name: field.type for field in own if field.name not in fields})
        for dataset in self.beside:
            fields.update({field.name: field.type for field in dataset.schema() if field.name != "id"})
        if self.judge is not None and self.picked:
            own = self.judge.schema()
            fields.update({name: own.field(column).type for name, column in self.picked.items()})
        return pa.schema(list(fields.items()))

    def rejected(self) -> pa.Schema:
        """What is reported of a dropped row: id, text or messages, source, reason."""
        return self._first(self.documents.schema()).append(pa.field("reason", pa.string()))

    def _first(self, own: pa.Schema) -> pa.Schema:
        name = next(name for name in CONTENT if name in own.names)
        return pa.schema([("id", pa.string()), (name, CONTENT[name]), ("source", pa.string())])


def _picked(judge: Dataset) -> dict[str, str]:
    """The columns of a `select` step that have a value somewhere, but for its verdict, by their names in a release."""
    if judge.manifest.kind != "select":
        return {}
    names = [name for name in judge.schema().names if name not in ("id", "keep", "reason")]
    filled: set[str] = set()
    for shard in judge.shards:
        with files.open_input(judge.path(shard)) as stream:
            footer = pq.read_metadata(stream)
        for group in (footer.row_group(i) for i in range(footer.num_row_groups)):
            for column in (group.column(i) for i in range(group.num_columns)):
                found = column.statistics
                if found is None or not found.has_null_count or found.null_count < group.num_rows:
                    filled.add(column.path_in_schema)
    return {f"{judge.manifest.step}_{name}": name for name in names if name in filled}


@dataclass(frozen=True)
class FileTask:
    """One file of the release: the input shards that go into it."""

    name: str
    rows: int
    shards: tuple[str, ...]


def plan_files(sources: Sources, split: str, file_bytes: int) -> list[FileTask]:
    """Group consecutive shards until a file is about full, by what the manifests say alone."""
    judge = sources.judge
    share = judge.manifest.counts.get("kept", judge.rows) / max(judge.rows, 1) if judge else 1.0
    groups: list[list[int]] = []
    size = float(file_bytes)
    for i, shard in enumerate(sources.documents.shards):
        expected = shard.bytes * share * COMPRESSED
        # Half a shard too much is nearer to the aim than half a shard too little.
        if not groups or size + expected / 2 > file_bytes:
            groups.append([])
            size = 0.0
        groups[-1].append(i)
        size += expected
    shards = sources.documents.shards
    return [
        FileTask(
            f"{split}-{number:05d}-of-{len(groups):05d}",
            sum(shards[i].rows for i in group),
            tuple(shards[i].name for i in group),
        )
        for number, group in enumerate(groups)
    ]
