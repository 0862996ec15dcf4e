"""Why a row is among the picks of a `select` step or is not, with the row next to it that fared otherwise.

for line in explain_pick(picks, {"id": "00012", "keep": True, "rank": 3, ...}, datasets):
    print(line)

Two neighbours of the other verdict are shown: the one at the cut, and where the step used features, the nearest one
by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.chat.messages import MESSAGES, ChatBatch
from curate.core.dataset import Dataset
from curate.steps.select.pool import Pool
from curate.steps.select.step import NOT_SELECTED
from curate.steps.select.store import Store

_WIDTH = 60


def explain_pick(picks: Dataset, row: Mapping[str, object], datasets: Sequence[Dataset]) -> Iterator[str]:
    """Lines about a row of a `select` step's output.

    Args:
        picks: the output.
        row: its values there.
        datasets: the outputs of the run.
    """
    by_digest = {each.manifest.digest: each for each in datasets}
    inputs = {role: by_digest[key] for role, key in picks.manifest.inputs.items() if key in by_digest}
    details = picks.manifest.details
    last, following = details.get("last"), details.get("next")
    taken = bool(row["keep"])
    place = f"pick {row['rank']:,} of {details['taken']:,}" if taken else f"not among the {details['taken']:,} picks"
    score = "no score" if row["score"] is None else f"score {row['score']:.6g}"
    cut = f"; the last one taken has {last['score']:.6g}" if isinstance(last, dict) else ""
    tied = not taken and isinstance(last, dict) and row["score"] == last["score"] and row["reason"] == NOT_SELECTED
    yield f"    {place} by {details['selector']}, {score}{cut}{', equal ones go by id' if tied else ''}"
    if row["target"] is not None:
        yield f"    for the task {row['target']}{_nearest_example(inputs, str(row['nearest']))}"
    neighbour = following if taken else last
    if isinstance(neighbour, dict) and row["score"] is not None:
        head = "the best row not taken" if taken else "the last row taken"
        yield f"    {head}: {_neighbour(picks, inputs, str(neighbour['id']))}"
    if "features" in inputs:
        found = _nearest_by_features(picks, inputs["features"], str(row["id"]), taken=taken)
        if found is not None:
            what = f"the nearest row {'not taken' if taken else 'taken'} by {inputs['features'].manifest.step}"
            yield f"    {what}, cosine {found[1]:.4f}: {_neighbour(picks, inputs, found[0])}"


def _nearest_example(inputs: Mapping[str, Dataset], row: str) -> str:
    """Where the nearest example stands, and how it begins."""
    for role, data in inputs.items():
        found = _row(data, row, ["source", "messages"]) if role.startswith("targets[") else None
        if found is not None:
            return f", nearest to its example {row} ({found['source']}): {_begins(found)}"
    return ""


def _neighbour(picks: Dataset, inputs: Mapping[str, Dataset], row: str) -> str:
    """A row of the pool: its id, score, verdict and first words."""
    verdict, text = _row(picks, row, ["rank", "score", "reason"]), _row(inputs["from[0]"], row, ["messages"])
    if verdict is None or text is None:
        return row
    state = f"pick {verdict['rank']:,}" if verdict["reason"] is None else str(verdict["reason"])
    score = "no score" if verdict["score"] is None else f"score {verdict['score']:.6g}"
    return f"{row} ({score}, {state}): {_begins(text)}"


def _nearest_by_features(picks: Dataset, features: Dataset, row: str, *, taken: bool) -> tuple[str, float] | None:
    """The row with the other verdict whose feature is nearest, and the cosine; None where there is none."""
    rows = Pool.of([picks])
    at = rows.rows_in(features)
    mine = at[np.flatnonzero(rows.ids == row)[0]]
    others = np.flatnonzero((rows.open != taken) & (at >= 0))
    if mine < 0 or not len(others):
        return None
    store = Store.open(features)
    own = store.take([mine])
    cosines = store.scores(own, at[others])[:, 0]
    if not own.any() or not np.isfinite(cosines).any():
        return None
    best = int(np.nanargmax(cosines))
    return str(rows.ids[others[best]]), float(cosines[best])


def _row(data: Dataset, row: str, columns: Sequence[str]) -> dict[str, object] | None:
    """Some columns of a row by its whole id; None where the dataset has no such row."""
    for shard in data.shards:
        for batch in data.read(shard, ["id", *columns]):
            hits = pc.indices_nonzero(pc.equal(batch.column("id"), pa.scalar(row, batch.schema.field("id").type)))
            if len(hits):
                values: dict[str, object] = batch.slice(hits[0].as_py(), 1).to_pylist()[0]
                return values
    return None


def _begins(row: Mapping[str, object]) -> str:
    """The first words of a conversation, in quotes."""
    (text,) = ChatBatch(pa.array([row["messages"]], MESSAGES)).parts("text")
    short = " ".join(text.split())
    return orjson.dumps(short if len(short) <= _WIDTH else f"{short[:_WIDTH]}...").decode()
