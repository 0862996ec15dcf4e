"""The `features` step: one vector a row (one a checkpoint), in a store that selectors map.

    vectors: {features: {from: pool, embedding: {model: models/minilm, part: question}}}

    costly:  {features: {from: [pool, kept], gradient: {...}}}     # of the rows that `kept` keeps, and no others

The output is a dataset beside the conversations, `id`, `source`, `tokens` and `reason` (why a row has no
feature), and the store's pieces. Rows that a step in `from` drops are not in it. A piece is computed by one task,
so that several workers share a shard and a killed run goes on at the piece where it was.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.core import files
from curate.core.chat.messages import MESSAGES, ChatBatch, Conversation
from curate.core.config import BadValue, Path, validate
from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.errors import ConfigError, RunError, nearest
from curate.core.shards import Bad, ShardWriter, read_shard, write_quarantine
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.core.table import Table
from curate.steps.select.feature import Feature, Featurise
from curate.steps.select.store import Details, Layout, write_piece

VERSION = 1
# Rows of a piece: what is done again after a kill, at most.
PIECE_ROWS = 1024
# Refused for good: neither another context nor another part of the row would help.
_QUARANTINED = ("cannot-render",)

FEATURES: Table[type[Feature]] = Table(
    {
        "embedding": "curate.steps.select.embedding_feature:EmbeddingFeature",
        "gradient": "curate.steps.select.gradient:Gradient",
        "rds": "curate.steps.select.rds_feature:RdsFeature",
    }
)

_SIDE = pa.schema([("id", pa.string()), ("source", pa.string()), ("tokens", pa.int32()), ("reason", pa.string())])


class FeaturesConfig(StepConfig):
    """Which conversations, and one kind of feature with its arguments."""

    source: list[str]
    feature: Feature

    def inputs(self) -> dict[str, str]:
        """The conversations, and the steps that keep and drop rows of them."""
        return {"from": self.source[0], **{f"from[{i}]": name for i, name in enumerate(self.source) if i}}

    def models(self) -> dict[str, str]:
        """The model files of the feature."""
        return self.feature.models()

    def identity(self) -> dict[str, Plain]:
        """The kind of feature and its arguments."""
        name = next(name for name, kind in FEATURES.items() if isinstance(self.feature, kind))
        return {name: self.feature.identity()}


def parse(value: Plain, path: Path) -> FeaturesConfig:
    """The config of the step from plain values.

    Raises:
        BadValue: no input, or an unknown feature or argument.
    """
    source = value.get("from") if isinstance(value, dict) else None
    names = [source] if isinstance(source, str) else source
    if not isinstance(value, dict) or not isinstance(names, list) or not names:
        raise BadValue(path, "`from` must name the step whose conversations get features")
    if not all(isinstance(name, str) for name in names):
        raise BadValue((*path, "from"), "expected the step of the conversations, or a list that begins with it")
    rest = {key: each for key, each in value.items() if key != "from"}
    if len(rest) != 1:
        raise BadValue(path, f"expected `from:` and one of {', '.join(FEATURES)} with its arguments")
    ((name, args),) = rest.items()
    if name not in FEATURES:
        raise BadValue((*path, name), f"no feature {name!r}; {nearest(name, FEATURES)}")
    feature = validate(FEATURES[name], args, (*path, name))
    return FeaturesConfig.model_construct(source=[str(each) for each in names], feature=feature)


@dataclass(frozen=True)
class _Task:
    """Some rows of a shard; `keepers` are the shards that say which of them are kept."""

    name: str
    rows: int
    source: str
    start: int
    keepers: tuple[str, ...]


@dataclass(frozen=True)
class _Join:
    """The pieces of a shard, whose side columns become one."""

    name: str
    rows: int
    pieces: tuple[str, ...]


def run(job: Job, config: FeaturesConfig) -> Result:
    """Compute every piece, then put the side columns of each shard together.

    A shard with a failed piece fails whole.

    Raises:
        ConfigError: the input holds no conversations.
        RunError: every shard failed.
    """
    data = job.inputs["from"]
    check_conversations(data)
    keepers = _keepers(job)
    tasks: list[_Task] = []
    joins: list[_Join] = []
    for shard in data.shards:
        stem = shard.name.removesuffix(".parquet")
        some = [
            _Task(
                f"{stem}-{i:05d}",
                min(PIECE_ROWS, shard.rows - start),
                data.path(shard),
                start,
                tuple(each.path(shard) for each in keepers),
            )
            for i, start in enumerate(range(0, max(1, shard.rows), PIECE_ROWS))
        ]
        tasks += some
        joins.append(_Join(shard.name, shard.rows, tuple(task.name for task in some)))
    make = functools.partial(_Compute, config.feature, dict(job.models), job.step.name, job.folder, job.scratch)
    job.map("pieces", make, tasks)
    receipts = job.map("", functools.partial(_JoinShard, job.folder, job.scratch, job.step.name), job.whole(joins))
    joined = {each.task for each in receipts}
    _remove_pieces(job, [piece for join in joins if join.name not in joined for piece in join.pieces])
    pieces = [piece for join in joins if join.name in joined for piece in join.pieces]
    notes = [orjson.loads(files.read_bytes(files.join(job.scratch, f"{piece}.json"))) for piece in pieces]
    if not notes and job.failed:
        raise RunError(
            f"step {job.step.name}: every shard was given up, the last for {job.failed[-1].error}; mend that"
        )
    if not notes:
        raise ConfigError(f"step {job.step.name}: no row to make features of; check its input")
    layout = Layout(config.feature.kind, len(notes[0]["weights"]), notes[0]["width"])
    details = Details(
        kind=layout.kind,
        checkpoints=layout.checkpoints,
        width=layout.width,
        weights=notes[0]["weights"],
        row_bytes=layout.row_bytes,
        pieces=[(piece, note["rows"]) for piece, note in zip(pieces, notes, strict=True)],
    )
    hashes = {name: value for note in notes for name, value in note["files"].items()}
    return Result(receipts, {"store": details.model_dump(mode="json")}, hashes)


def _remove_pieces(job: Job, pieces: Sequence[str]) -> None:
    """Remove the pieces of failed shards, their receipts first: a run that goes on makes them again."""
    job.forget("pieces", pieces)
    lost = set(pieces)
    for name in files.list_names(job.folder):
        if name.endswith(".npy") and name.split(".")[0] in lost:
            files.remove(files.join(job.folder, name))


def _keepers(job: Job) -> list[Dataset]:
    """The datasets that keep and drop rows.

    Raises:
        ConfigError: one of `from` says nothing of the kind.
    """
    found = [data for role, data in job.inputs.items() if role.startswith("from[")]
    for each in found:
        if "keep" not in each.schema().names:
            raise ConfigError(
                f"step {job.step.name}: {each.manifest.step} keeps and drops nothing; name the conversations first "
                "in `from`, then filter, dedup or select steps"
            )
    return found


def check_conversations(data: Dataset) -> None:
    """See that a dataset holds conversations.

    Raises:
        ConfigError: it holds none.
    """
    names = data.schema().names
    if "messages" not in names:
        documents = "documents, not conversations; read it with `conversations: auto`"
        held = documents if "text" in names else "no conversations; name the step that reads them first"
        raise ConfigError(f"step {data.manifest.step}: holds {held}")


class _Compute:
    def __init__(self, feature: Feature, models: dict[str, str], step: str, folder: str, scratch: str) -> None:
        self._featurise: Featurise = feature.load(models)
        self._layout = Layout(feature.kind, len(self._featurise.weights), self._featurise.width)
        self._step, self._folder, self._scratch = step, folder, scratch

    def __call__(self, task: _Task) -> Receipt:
        every = _rows(task)
        rows = _kept(every, task.keepers)
        batch = ChatBatch(rows.column("messages").cast(MESSAGES))
        found = self._featurise(batch.conversations)
        out = [i for i, why in enumerate(found.refused) if why is not None and why.reason in _QUARANTINED]
        kept = [i for i in range(len(found.refused)) if i not in set(out)]
        hashes = write_piece(self._folder, task.name, self._layout, found.rows[kept]) if kept else {}
        reasons = [None if why is None else why.reason for why in found.refused]
        side = pa.RecordBatch.from_arrays(
            [
                rows.column("id"),
                rows.column("source"),
                pa.array(found.tokens, pa.int32()),
                pa.array(reasons, pa.string()),
            ],
            schema=_SIDE,
        ).take(pa.array(kept, pa.int64()))
        with ShardWriter(files.join(self._scratch, f"{task.name}.parquet"), _SIDE) as writer:
            writer.write(side)
        bad = [_bad(rows, batch.conversations, i, found.refused) for i in out]
        note = {
            "rows": len(kept),
            "dropped": every.num_rows - rows.num_rows,
            "width": self._layout.width,
            "weights": list(self._featurise.weights),
            "files": hashes,
            "bad": [
                [each.id, each.source, each.error, each.message, each.sample.decode("utf-8", "replace")] for each in bad
            ],
        }
        with files.atomic_output(files.join(self._scratch, f"{task.name}.json")) as stream:
            stream.write(orjson.dumps(note))
        return Receipt(task.name, task.rows)


def _rows(task: _Task) -> pa.RecordBatch:
    """The rows of a task."""
    parts: list[pa.RecordBatch] = []
    at = 0
    for batch in read_shard(task.source, ["id", "source", "messages"]):
        begin, end = max(task.start - at, 0), min(task.start + task.rows - at, batch.num_rows)
        if begin < end:
            parts.append(batch.slice(begin, end - begin))
        elif not parts:
            parts.append(batch.slice(0, 0))
        at += batch.num_rows
    return pa.Table.from_batches(parts).combine_chunks().to_batches()[0] if task.rows else parts[0]


def _kept(rows: pa.RecordBatch, keepers: Sequence[str]) -> pa.RecordBatch:
    """The rows that every one of these shards has and keeps."""
    for path in keepers:
        ids = [batch.filter(batch.column("keep")).column("id") for batch in read_shard(path, ["id", "keep"])]
        rows = rows.filter(pc.is_in(rows.column("id"), value_set=pa.chunked_array(ids, pa.string()).combine_chunks()))
    return rows


def _bad(rows: pa.RecordBatch, conversations: Sequence[Conversation], i: int, refused: Sequence[object]) -> Bad:
    why = refused[i]
    sample = "\n".join(turn.content for turn in conversations[i])[:100].encode("utf-8", "replace")
    reason, message = getattr(why, "reason", "error"), getattr(why, "message", "")
    return Bad(rows.column("id")[i].as_py(), rows.column("source")[i].as_py() or "", reason, message, sample)


class _JoinShard:
    def __init__(self, folder: str, scratch: str, step: str) -> None:
        self._folder, self._scratch, self._step = folder, scratch, step

    def __call__(self, task: _Join) -> Receipt:
        bad: list[Bad] = []
        counts: dict[str, int] = {}
        dropped = 0
        with ShardWriter(files.join(self._folder, task.name), _SIDE) as writer:
            for piece in task.pieces:
                for batch in read_shard(files.join(self._scratch, f"{piece}.parquet"), _SIDE.names):
                    writer.write(batch)
                    for reason in batch.column("reason").drop_null().to_pylist():
                        counts[f"refused:{reason}"] = counts.get(f"refused:{reason}", 0) + 1
                note = orjson.loads(files.read_bytes(files.join(self._scratch, f"{piece}.json")))
                dropped += note["dropped"]
                bad += [
                    Bad(key, source, error, message, sample.encode())
                    for key, source, error, message, sample in note["bad"]
                ]
        write_quarantine(self._folder, task.name, self._step, bad)
        return Receipt(task.name, task.rows, (writer.shard,), len(bad), dropped=dropped, counts=counts)
