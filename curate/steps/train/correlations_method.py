"""The method `perplexity_correlations` of the `train` step: domains by gamma, then a fastText model of the chosen.

chosen: {train: {perplexity_correlations: {from: pool, domain: host, matrix: bits_per_byte.csv,
                                           scores: benchmarks.csv, budget: 0.1}}}
scores: {score: {from: pool, quality: {model: chosen, label: include}}}
"""

from __future__ import annotations

import csv
import functools
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, cast

import numpy as np
import orjson
import xxhash
from pydantic import Field

from curate.core import files
from curate.core.digest import Plain
from curate.core.errors import RunError
from curate.core.files import ModelFile
from curate.core.map_shard import ShardTask
from curate.core.step import Job, Receipt, Result
from curate.models.fasttext.train import train_fasttext
from curate.steps.train.correlations import Estimator, correlate, fill, order, read_matrix, read_scores
from curate.steps.train.fasttext_method import Classifier
from curate.steps.train.method import Method, Sources, result, roles, shard_batches
from curate.text.batch import TextBatch
from curate.text.native import Bools, Floats, Ints

TABLE = "domains.csv"
LABELS = ("include", "exclude")
_LEFT_OUT = ("no-domain", "unknown-domain")
_SHOWN = 10  # domains at each end, in the manifest


class Correlations(Method):
    """Domains that good models predict well, learnt by a classifier of texts.

    Attributes:
        source: the steps whose documents are the pool.
        domain: the column that names a document's domain, as the matrix does.
        matrix: CSV of bits per byte, a row a domain and a column a model.
        scores: CSV of benchmark scores, a row a model, higher is better.
        estimator: `sign_cdf` or `spearman`.
        budget: a number of tokens (words by white space), or a fraction of those of the known domains.
        cap: a domain gives at most this many times its tokens.
        fasttext: arguments of the classifier.
    """

    source: Sources = Field(alias="from")
    domain: str
    matrix: ModelFile
    scores: ModelFile
    estimator: Estimator = "sign_cdf"
    budget: Annotated[int, Field(gt=0)] | Annotated[float, Field(gt=0, le=1)]
    cap: float = Field(1.0, gt=0)
    fasttext: Classifier = Classifier()

    def inputs(self) -> dict[str, str]:
        """The pool."""
        return roles("from", self.source)

    def run(self, job: Job) -> Result:
        """Estimate, count, fill the budget, and train; the table of domains lies beside the model."""
        matrix, scores = read_matrix(job.models["matrix"]), read_scores(job.models["scores"])
        gammas = correlate(matrix.of(list(scores)), np.array(list(scores.values())), self.estimator)
        tasks = [
            ShardTask(f"{i:03d}-{shard.name}", shard.rows, data.path(shard))
            for i, data in enumerate(job.inputs.values())
            for shard in data.shards
        ]
        make = functools.partial(_Count, job.scratch, self.domain, frozenset(matrix.domains))
        receipts = job.map("count", make, tasks)
        documents, tokens = _totals(receipts, job.scratch, matrix.domains)
        estimated = ~np.isnan(gammas)
        budget = self.budget * float(tokens[estimated].sum()) if isinstance(self.budget, float) else self.budget
        taken = fill(gammas, matrix.domains, tokens, budget=budget, cap=self.cap)
        included = _named(matrix.domains, taken > 0)
        excluded = _named(matrix.domains, estimated & (documents > 0) & (taken == 0))
        if not included or not excluded:
            raise RunError(
                f"{len(included)} domains of the pool are included and {len(excluded)} excluded; a classifier needs"
                f" both: change `budget`, and see that the column {self.domain!r} names domains as the matrix does"
            )
        table = _table(matrix.domains, gammas, documents, tokens, taken)
        with files.atomic_output(files.join(job.folder, TABLE)) as out:
            out.write(table)
        positive, negative = (_texts(tasks, self.domain, names) for names in (included, excluded))
        trained = train_fasttext(positive, negative, job.folder, labels=LABELS, **self.fasttext.model_dump())
        ranked = [[matrix.domains[i], float(gammas[i])] for i in order(gammas, matrix.domains)]
        found: dict[str, Plain] = {
            "estimator": self.estimator,
            "models": len(scores),
            "domains": {
                **{"known": len(gammas), "without-estimate": int((~estimated).sum())},
                **{"included": len(included), "excluded": len(excluded)},
            },
            "documents": {
                "known": int(documents.sum()),
                **{name: sum(receipt.counts[name] for receipt in receipts) for name in _LEFT_OUT},
            },
            "tokens": {"known": int(tokens.sum()), "budget": budget, "taken": float(taken.sum())},
            "digest": xxhash.xxh3_128_hexdigest(table),
            "highest": cast("list[Plain]", ranked[:_SHOWN]),
            "lowest": cast("list[Plain]", ranked[-_SHOWN:]),
        }
        name = trained.model.rsplit("/", 1)[-1]
        card = {**cast("dict[str, Plain]", dict(trained.card)), "correlations": found}
        return result(job, name, card, [name, f"{name}.json", f"{name}.md", TABLE])


