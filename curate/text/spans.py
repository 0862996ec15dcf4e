"""Where the words and lines of a batch begin and end: what splitters return, and a `TextBatch` keeps.

words = split(batch.data, batch.bits(), batch.offsets, "uax29")
words.end - words.start                      # the bytes of each word
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.text.native import Ints


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a batch, in order; those of text i are `offsets[i]` up to `offsets[i + 1]`.

    `start` and `end` are positions in the batch's `data`. `hash` depends on the word's bytes alone.
    `chars` counts code points. `flags` is a sum of `curate.text.split.HAS_LETTER` and the like.
    `reliable[i]` is false where the text's script does not show its words (Thai, Chinese, ...).
    """

    offsets: Ints
    start: Ints
    end: Ints
    hash: npt.NDArray[np.uint64]
    chars: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]
    reliable: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True)
class Lines:
    r"""The lines of a batch, in order; those of text i are `offsets[i]` up to `offsets[i + 1]`.

    Lines are what `text.split("\n")` gives, but an empty text has none. `start` and `end` exclude
    the line feed; `first` and `last` also exclude white space at both ends (`first == last` for a
    blank line). `chars` counts the code points of the whole line, `hash` depends on its bytes alone.
    """

    offsets: Ints
    start: Ints
    end: Ints
    first: Ints
    last: Ints
    hash: npt.NDArray[np.uint64]
    chars: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.start)
