"""Compile every native kernel and keep the machine code on disk: `python -m curate.warm`.

Without it the first batch of the first run does the same.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate.clean import CLEANERS
from curate.score import SCORERS
from curate.text.batch import TextBatch
from curate.text.hashed_ngrams import HashedNgrams


def warm() -> None:
    """Run every scorer and cleaner that needs no model, and the kernels of the others, on a few words."""
    texts = ["A short text.\nIt has two lines, and naïve words.", "", "日本語のテキスト"]
    for width in (pa.string(), pa.large_string()):
        batch = TextBatch(pa.array(texts, width))
        for name in ("c4", "fineweb", "gopher_quality", "gopher_repetition", "lines", "markup", "url"):
            SCORERS[name]()(batch)
        ngrams = HashedNgrams("polynomial", 16)
        ngrams.sum(batch, ngrams.count(batch).astype(np.float64))
        for cleaner in CLEANERS.values():
            cleaner()(batch)


if __name__ == "__main__":
    warm()
