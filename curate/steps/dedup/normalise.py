"""One hash per text or conversation, the same for those that differ only in case, white space or Unicode form.

hashes = text_hashes(batch)
order = np.lexsort((hashes[:, 1], hashes[:, 0]))      # equal texts are neighbours
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_digest

from curate.core.chat.messages import ChatBatch
from curate.text.batch import TextBatch


def normalise(text: str) -> str:
    r"""The text in NFC, case-folded, stripped, and with one space for each run of white space.

    >>> normalise("  Stra\u00dfe\n 12 ")
    'strasse 12'
    """
    if text.isascii():
        folded = text.lower()
    else:
        # Twice, because a folded letter may compose with the mark that follows it.
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(folded.split())


def text_hashes(batch: TextBatch, *, normalised: bool = True) -> npt.NDArray[np.uint64]:
    """The xxh3-128 of each text as (n, 2) uint64, the high half first.

    With `normalised` of the normalised text in UTF-8 (invalid bytes count as U+FFFD), otherwise of the
    bytes as they are. An empty text, a null one, and when normalised one of white space alone, have the hash
    of nothing: leave rows out by `batch.valid` where they are not to be duplicates of one another.
    """
    if normalised:
        digests = [xxh3_128_digest(normalise(text).encode("utf-8")) for text in batch.strings()]
    else:
        data = batch.data.data
        at = batch.offsets.tolist()
        digests = [xxh3_128_digest(data[start:end]) for start, end in pairwise(at)]
    return _numbers(digests)


def turn_hashes(batch: ChatBatch, *, normalised: bool = True) -> npt.NDArray[np.uint64]:
    """The xxh3-128 of the turns of each conversation, roles included, in the form that `text_hashes` has.

    Two conversations have one hash where they have the same roles in the same order, and the same contents
    (after `normalise`, when `normalised`).
    """
    digests = []
    for turns in batch.conversations:
        said = [(role, normalise(content) if normalised else content) for role, content in turns]
        # With their lengths, so that no content can be taken for a turn.
        whole = "".join(f"{role}:{len(content)}:{content}" for role, content in said)
        digests.append(xxh3_128_digest(whole.encode("utf-8")))
    return _numbers(digests)


def _numbers(digests: Sequence[bytes]) -> npt.NDArray[np.uint64]:
    # The canonical digest is big-endian: the numbers sort as its hex digits do.
    return np.frombuffer(b"".join(digests), dtype=">u8").reshape(-1, 2).astype(np.uint64)
