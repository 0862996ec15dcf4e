"""The rows that a recipe reads: of a dataset and its attributes, with examples and passages, or without seed rows.

plan = Plan.of(job.inputs, config, recipe)
for row in plan.rows(task): ...              # InputRow
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from curate.core.chat.messages import MESSAGES, PARTS, ChatBatch
from curate.core.config import BadValue, Path
from curate.core.dataset import Dataset, align
from curate.core.errors import ConfigError, nearest
from curate.models.retrieval.retrieve import Retriever, load_retriever
from curate.steps.synthesize.config import SynthesizeConfig
from curate.steps.synthesize.functions import shuffled
from curate.steps.synthesize.recipe_model import Recipe
from curate.steps.synthesize.synthetic import InputRow
from curate.steps.synthesize.template import Template

# Rows without seed rows in one shard.
BORN_ROWS = 1000
_AT_ONCE = 256
# What a document can stand for, as the question of a conversation that has no answer yet.
_ASKED = ("messages", "question")
# Examples are held in memory; more than so many are no examples any more.
_MOST_SHOTS = 200_000


@dataclass(frozen=True)
class RowsTask:
    """One shard of a recipe's input.

    Attributes:
        rows: how many there are in it.
        start: of the first row, where rows are made without seed rows.
    """

    name: str
    rows: int
    start: int = 0


def tasks_of(config: SynthesizeConfig, datasets: Sequence[Dataset]) -> list[RowsTask]:
    """The shards of the input; of rows without seed rows, of `BORN_ROWS` each."""
    if datasets:
        return [RowsTask(shard.name, shard.rows) for shard in datasets[0].shards]
    count = config.count or 0
    starts = range(0, count, BORN_ROWS)
    return [RowsTask(f"part-{i:05d}.parquet", min(BORN_ROWS, count - start), start) for i, start in enumerate(starts)]


@dataclass(frozen=True)
class Reads:
    """Which columns of which dataset are read: by the position of the dataset.

    `turns` says that the parts of conversations are wanted, `asked` that documents stand for what a user asks.
    `where` are the columns that are read to choose rows alone.
    """

    columns: Mapping[int, tuple[str, ...]]
    judges: tuple[str, ...]
    turns: bool
    asked: bool
    where: tuple[str, ...]


def reads_of(config: SynthesizeConfig, datasets: Sequence[Dataset], path: Path) -> Reads:
    """Find the columns that a recipe needs, and those that choose the rows.

    Raises:
        BadValue: one is nowhere, or of another type.
    """
    recipe = config.recipe
    schemas = [dataset.schema().names for dataset in datasets]
    found: dict[int, list[str]] = {i: [] for i in range(len(datasets))}
    turns = asked = False
    every = [name for names in schemas for name in names]
    for name in [*recipe.needs, *recipe.optional]:
        # Of a column that several have, the last one's is read, as `align` takes it.
        owners = [i for i, names in enumerate(schemas) if name in names]
        if owners:
            found[owners[-1]].append(name)
        elif name in PARTS and "messages" in every:
            turns = True
        elif name in _ASKED and "text" in schemas[0]:
            asked = True
        elif name in recipe.needs:
            message = f"the recipe {recipe.name} reads a column {name!r}, which is not there"
            raise BadValue((*path, "from"), f"{message}; {nearest(name, every)}")
    if turns and "messages" not in found[0]:
        found[0].append("messages")
    if asked and "text" not in found[0]:
        found[0].append("text")
    if datasets and "source" in schemas[0]:
        found[0].append("source")
    judges = [i for i, names in enumerate(schemas) if "keep" in names]
    for i in judges:
        found[i].append("keep")
    where = []
    for name, value in config.where.items():
        owners = [i for i, names in enumerate(schemas) if name in names]
        if not owners:
            raise BadValue((*path, "where", name), f"no such column in what `from` names; {nearest(name, every)}")
        kind = datasets[owners[-1]].schema().field(name).type
        if not _comparable(value, kind):
            raise BadValue((*path, "where", name), f"the column holds {kind}, which {value!r} is not")
        if name not in found[owners[-1]]:
            found[owners[-1]].append(name)
            where.append(name)
    columns = {i: tuple(names) for i, names in found.items()}
    return Reads(columns, ("keep",) if judges else (), turns, asked, tuple(where))


def _comparable(value: str | int | bool, kind: pa.DataType) -> bool:
    if isinstance(value, bool):
        return bool(pa.types.is_boolean(kind))
    if isinstance(value, int):
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


class Rows:
    """Reads the rows of a shard, and adds examples and passages to them; made once a worker."""

    def __init__(
        self,
        config: SynthesizeConfig,
        recipe: Recipe,
        inputs: Mapping[str, Dataset],
        models: Mapping[str, str],
        reads: Reads,
    ) -> None:
        self._config, self._recipe, self._reads = config, recipe, reads
        self._datasets = [dataset for role, dataset in inputs.items() if role.startswith("from[")]
        self._inputs, self._models = inputs, models

    @functools.cached_property
    def _retriever(self) -> Retriever | None:
        retrieve = self._config.retrieve
        if retrieve is None:
            return None
        folder = self._inputs["retrieve"].folder
        return load_retriever(folder, by=retrieve.by, model=self._models.get("retrieve.model"), words=retrieve.words)

    @functools.cached_property
    def _shots(self) -> Shots | None:
        shots = self._config.shots
        return None if shots is None else Shots(self._inputs["shots"], shots.count, shots.same, self._config.seed)

    def read(self, task: RowsTask) -> tuple[int, Iterator[InputRow]]:
        """How many rows of a shard are left out by its attributes, and the others in order."""
        if not self._datasets:
            return 0, self._with_passages(self._born(task))
        columns = {i: names for i, names in self._reads.columns.items()}
        table, lacking = align(self._datasets, task.name, columns)
        given = table.num_rows
        if self._reads.judges:
            table = table.filter(table.column("keep"))
        for name, value in self._config.where.items():
            table = table.filter(pc.equal(table.column(name), value))
        lacking += given - table.num_rows
        # A template is not to see them in the place of a param.
        table = table.drop_columns(list(self._reads.where))
        return lacking, self._with_passages(self._stored(table))

    def _born(self, task: RowsTask) -> Iterator[InputRow]:
        for number in range(task.start, task.start + task.rows):
            key = xxhash.xxh3_128_hexdigest(f"{self._recipe.name}|{self._config.seed}|{number}".encode())
            row = InputRow(key, f"{self._recipe.name}#{number}", self._optional({}), number=number)
            yield self._with_shots(row)

    def _stored(self, table: pa.Table) -> Iterator[InputRow]:
        for batch in table.to_batches(max_chunksize=_AT_ONCE):
            rows = batch.to_pylist()
            if self._reads.turns:
                chats = ChatBatch(batch.column("messages").cast(MESSAGES))
                for part in PARTS:
                    for row, text in zip(rows, chats.parts(part), strict=True):
                        row.setdefault(part, text)
            if self._reads.asked:
                for row in rows:
                    row.setdefault("messages", [{"role": "user", "content": row["text"] or ""}])
                    row.setdefault("question", row["text"])
            for row in rows:
                key, source = row.pop("id"), row.pop("source", None) or ""
                yield self._with_shots(InputRow(key, source, self._optional(row), (key,)))

    def _optional(self, columns: dict[str, object]) -> dict[str, object]:
        return {**dict.fromkeys(self._recipe.optional), "found": [], "shots": [], **columns}

    def _with_shots(self, row: InputRow) -> InputRow:
        if self._shots is None:
            return row
        shown = self._shots.of(row)
        columns = {**row.columns, "shots": [columns for _, columns in shown]}
        return replace(row, columns=columns, parents=(*row.parents, *(key for key, _ in shown)))

    def _with_passages(self, rows: Iterator[InputRow]) -> Iterator[InputRow]:
        retrieve, retriever = self._config.retrieve, self._retriever
        if retrieve is None or retriever is None:
            yield from rows
            return
        query = Template(retrieve.query)
        for some in _batches(rows, _AT_ONCE):
            asked = [query.render({**self._recipe.params, **row.columns}) for row in some]
            hits = retriever.search(asked, retrieve.top, exclude=[row.id for row in some])
            for row, passages in zip(some, hits, strict=True):
                found = [{"id": each.id, "text": each.text, "score": each.score} for each in passages]
                parents = dict.fromkeys([*row.parents, *(each.id for each in passages)])
                yield replace(row, columns={**row.columns, "found": found}, parents=tuple(parents))


class Shots:
    """Examples of a dataset, drawn for each row by its id.

    Args:
        data: the examples.
        count: how many are shown.
        same: a column in which an example has the row's value; None for any.
        seed: of the draw.
    """

    def __init__(self, data: Dataset, count: int, same: str | None, seed: int) -> None:
        if data.rows > _MOST_SHOTS:
            raise ConfigError(
                f"step {data.manifest.step}: {data.rows:,} rows are too many to be examples ({_MOST_SHOTS:,});"
                " select some first"
            )
        self._count, self._same, self._seed = count, same, seed
        self._all: dict[object, list[tuple[str, dict[str, object]]]] = {}
        for shard in data.shards:
            for batch in data.read(shard):
                for row in batch.to_pylist():
                    key = row.pop("id")
                    self._all.setdefault(row.get(same) if same else None, []).append((key, row))

    def of(self, row: InputRow) -> list[tuple[str, dict[str, object]]]:
        """The examples for a row, by id, itself never among them."""
        among = self._all.get(row.columns.get(self._same) if self._same else None, [])
        # More draws than are needed, as one may be the row itself.
        places = range(len(among))
        order = (
            shuffled(list(places), f"{self._seed}|{row.id}|shots")
            if len(among) <= 1000
            else _some(len(among), self._count + 1, f"{self._seed}|{row.id}|shots")
        )
        chosen = [among[int(str(i))] for i in order if among[int(str(i))][0] != row.id]
        return chosen[: self._count]


def _some(size: int, count: int, seed: str) -> list[int]:
    found: dict[int, None] = {}
    number = 0
    while len(found) < min(count, size):
        found[xxhash.xxh3_64_intdigest(f"{seed}|{number}".encode()) % size] = None
        number += 1
    return list(found)


def _batches(rows: Iterator[InputRow], size: int) -> Iterator[list[InputRow]]:
    some: list[InputRow] = []
    for row in rows:
        some.append(row)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
