"""What verifiers read: synthetic rows, with the texts of the rows that they were made from.

    batch = VerifyBatch.of([{"id": "a", "text": "A rewording.", "parents": ["p"]}], parents={"p": "The original."})
    batch.texts("text")          # ["A rewording."]
    batch.lists("parents")       # [["The original."]]

A verifier is a factory whose keyword arguments are its configuration, as a scorer is:

    verifier = rouge_l(column="text", to="parents")
    verifier(batch)              # {"": ...}, one value a row
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import pyarrow as pa

from curate.core.chat.messages import MESSAGES, PARTS, ChatBatch
from curate.core.errors import ConfigError, nearest
from curate.text.batch import TextBatch

Columns = dict[str, pa.Array]
PARENTS = "parents"


@dataclass(frozen=True)
class VerifyBatch:
    """Synthetic rows, and the texts of their parents.

    Attributes:
        rows: every column that the rows have; `parents` holds ids.
        parents: the text of a row by its id.
    """

    rows: pa.RecordBatch
    parents: Mapping[str, str]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, object]], parents: Mapping[str, str] | None = None) -> VerifyBatch:
        """From plain values."""
        return cls(pa.RecordBatch.from_pylist([dict(row) for row in rows]), parents or {})

    def __len__(self) -> int:
        return cast(int, self.rows.num_rows)

    def texts(self, column: str) -> list[str | None]:
        """A column of strings, or `text`, `question` or `answer` of conversations; null stays None.

        Raises:
            ConfigError: the rows have no such column, or one of another type.
        """
        names = self.rows.schema.names
        if column not in names and "messages" in names and column in PARTS:
            chats = ChatBatch(self.rows.column("messages").cast(MESSAGES))
            part = next(each for each in PARTS if each == column)
            return list(chats.parts(part))
        if column not in names:
            raise ConfigError(f"the rows have no column {column!r}; {nearest(column, names)}")
        found = self.rows.column(column)
        if not (pa.types.is_string(found.type) or pa.types.is_large_string(found.type) or pa.types.is_null(found.type)):
            raise ConfigError(f"the column {column!r} holds {found.type}, not strings; name another")
        return cast("list[str | None]", found.to_pylist())

    def lists(self, column: str) -> list[list[str]]:
        """For each row several texts: those of its parents for `parents`, else a column of lists or of strings.

        A null is no text; a parent that is not known is left out.
        """
        if column == PARENTS:
            if PARENTS not in self.rows.schema.names:
                raise ConfigError("the rows have no `parents`; verify rows of a `synthesize` step, or name a column")
            ids = cast("list[list[str] | None]", self.rows.column(PARENTS).to_pylist())
            return [[self.parents[each] for each in row or () if each in self.parents] for row in ids]
        kind = self.rows.schema.field(column).type if column in self.rows.schema.names else None
        if kind is not None and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            rows = self.rows.column(column).to_pylist()
            return [[str(each) for each in row or () if each is not None] for row in rows]
        return [[] if text is None else [text] for text in self.texts(column)]

    def batch(self, column: str) -> TextBatch:
        """A column of strings as a `TextBatch`."""
        return TextBatch.of(self.texts(column))


class Verifier(Protocol):
    """One value per row and column; no side effects. What cannot be judged is null, never a number."""

    def __call__(self, batch: VerifyBatch) -> Columns:
        """Judge a batch."""
        ...
