"""Modified Kneser-Ney n-gram models from counts, with no compiler and no other tool.

    for i, texts in enumerate(shards):                      # anywhere, in any order
        count_shard(texts, f"counts/{i:05}.parquet", order=5, form=TextForm("ccnet_spaced", "punct"))
    fit_ngram([...], "wiki.arpa")                           # one process; the method `ngram` uses an engine

The JSON beside the model names the normaliser and tokeniser, which the scorer `perplexity` reads. (A model of
order 1 is written like any other, but the `kenlm` package does not read one.)

The estimate is that of Chen and Goodman (1998) as KenLM's `lmplz -o N --discount_fallback` computes it
(Heafield et al. 2013): lower orders count the different words on the left, n-grams that begin with `<s>`
count occurrences; three discounts an order, from the counts of counts; interpolated down to a uniform
distribution over the words and `<unk>`. `lmplz` enters the very last n-gram of its sort order into the
counts of counts with its occurrences, which depends on the order of the text; this does not.

Pruning and the limit of the vocabulary are those of `lmplz --prune` and `--limit_vocab_file`: counts, discounts
and sums are of all n-grams; the share of those that are left out goes to the back-off of their context. A word
that is left out is scored as `<unk>`, but is not counted as one: with single words, too, its share goes to the
uniform distribution over `<unk>` and the words that stay.

An order that no text is long enough for has no n-grams: an empty section in the file, never used.

The counts are merged by ranges of n-grams on the disk, so that the corpus may be larger than the memory. What a
process holds: about 220 bytes an n-gram of the highest order of one range (0.5 GB, as there are 2 million in one),
about 110 an n-gram of one count file, about 300 a word of the vocabulary, and 0.25 GB for the program. On the
disk, while it works: about 230 bytes a different n-gram of the highest order (order 5), beside the model's own 100.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import orjson
import xxhash

from curate.core import files
from curate.core.digest import Plain
from curate.core.errors import RunError
from curate.core.files import atomic_output, open_input
from curate.core.step import Receipt
from curate.models.ngram.estimate import Smoothing, contexts, lines_path, render
from curate.models.ngram.levels import discounts_of
from curate.models.ngram.plan import Options, Part, Plan, Run, make_plan, plain, read_plan, read_vocabulary
from curate.models.ngram.ranges import merge, read_rows, split, words
from curate.models.ngram.text_form import card_path

Given = TypeVar("Given")
Card = dict[str, Plain]


@dataclass(frozen=True)
class _Work(Generic[Given]):
    """A stage's function and what all its tasks share."""

    function: Callable[[Given, Part], Receipt]
    given: Given

    def __call__(self, part: Part) -> Receipt:
        return self.function(self.given, part)


@dataclass(frozen=True)
class _Source:
    folder: str
    count_files: tuple[str, ...]
    options: Options


def fit_ngram(count_files: Sequence[str], model: str, options: Options | None = None) -> Card:
    """Fit a model on the counts of all shards, here; write it as ARPA, and its metadata beside it as JSON.

    The bytes are the same for any cut of the text into shards. The ARPA file appears last and whole. What the
    stages pass on lies beside a local model, else in the temporary folder, and goes away.

    Args:
        count_files: what `count_shard` wrote, all with one order and text form.
        model: the ARPA file to write, local or remote; the metadata goes to `<model>.json`.
        options: pruning, vocabulary, memory.

    Returns:
        The metadata.

    Raises:
        ConfigError: the thresholds do not fit the order.
        RunError: a count file is damaged or unlike the others, or they hold not one word.
    """
    beside = None if files.is_remote(model) else os.path.dirname(files.absolute(model))
    if beside is not None:
        files.make_folder(beside)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".ngram-") as folder:
        return fit_stages(_here, folder, count_files, model, options or Options())


def _here(stage: str, make: Callable[[], Callable[[Part], Receipt]], tasks: Sequence[Part]) -> list[Receipt]:
    work = make()
    return [work(task) for task in tasks]


