"""Where a synthetic row comes from: who was asked what, the answer, and its parents back to the files that were read.

for line in explain_synthetic(made, {"id": "eceec211...", "parents": ["c84198f1..."], ...}, datasets, ledgers):
    print(line)
for outcome in find_outcomes(made, "c84198f1"):            # the other way: what was made of a row
    print(outcome.state, outcome.made)
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from curate.core import files
from curate.core.chat.messages import MESSAGES, ChatBatch
from curate.core.dataset import Dataset
from curate.core.errors import RunError
from curate.core.shards import read_shard
from curate.generate.access import FOLDER
from curate.generate.ledger import Entry, open_sqlite
from curate.generate.recorded import SUFFIX, find_ledgers
from curate.generate.request import Unreadable, as_request, read_completion

KIND = "synthesize"
# What is said of a synthetic row in words, not column by column.
SUMMARISED = ("parents", "recipe", "model", "request", "sample", "finish", "check", "logprobs")
_OUTCOMES = "fates"
_ASKED, _WIDTH = 400, 60  # characters of a prompt or an answer, and of any other row
_MANY = 10  # parents of a row, or rows made of one, that are named
_CHAIN = 40  # rows back to the sources: a pool of thousands may all be parents of one another


@dataclass(frozen=True)
class RowOutcome:
    """What became of a row in a `synthesize` step, and the ids of the rows made of it, where they are known."""

    id: str
    state: str
    reason: str
    message: str
    rows: int
    dropped: tuple[tuple[str, str], ...]
    made: tuple[str, ...]


def ledgers_of(run: str, named: Sequence[str]) -> list[str]:
    """The ledgers in which the answers of a run stand: its own, and those that its config names.

    Args:
        run: the folder.
        named: as `ledgers:` has them; exports were imported into the run's own folder.
    """
    found = find_ledgers(os.path.join(run, FOLDER))
    for path in named:
        found += find_ledgers(path) if os.path.isdir(path) else [path] if path.endswith(SUFFIX) else []
    return [path for path in dict.fromkeys(found) if os.path.exists(path)]


def explain_synthetic(
    made: Dataset, row: Mapping[str, object], datasets: Sequence[Dataset], ledgers: Sequence[str]
) -> Iterator[str]:
    """Lines beneath a synthetic row.

    Args:
        made: the output of a `synthesize` step.
        row: of it.
        datasets: the outputs of the run.
        ledgers: where answers stand.
    """
    check = row.get("check")
    score = f", check {check:.6g}" if isinstance(check, float) else ""
    yield f"    made by the recipe {row['recipe']}: sample {row['sample']}, finish {row['finish']}{score}"
    yield f"    answered by {row['model']}, request {row['request']}"
    yield from _asked(str(row["request"]), ledgers)
    known = {each.manifest.digest: each for each in datasets}
    yield from _Chain(known).lines(made, row, 1)


def _asked(key: str, ledgers: Sequence[str]) -> Iterator[str]:
    try:
        entry = next(filter(None, (_entry(path, key) for path in ledgers)), None)
    except RunError as error:
        yield f"        its answer is not known: {error}"
        return
    if entry is None:
        yield "        its answer is not in the ledger of this run"
        return
    request = as_request(orjson.loads(entry.request))
    messages, prompt = request.body.get("messages"), request.body.get("prompt")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        prompt = messages[-1].get("content")
    yield f"        asked:    {_quoted(str(prompt), _ASKED)}"
    try:
        yield f"        answered: {_quoted(read_completion(request.kind, entry.response).text, _ASKED)}"
    except Unreadable as error:
        yield f"        its answer cannot be read: {error}"


def _entry(path: str, key: str) -> Entry | None:
    """The answer to a request, if this ledger has it; nothing is written."""
    connection = open_sqlite(path)
    try:
        query = "SELECT request, response FROM responses WHERE key = ?"
        row = connection.execute(query, (bytes.fromhex(key),)).fetchone()
    except sqlite3.Error as error:
        raise RunError(f"{path}: is no ledger that can be read ({error})") from None
    finally:
        connection.close()
    if row is None:
        return None
    unzip = zstandard.ZstdDecompressor()
    return Entry(key, unzip.decompress(row[0]), unzip.decompress(row[1]))


class _Chain:
    """The parents of a row, theirs, and so on; each row is shown once."""

    def __init__(self, known: Mapping[str, Dataset]) -> None:
        self._known = known
        self._shown: set[str] = set()

    def lines(self, dataset: Dataset, row: Mapping[str, object], depth: int) -> Iterator[str]:
        """A line for each parent of a row, its parents beneath it."""
        listed = row.get("parents")
        ids = [str(each) for each in listed] if isinstance(listed, list) else []
        indent = "    " * depth
        if not ids:
            yield f"{indent}it has no parents: it was made of nothing but its recipe"
            return
        inputs = [self._known[each] for each in dataset.manifest.inputs.values() if each in self._known]
        found = _find_rows([*inputs, dataset], ids[:_MANY])
        for i, key in enumerate(ids[:_MANY]):
            if len(self._shown) >= _CHAIN:
                yield f"{indent}and {len(ids) - i:,} more: {_CHAIN} rows back are told"
                return
            if key not in found:
                yield f"{indent}parent {key}: is in no dataset of this run"
                continue
            home, shard, values = found[key]
            where = f"{home.manifest.step} ({home.manifest.kind})"
            if key in self._shown:
                yield f"{indent}parent {key} of {where}: told above"
                continue
            self._shown.add(key)
            yield f"{indent}parent {key} of {where}, from {values.get('source')} in {shard}: {_begins(values)}"
            if home.manifest.kind == KIND:
                yield from self.lines(home, values, depth + 1)
        if ids[_MANY:]:
            yield f"{indent}and {len(ids) - _MANY:,} more parents"


def _find_rows(datasets: Sequence[Dataset], ids: Sequence[str]) -> dict[str, tuple[Dataset, str, dict[str, object]]]:
    """Some rows in the first dataset that has text and them: where they stand, and what they say."""
    found: dict[str, tuple[Dataset, str, dict[str, object]]] = {}
    for dataset in datasets:
        names = dataset.schema().names if dataset.shards else []
        if "text" not in names and "messages" not in names:
            continue
        columns = [name for name in ("id", "text", "messages", "source", "parents") if name in names]
        for shard in dataset.shards:
            missing = sorted(set(ids) - found.keys())
            if not missing:
                return found
            for batch in dataset.read(shard, columns):
                wanted = pa.array(missing, batch.schema.field("id").type)
                for values in batch.filter(pc.is_in(batch.column("id"), value_set=wanted)).to_pylist():
                    found[values["id"]] = (dataset, shard.name, values)
    return found


def find_outcomes(made: Dataset, row: str) -> Iterator[RowOutcome]:
    """What became of the rows that went into a `synthesize` step and whose id begins so."""
    recipe = made.manifest.config.get("recipe")
    pool = isinstance(recipe, dict) and recipe.get("pool") is not None
    for shard in made.shards:
        start = 0
        for batch in read_shard(files.join(made.folder, _OUTCOMES, shard.name)):
            counts = batch.column("rows").to_pylist()
            for i in pc.indices_nonzero(pc.starts_with(batch.column("id"), row)).to_pylist():
                values = batch.slice(i, 1).to_pylist()[0]
                # Synthetic rows stand in the order of outcomes, but for a pool's, which are admitted in another one.
                ids = [] if pool else _ids(made, shard.name, start + sum(counts[:i]), min(counts[i], _MANY))
                yield RowOutcome(
                    values["id"],
                    values["fate"],
                    values["reason"] or "",
                    values["message"] or "",
                    counts[i],
                    tuple((each["reason"], each["text"]) for each in values["dropped"]),
                    tuple(ids),
                )
            start += sum(counts)


def _ids(made: Dataset, shard: str, first: int, count: int) -> list[str]:
    ids: list[str] = []
    if count:
        table = pa.Table.from_batches(list(made.read(shard, ["id"])))
        ids = table.column("id").slice(first, count).to_pylist()
    return ids


def explain_outcome(made: Dataset, outcome: RowOutcome) -> Iterator[str]:
    """Lines that say what became of a row."""
    head = f"{made.manifest.step} ({made.manifest.kind})"
    if outcome.state == "skipped":
        yield f"{head}: skipped: the budget had nothing left"
    elif outcome.state == "accepted":
        yield f"{head}: accepted: {outcome.rows:,} row{'s' * (outcome.rows != 1)} made of it"
    else:
        message = f": {_quoted(outcome.message, 2 * _WIDTH)}" if outcome.message else ""
        yield f"{head}: {outcome.state}: {outcome.reason}{message}"
    for each in outcome.made:
        yield f"    {each}"
    if outcome.made and outcome.rows > len(outcome.made):
        yield f"    and {outcome.rows - len(outcome.made):,} more"
    for reason, text in outcome.dropped[:_MANY]:
        yield f"    not taken, {reason}: {_quoted(text, _WIDTH)}"
    if outcome.dropped[_MANY:]:
        yield f"    and {len(outcome.dropped) - _MANY:,} more that were not taken"


def _begins(row: Mapping[str, object]) -> str:
    """The first words of a document or a conversation, in quotes."""
    text = row.get("text")
    if not isinstance(text, str):
        (text,) = ChatBatch(pa.array([row.get("messages")], MESSAGES)).parts("text")
    return _quoted(text or "", _WIDTH)


def _short(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[:width]}..."


def _quoted(text: str, width: int) -> str:
    return orjson.dumps(_short(text, width)).decode()
