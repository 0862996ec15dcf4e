"""What a fine-tuning learns from: the conversations that the steps beside them keep, a seeded sample, as tokens.

    rows = sample_rows(find_shards([pool, picks]), part=0.05, seed=0)    # ("id", conversation), ...
    split = encode_rows(encoder, rows, held_out=0.1, seed=0)
    split.learnt[0].tokens.supervised

Which rows are sampled, which are held out and their order follow from the seed and hashes of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from curate.core.chat.messages import MESSAGES, ChatBatch, Conversation
from curate.core.draw import gumbel
from curate.core.errors import RunError
from curate.core.rows.kept import KeptShard, kept_ids
from curate.core.shards import read_shard
from curate.models.lm.chat_encode import ChatEncoder, Encoded, Refused


@dataclass(frozen=True)
class Row:
    """A conversation as tokens."""

    id: str
    tokens: Encoded


@dataclass(frozen=True)
class Split:
    """What is learnt and what is held out, in a seeded order; what was left out, by reason; a digest of all rows."""

    learnt: list[Row]
    held_out: list[Row]
    left_out: Mapping[str, int]
    digest: str


def sample_rows(shards: Sequence[KeptShard], part: float | None, seed: int) -> Iterator[tuple[str, Conversation]]:
    """The ids and conversations of the rows that are kept, or of a part of them: those of the highest noise.

    Raises:
        RunError: nothing is kept.
    """
    kept = [kept_ids(shard) for shard in shards]
    count = sum(map(len, kept))
    if not count:
        raise RunError("no conversation to learn from is kept; look at what keeps them")
    if part is not None:
        ids = np.concatenate([each.to_numpy(zero_copy_only=False) for each in kept])
        taken = np.lexsort((ids.astype(str), -gumbel(ids, seed)))[: max(1, round(part * count))]
        wanted = pa.array(ids[taken], pa.string())
        kept = [each.filter(pc.is_in(each, value_set=wanted)) for each in kept]
    for shard, ids in zip(shards, kept, strict=True):
        for batch in read_shard(shard.path, ["id", "messages"]) if len(ids) else ():
            some = batch.filter(pc.is_in(batch.column("id").cast(pa.string()), value_set=ids))
            conversations = ChatBatch(some.column("messages").cast(MESSAGES)).conversations
            yield from zip(some.column("id").to_pylist(), conversations, strict=True)


def encode_rows(encoder: ChatEncoder, rows: Iterator[tuple[str, Conversation]], *, held_out: float, seed: int) -> Split:
    """Conversations as tokens: held out by the hash of what they say, equal ones together, ordered by that of the id.

    Raises:
        RunError: no row has a supervised token, or none is left to learn or to measure.
    """
    ordered = sorted(((_hash(id_.encode(), seed), id_, turns) for id_, turns in rows), key=lambda each: each[:2])
    digest = xxhash.xxh3_128()
    left_out: Counter[str] = Counter()
    split = Split([], [], left_out, "")
    for (_, id_, turns), found in zip(ordered, encoder([turns for _, _, turns in ordered]), strict=True):
        said = orjson.dumps([list(turn) for turn in turns])
        digest.update(xxhash.xxh3_128_digest(id_.encode()) + xxhash.xxh3_128_digest(said))
        if isinstance(found, Refused):
            left_out[found.reason] += 1
        elif not found.supervised[1:].any():
            left_out["no-supervised-token"] += 1  # a first token is predicted from nothing, so it is not learnt
        elif _hash(said, seed) < held_out * 2.0**64:
            split.held_out.append(Row(id_, found))
        else:
            split.learnt.append(Row(id_, found))
    if not split.learnt or (held_out and not split.held_out):
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "none left out"
        raise RunError(
            f"{len(split.learnt)} conversations to learn and {len(split.held_out)} held out of {len(ordered)} ({why});"
            " give it more"
        )
    return Split(split.learnt, split.held_out, dict(sorted(left_out.items())), digest.hexdigest())


def _hash(data: bytes, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(data, seed)
