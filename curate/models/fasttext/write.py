"""Write a supervised fastText model from its parts: to compile the kernels with, and to test them against the library.

write_model("tiny.bin", {"</s>": 9, "rain": 3}, {"__label__hq": 2, "__label__lq": 1}, rows, output, loss=SOFTMAX)
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from curate.core.errors import ModelError
from curate.core.files import atomic_output
from curate.models.fasttext.file import MAGIC, SOFTMAX, SUPERVISED, VERSIONS

Rows = npt.NDArray[np.float32]


def write_model(
    path: str,
    words: Mapping[str, int],
    labels: Mapping[str, int],
    rows: Rows,
    output: Rows,
    *,
    loss: int = SOFTMAX,
    word_ngrams: int = 1,
    minn: int = 0,
    maxn: int = 0,
) -> None:
    """Write a `.bin` file.

    Args:
        path: where to.
        words: how often each word occurs; `</s>` is one.
        labels: how often each label occurs, the most frequent first, spelt with its prefix.
        rows: float32, (words + buckets) x dimension.
        output: float32, labels x dimension.
        loss: a number from `curate.models.fasttext.file`.
        word_ngrams: the longest n-gram of words.
        minn: the shortest n-gram of characters.
        maxn: the longest; none if 0.

    Raises:
        ModelError: the sizes do not fit one another.
    """
    bucket = len(rows) - len(words)
    if bucket < 0 or output.shape != (len(labels), rows.shape[1]):
        raise ModelError(f"{path}: {len(words)} words and {len(labels)} labels need other rows than these; mend them")
    settings = [rows.shape[1], 5, 5, 1, 5, word_ngrams, loss, SUPERVISED, bucket, minn, maxn, 100]
    with atomic_output(path) as out:
        out.write(struct.pack("<ii12id", MAGIC, VERSIONS[-1], *settings, 1e-4))
        out.write(struct.pack("<iiiqq", len(words) + len(labels), len(words), len(labels), sum(words.values()), -1))
        for kind, entries in enumerate((words, labels)):
            for entry, count in entries.items():
                out.write(entry.encode() + struct.pack("<Bqb", 0, count, kind))
        for matrix in (rows, output):
            out.write(struct.pack("<?qq", False, *matrix.shape) + np.ascontiguousarray(matrix, "<f4").tobytes())
