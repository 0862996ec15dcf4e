"""Lines of a stream in bounded memory, with where each begins.

lines = Lines(Source(stream, "a.jsonl"), max_bytes=100_000_000)
for offset, line, size in lines: ...     # a line that is longer than max_bytes is cut: size > len(line)
if lines.damage: ...                     # with lines.tail, the beginning of the line that was cut
"""

from __future__ import annotations

from collections.abc import Iterator

from curate.steps.read.chunk import SAMPLE
from curate.steps.read.source import Blocks, Damage, Source

BOM = b"\xef\xbb\xbf"


class Lines:
    """Lines as (offset, line, size), without the line feed and a BOM at the start of the file.

    `offset` counts decompressed bytes. Of a line over `max_bytes`, the first 200 bytes are given. After a
    file that was cut or damaged, `damage` says so, `tail` has the beginning of the unfinished line and
    `tail_offset` its place.
    """

    def __init__(self, source: Source, max_bytes: int) -> None:
        self.damage: Damage | None = None
        self.tail = b""
        self.tail_offset = 0
        self._blocks = Blocks(source)
        self._max = max_bytes

    def __iter__(self) -> Iterator[tuple[int, bytes, int]]:
        offset = 0
        held: list[bytes] = []  # what there is of the line that is not finished
        size = 0  # its bytes so far, of which those over max_bytes are not held
        begun = False
        for block in self._blocks:
            if not begun:
                begun = True
                # Only a file's last block is short, so that the first one holds the whole BOM.
                if block.startswith(BOM):
                    block = block[len(BOM) :]
                    offset = len(BOM)
            parts = block.split(b"\n")
            last = parts.pop()
            if parts:
                if held:
                    size += len(parts[0])
                    held.append(parts[0])
                    yield offset, self._line(held, size), size
                    offset += size + 1
                    del parts[0]
                    held, size = [], 0
                for part in parts:
                    length = len(part)
                    yield offset, part if length <= self._max else part[:SAMPLE], length
                    offset += length + 1
            if last:
                size += len(last)
                held.append(last)
                if size > self._max:
                    held = [b"".join(held)[:SAMPLE]]
        self.damage = self._blocks.damage
        if self.damage is not None:
            self.tail, self.tail_offset = b"".join(held)[:SAMPLE], offset
        elif held:
            yield offset, self._line(held, size), size

    def _line(self, held: list[bytes], size: int) -> bytes:
        line = b"".join(held)
        return line if size <= self._max else line[:SAMPLE]