@dataclass(frozen=True)
class _Count:
    scratch: str
    domain: str
    known: frozenset[str]

    def __call__(self, task: ShardTask) -> Receipt:
        documents: Counter[str] = Counter()
        tokens: Counter[str] = Counter()
        left = dict.fromkeys(_LEFT_OUT, 0)
        for names, batch in _batches(task, self.domain):
            sizes = np.diff(batch.words("whitespace").offsets).tolist()
            for name, size in zip(names, sizes, strict=True):
                if name is None or name not in self.known:
                    left[_LEFT_OUT[name is not None]] += 1
                else:
                    documents[name] += 1
                    tokens[name] += size
        with files.atomic_output(files.join(self.scratch, task.name)) as out:
            out.write(orjson.dumps([documents, tokens]))
        return Receipt(task.name, task.rows, counts=left)


def _named(domains: Sequence[str], chosen: Bools) -> frozenset[str]:
    return frozenset(name for name, one in zip(domains, chosen, strict=True) if one)


def _batches(task: ShardTask, domain: str) -> Iterator[tuple[list[str | None], TextBatch]]:
    for batch, texts in shard_batches(task.source, [domain]):
        yield batch.column(domain).cast("string").to_pylist(), texts


def _texts(tasks: Sequence[ShardTask], domain: str, wanted: frozenset[str]) -> Iterator[str]:
    """The texts of some domains, in order."""
    for task in tasks:
        for names, batch in _batches(task, domain):
            yield from (text for name, text in zip(names, batch.strings(), strict=True) if name in wanted)


def _totals(receipts: Sequence[Receipt], scratch: str, domains: Sequence[str]) -> tuple[Ints, Ints]:
    """Documents and tokens of each domain."""
    totals: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for receipt in receipts:
        for total, part in zip(totals, orjson.loads(files.read_bytes(files.join(scratch, receipt.task))), strict=True):
            total.update(part)
    documents, tokens = (np.array([total[name] for name in domains], dtype=np.int64) for total in totals)
    return documents, tokens


def _table(domains: Sequence[str], gammas: Floats, documents: Ints, tokens: Ints, taken: Floats) -> bytes:
    """The domains as CSV, the highest gamma first, those without an estimate last."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["domain", "gamma", "documents", "tokens", "taken", "included"])
    known = list(order(gammas, domains))
    for i in [*known, *sorted(set(range(len(domains))) - set(known), key=lambda i: domains[i])]:
        gamma = "" if math.isnan(gammas[i]) else repr(float(gammas[i]))
        included = "yes" if taken[i] else "no"
        writer.writerow([domains[i], gamma, int(documents[i]), int(tokens[i]), float(taken[i]), included])
    return stream.getvalue().encode()
