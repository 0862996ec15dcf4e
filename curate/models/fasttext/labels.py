"""The labels of a fastText model by the names that people give them.

find_label(file, "hq")                       # '__label__hq'
"""

from __future__ import annotations

from curate.core.errors import ModelError, nearest
from curate.models.fasttext.file import FastTextFile

PREFIX = "__label__"
POSITIVE = "hq"


def find_label(file: FastTextFile, label: str | None) -> str:
    """The label as the model spells it; left out, it is `hq` where that is one of two.

    Raises:
        ModelError: there is no such label, or none was named and the model has others.
    """
    if label is None:
        if len(file.labels) == 2 and PREFIX + POSITIVE in file.labels:
            return PREFIX + POSITIVE
        raise ModelError(f"{file.path}: name the label whose probability is the score; known: {_known(file, '')}")
    for spelling in (label, PREFIX + label):
        if spelling in file.labels:
            return spelling
    hint = nearest(label.removeprefix(PREFIX), _names(file))
    listed = "" if hint.startswith("known") else f" (known: {_known(file, label)})"
    raise ModelError(f"{file.path}: the model has no label {label!r}; {hint}{listed}")


def _names(file: FastTextFile) -> list[str]:
    return sorted(label.removeprefix(PREFIX) for label in file.labels)


def _known(file: FastTextFile, label: str) -> str:
    """Some twenty labels, those that start like `label` first."""
    names = sorted(_names(file), key=lambda name: (name[:1] != label.removeprefix(PREFIX)[:1], name))
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
