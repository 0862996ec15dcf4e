"""What the students of the `student` step learn from: the variants of a config, and the rows of each.

    {"seeds": ["seeds"], "seeds + verified": ["seeds", {"rows": "made", "kept": "kept"}]}

A variant is several datasets one after the other; of one with `kept`, the rows that it keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xxhash

from curate.core.config import Model
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.core.rows.labelled import Labelled, check_labelled, read_labelled
from curate.text.overlap import hashed_words


class Part(Model):
    """Some rows that a student learns.

    Attributes:
        rows: the step that has the texts.
        kept: their attributes: rows with `keep = false` are skipped, and labels are taken where they have some.
    """

    rows: str
    kept: str | list[str] = []

    def steps(self) -> list[str]:
        """The rows, then their attributes."""
        return [self.rows, *([self.kept] if isinstance(self.kept, str) else self.kept)]


Variant = str | list[str | Part]


def parts_of(variant: Variant) -> list[list[str]]:
    """The steps of each part of a variant."""
    parts = [variant] if isinstance(variant, str) else variant
    return [[part] if isinstance(part, str) else part.steps() for part in parts]


def column_of(name: str) -> str:
    """The column of a variant: its name with one _ for whatever is no letter and no digit.

    >>> column_of("seeds + synthetic")
    'seeds_synthetic'
    """
    found = re.sub(r"\W+", "_", name).strip("_")
    return f"_{found}" if found[:1].isdigit() else found


def role_of(number: int, part: int, beside: int) -> str:
    """The role of an input: which dataset of which part of which variant."""
    return f"train[{number}][{part}][{beside}]"


def datasets_of(inputs: Mapping[str, Dataset], number: int, variant: Variant) -> list[Dataset]:
    """The datasets of a variant in order, each part's rows before their attributes."""
    parts = parts_of(variant)
    return [inputs[role_of(number, i, j)] for i, part in enumerate(parts) for j in range(len(part))]


def learnt(datasets: Sequence[Dataset], label: str, size: int | None) -> list[Labelled]:
    """The rows that a student learns, in order; with a size, so many of them by the hashes of their ids.

    Raises:
        ConfigError: there are fewer rows than `size`.
    """
    check_labelled(datasets, label)
    rows = list(read_labelled(datasets, label))
    if size is None:
        return rows
    if size > len(rows):
        raise ConfigError(f"`sizes` asks for {size} rows, and there are {len(rows)}; ask for fewer")
    order = sorted(range(len(rows)), key=lambda i: (xxhash.xxh3_64_intdigest(rows[i].id.encode()), rows[i].id, i))
    return [rows[i] for i in sorted(order[:size])]


def word_keys(rows: Sequence[Labelled]) -> Iterator[int | None]:
    """For each text one number, the same for those with the same words in lower case; None for one without words."""
    words = hashed_words([row.text for row in rows])
    for start, end in zip(words.at[:-1].tolist(), words.at[1:].tolist(), strict=True):
        yield xxhash.xxh3_64_intdigest(np.ascontiguousarray(words.keys[start:end]).tobytes()) if end > start else None