def fit_stages(run: Run, folder: str, count_files: Sequence[str], model: str, options: Options) -> Card:
    """The same through `run`, as `Job.map` is, with the folder for what the stages pass on.

    Raises:
        RunError: also when a task of a stage failed for good; a model needs them all.
    """
    # A fit on other files, as when a failed shard is there after all, has tasks of its own.
    key = xxhash.xxh3_64_hexdigest("\n".join(count_files).encode())[:8]
    folder = files.join(folder, key)

    def stage(name: str, function: Callable[[Given, Part], Receipt], given: Given, tasks: int) -> list[Receipt]:
        parts = [Part(f"{key}-{i:05d}", 0, i) for i in range(tasks)]
        receipts = run(name, functools.partial(_Work, function, given), parts)
        if len(receipts) < tasks:
            raise RunError(f"n-gram model: {tasks - len(receipts)} of {tasks} tasks of {name!r} failed; run it again")
        return receipts

    stage("plan", _plan, _Source(folder, tuple(count_files), options), 1)
    plan = read_plan(folder)
    if plan.ranges > 1:
        stage("split", split, plan, len(plan.count_files))
    figures = _add([*stage("merge", merge, plan, plan.ranges), *stage("words", words, plan, 1)])
    orders = range(1, plan.order + 1)
    discounts = tuple(discounts_of([figures[f"n{j} {n}"] for j in (1, 2, 3, 4)]) for n in orders)
    smoothing = Smoothing(plan, discounts)
    if plan.order > 2:
        stage("contexts", contexts, smoothing, plan.ranges)
    stage("lines", render, smoothing, plan.ranges)
    ngrams = [figures[f"kept {n}"] for n in orders]
    card = _card(smoothing, ngrams, options)
    with atomic_output(card_path(model)) as out:
        out.write(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
    _assemble(plan, ngrams, model)
    return card


def _plan(source: _Source, part: Part) -> Receipt:
    plan = make_plan(source.folder, source.count_files, source.options)
    return Receipt(part.name, plan.words)


def _add(receipts: Sequence[Receipt]) -> dict[str, int]:
    figures: dict[str, int] = {}
    for receipt in receipts:
        for name, figure in receipt.counts.items():
            figures[name] = figures.get(name, 0) + figure
    return figures


def _card(smoothing: Smoothing, ngrams: list[int], options: Options) -> Card:
    plan = smoothing.plan
    return {
        "kind": "ngram",
        "order": plan.order,
        "smoothing": "modified Kneser-Ney, interpolated",
        **plan.form.names(),
        "tokens": plan.tokens,
        "documents": plan.documents,
        "words": plan.words,
        "ngrams": list(ngrams),
        "discounts": [[round(d, 6) for d in each] for each in smoothing.discounts],
        "data": _digest(plan),
        **({"prune": list(plan.prune)} if any(plan.prune) else {}),
        **({"vocabulary": options.vocabulary} if options.vocabulary is not None else {}),
    }


def _digest(plan: Plan) -> str:
    """Identity of the data: 32 hex digits, whatever its cut into shards and ranges."""
    state = xxhash.xxh3_128(" ".join([str(plan.order), *plan.form.names().values()]).encode())
    for i, word in enumerate(plain(read_vocabulary(plan.folder).strings())):
        state.update(b"\n" + word.encode() if i else word.encode())
    for index in range(plan.ranges):
        state.update(read_rows(plan, index, "ngrams", np.uint32).data)
    for index in range(plan.ranges):
        state.update(read_rows(plan, index, "counts", np.int64).data)
    return state.hexdigest()


def _assemble(plan: Plan, ngrams: list[int], model: str) -> None:
    with atomic_output(model) as out:
        out.write(b"\\data\\\n")
        for n, many in enumerate(ngrams, start=1):
            out.write(f"ngram {n}={many}\n".encode())
        for n in range(1, plan.order + 1):
            out.write(f"\n\\{n}-grams:\n".encode())
            for index in range(1 if n == 1 else plan.ranges):
                with open_input(lines_path(plan, n, index)) as lines:
                    shutil.copyfileobj(lines, out, 1 << 22)
        out.write(b"\n\\end\\\n")
