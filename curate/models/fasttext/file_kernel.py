"""Find the entries of a fastText dictionary in the bytes of the file.

end = scan_entries(data, at, words, letters, offsets, counts)
"""

from __future__ import annotations

from curate.text.native import Bytes, Ints, kernel


@kernel
def scan_entries(data: Bytes, at: int, words: int, letters: Bytes, offsets: Ints, counts: Ints) -> int:
    """Where the dictionary ends; -1 where the file does first, -2 where words and labels are mixed.

    An entry is its bytes, NUL, a 64-bit count and a byte that is 1 for a label. The first `words` are no labels.
    The bytes go to `letters`, end to end, where there is room.
    """
    size = 0
    for entry in range(len(counts)):
        offsets[entry] = size
        while at < len(data) and data[at] != 0:
            if size < len(letters):
                letters[size] = data[at]
            size += 1
            at += 1
        if at + 10 > len(data):
            return -1
        count = 0
        for i in range(8, 0, -1):
            count = (count << 8) | data[at + i]
        counts[entry] = count
        if (data[at + 9] != 0) != (entry >= words):
            return -2
        at += 10
    offsets[len(counts)] = size
    return at
