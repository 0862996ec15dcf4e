"""Compile every native kernel and keep the machine code on disk: `python -m curate.warm`.

Without it the first batch of the first run does the same.
"""

from __future__ import annotations

import os
import tempfile
from typing import get_args

import numpy as np
import pyarrow as pa

from curate.models.fasttext.explain import moved_by
from curate.models.fasttext.file import HIERARCHICAL, ONE_VS_ALL, SOFTMAX
from curate.models.fasttext.write import write_model
from curate.models.ngram.arpa import parse_arpa
from curate.models.ngram.text_form import TextForm
from curate.models.ngram.words import form_words
from curate.steps.clean import CLEANERS
from curate.steps.score import SCORERS
from curate.steps.score.gopher import Variant
from curate.steps.select.dot_kernel import TILE, products
from curate.steps.select.facility_location import Graph, nearest_neighbours
from curate.steps.select.farthest import Farthest
from curate.steps.select.projection_kernel import BLOCK, scatter
from curate.steps.select.space_kernel import gains, keep_best
from curate.text.batch import TextBatch
from curate.text.rules.hashed_ngrams import HashedNgrams
from curate.text.split import Splitter

ARPA = rb"""\data\
ngram 1=3
ngram 2=1

\1-grams:
-1	<unk>
-1	<s>	-1
-1	</s>

\2-grams:
-1	<s> </s>

\end\
"""


def warm() -> None:
    """Run the splitters, the scorers and cleaners that need no model, and the kernels of the others, on a few words."""
    texts = ["A short text[1].\nIt has two lines, and naïve words.", "", "日本語のテキスト", "Σίσυφος"]
    tables = parse_arpa("", np.frombuffer(ARPA, dtype=np.uint8))
    for width in (pa.string(), pa.large_string()):
        batch = TextBatch(pa.array(texts, width))
        for splitter in get_args(Splitter):
            batch.words(splitter)
        for variant in get_args(Variant):
            SCORERS["gopher_quality"](variant=variant)(batch)
            SCORERS["gopher_repetition"](variant=variant)(batch)
        for name in ("c4", "fineweb", "lines", "markup", "url"):
            SCORERS[name]()(batch)
        _warm_fasttext(batch)
        ngrams = HashedNgrams("polynomial", 16)
        ngrams.sum(batch, ngrams.count(batch).astype(np.float64))
        tables.score(form_words(batch, TextForm("ccnet_spaced", "punct")))
        for cleaner in CLEANERS.values():
            cleaner()(batch)
    _warm_selection()


def _warm_selection() -> None:
    """Two rows, one of which is far from the other."""
    vectors = np.eye(2, 4, dtype=np.float32)
    farthest = Farthest(vectors)
    farthest.add(vectors[0])
    farthest.next()
    graph = Graph.of(*nearest_neighbours(vectors, 1))
    gains(np.arange(2), graph.starts, graph.members, graph.weights, vectors[0, :2].copy(), np.empty(2))
    for codes in (np.ones((2, 1, 4), np.int8), vectors[:, None].copy()):
        codes.flags.writeable = False
        products(codes, np.ones((2, 1)), np.zeros((TILE, 1, 4), np.float32), np.empty((2, TILE)))
    scatter(vectors, np.uint64(0), np.empty(BLOCK, np.int32), np.empty(BLOCK, np.float32), np.zeros((2, 4), np.float32))
    keep_best(np.ones((1, 2)), np.arange(2, dtype=np.int32), np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int32))


def _warm_fasttext(batch: TextBatch) -> None:
    """A model of a few numbers for each kind of output."""
    labels = {"__label__a": 2, "__label__b": 1}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tiny.bin")
        for loss in (SOFTMAX, ONE_VS_ALL, HIERARCHICAL):
            rows, output = np.ones((5, 2), np.float32), np.ones((2, 2), np.float32)
            write_model(path, {"</s>": 1, "text": 1}, labels, rows, output, loss=loss, word_ngrams=2, maxn=2)
            SCORERS["language"](model=path)(batch)
        moved_by(path, "a", "A short text.")


if __name__ == "__main__":
    warm()
