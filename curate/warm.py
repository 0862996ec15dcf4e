"""Compile every native kernel and keep the machine code on disk: `python -m curate.warm`.

Without it the first batch of the first run does the same.
"""

from __future__ import annotations

from typing import get_args

import pyarrow as pa

from curate.clean import CLEANERS
from curate.score import SCORERS
from curate.score.gopher import Variant
from curate.text.batch import TextBatch
from curate.text.split import Splitter


def warm() -> None:
    """Run every splitter, and every scorer and cleaner that needs no model, on a few words."""
    texts = ["A short text[1].\nIt has two lines, and naïve words.", "", "日本語のテキスト"]
    for width in (pa.string(), pa.large_string()):
        batch = TextBatch(pa.array(texts, width))
        for splitter in get_args(Splitter):
            batch.words(splitter)
        for variant in get_args(Variant):
            SCORERS["gopher_quality"](variant=variant)(batch)
            SCORERS["gopher_repetition"](variant=variant)(batch)
        SCORERS["c4"]()(batch)
        SCORERS["fineweb"]()(batch)
        for cleaner in CLEANERS.values():
            cleaner()(batch)


if __name__ == "__main__":
    warm()
