"""The method `dsir` of the `train` step: n-gram counts by shard through the engine, then one ratio a bucket.

ratios: {train: {dsir: {target: good, raw: docs}}}
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import xxhash
from pydantic import Field

from curate.core import files
from curate.core.digest import Plain
from curate.core.map_shard import ShardTask
from curate.core.step import Job, Receipt, Result
from curate.models.ngram.text_form import card_path
from curate.steps.train.dsir import SMOOTHING, count_texts, divergence, log_weights, write_model
from curate.steps.train.method import Method, Sources, datasets, result, roles, shard_batches
from curate.text.native import Ints
from curate.text.rules.hashed_ngrams import HashedNgrams, HashName

MODEL = "model.dsir"
_ROLES = ("target", "raw")


class Dsir(Method):
    """Log weights of hashed unigrams and bigrams.

    Attributes:
        target: the steps whose texts the sample should be like.
        raw: the steps whose texts are sampled from.
        buckets: how many buckets the n-grams are hashed into.
        hash: `polynomial`, or `sha256` for the buckets of the published code.
    """

    target: Sources
    raw: Sources
    buckets: int = Field(10_000, ge=1, le=2**31)
    hash: HashName = "polynomial"

    def inputs(self) -> dict[str, str]:
        """The texts of the target and of the raw pool."""
        return {**roles("target", self.target), **roles("raw", self.raw)}

    def run(self, job: Job) -> Result:
        """Count, divide, and put the counts' card into the manifest."""
        ngrams = HashedNgrams(self.hash, self.buckets)
        tasks = [
            ShardTask(f"{role}-{i:03d}-{shard.name}", shard.rows, data.path(shard))
            for role in _ROLES
            for i, data in enumerate(datasets(job, role))
            for shard in data.shards
        ]
        receipts = job.map("count", functools.partial(_Count, job.scratch, ngrams), tasks)
        counts = {role: _total([r for r in receipts if r.task.startswith(role)], job, ngrams) for role in _ROLES}
        weights = log_weights(counts["target"], counts["raw"])
        write_model(files.join(job.folder, MODEL), ngrams, weights)
        card: dict[str, Plain] = {
            "kind": "dsir",
            **{"hash": self.hash, "buckets": self.buckets, "smoothing": SMOOTHING},
            "data": {role: _facts(counts[role], [r for r in receipts if r.task.startswith(role)]) for role in _ROLES},
            "divergence": round(divergence(counts["target"], weights), 6),
        }
        with files.atomic_output(files.join(job.folder, card_path(MODEL))) as out:
            out.write(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
        return result(job, MODEL, card, [MODEL, card_path(MODEL)])


@dataclass(frozen=True)
class _Count:
    scratch: str
    ngrams: HashedNgrams

    def __call__(self, task: ShardTask) -> Receipt:
        counts = count_texts((texts for _, texts in shard_batches(task.source)), self.ngrams)
        with files.atomic_output(files.join(self.scratch, task.name)) as out:
            out.write(counts.tobytes())
        return Receipt(task.name, task.rows)


def _total(receipts: Sequence[Receipt], job: Job, ngrams: HashedNgrams) -> Ints:
    total = np.zeros(ngrams.buckets, dtype=np.int64)
    for receipt in receipts:
        total += np.frombuffer(files.read_bytes(files.join(job.scratch, receipt.task)), dtype=np.int64)
    return total


def _facts(counts: Ints, receipts: Sequence[Receipt]) -> Plain:
    return {
        "texts": sum(receipt.rows_in for receipt in receipts),
        "ngrams": int(counts.sum()),
        "buckets": int((counts > 0).sum()),
        "digest": xxhash.xxh3_128_hexdigest(counts.tobytes()),
    }
