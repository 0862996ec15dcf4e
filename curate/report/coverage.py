"""What synthetic rows cover: how often each value of each attribute occurs, by label (AttrPrompt, Yu et al. 2023).

    for line in coverage(made, ["abbreviation", "entity"]):
        line.label, line.attribute, line.values, line.least, line.most

Rows say their attributes in a column `attributes`, a JSON object of strings. The values are those that occur: one that
the model named and that no row has is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from curate.core.dataset import Dataset

ATTRIBUTES, LABEL = "attributes", "label"
_MOST_VALUES = 2000  # of one attribute of one label: more are free text, and not counted on


@dataclass(frozen=True)
class Share:
    """A value, and its rows."""

    value: str
    rows: int


@dataclass(frozen=True)
class Covered:
    """One attribute of the rows with one label.

    Attributes:
        label: empty where rows have none.
        rows: that have the attribute.
        values: how many different values they have, counted up to 2,000.
        least, most: the rarest and the commonest value, ties by value.
        width: of the bar of the rarest, in percent of the commonest.
    """

    label: str
    attribute: str
    rows: int
    values: int
    least: Share
    most: Share

    @property
    def width(self) -> float:
        """How near the rarest value comes to the commonest, in percent."""
        return 100 * self.least.rows / self.most.rows


def coverage(made: Dataset, labels: Sequence[str]) -> list[Covered]:
    """The attributes of the rows with some labels, in the order of the labels and then of the attributes' names.

    Args:
        made: rows; without the column `attributes` nothing is covered.
        labels: whose rows are looked at; where rows have no column `label`, all are.
    """
    names = made.schema().names if made.shards else []
    if ATTRIBUTES not in names:
        return []
    labelled = LABEL in names
    wanted = set(labels)
    counts: dict[tuple[str, str], Counter[str]] = {}
    for shard in made.shards:
        for batch in made.read(shard, [ATTRIBUTES, *([LABEL] if labelled else [])]):
            given = batch.column(LABEL).to_pylist() if labelled else [""] * batch.num_rows
            for label, text in zip(given, batch.column(ATTRIBUTES).to_pylist(), strict=True):
                if labelled and label not in wanted:
                    continue
                for name, value in _pairs(text):
                    found = counts.setdefault((label, name), Counter())
                    if value in found or len(found) < _MOST_VALUES:
                        found[value] += 1
    order = {label: i for i, label in enumerate(labels)}
    lines = []
    for label, name in sorted(counts, key=lambda key: (order.get(key[0], 0), key)):
        ranked = sorted(counts[label, name].items(), key=lambda pair: (pair[1], pair[0]))
        least, most = Share(*ranked[0]), Share(*min(ranked, key=lambda pair: (-pair[1], pair[0])))
        lines.append(Covered(label, name, sum(rows for _, rows in ranked), len(ranked), least, most))
    return lines


def _pairs(text: str | None) -> list[tuple[str, str]]:
    """The attributes of a row; none of one that says something else."""
    try:
        found = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return []
    return [(name, value) for name, value in found.items() if isinstance(value, str)] if isinstance(found, dict) else []
