"""Weak labelers of the `weak_labels` step: columns, keywords and small classifiers, each with a vote or none for a row.

keywords = Keywords({"NUM": ["how many"], "HUM": ["who"]}, labels=["HUM", "NUM"])
keywords.votes(["Who sings, and who listens?", "Why?"])        # [0, -1]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curate.core.config import Model
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError, nearest
from curate.core.files import ModelFile
from curate.core.rows.labelled import label_of
from curate.steps.verify.batch import PARENTS, VerifyBatch
from curate.steps.verify.label_agreement import label_agreement
from curate.steps.weak.dawid_skene import NONE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Labeler(Model):
    """Where the votes of one labeler come from: a column, keywords or a model.

    Attributes:
        column: of the rows, or of the step that `source` names.
        source: a step beside the rows, with their ids; or one that made rows of them, whose first parent counts.
            Of several synthetic rows the first that has a label votes.
        confidence: a column beside `column`, from 0 to 1; null where there is none.
        keywords: words or phrases for each label. A text's label is the one whose words it has most often, in any
            case and as whole words; as often as another's is no vote.
        model: a fastText model of labels, or a step that trains one.
        at_least: the lowest probability with which the model votes.
    """

    column: str | None = None
    source: str | None = Field(None, alias="from")
    confidence: str | None = None
    keywords: dict[str, list[str]] | None = Field(None, min_length=1)
    model: ModelFile | None = None
    at_least: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Labeler:
        given = [name for name in ("column", "keywords", "model") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a labeler has one of `column`, `keywords` and `model`; it has {len(given)} of them")
        strange = [name for name in ("source", "confidence") if getattr(self, name) is not None]
        if strange and self.column is None:
            raise ValueError(f"`{'from' if strange[0] == 'source' else strange[0]}` goes with `column` alone")
        if self.at_least is not None and self.model is None:
            raise ValueError("`at_least` goes with `model` alone")
        return self


@dataclass(frozen=True)
class Votes:
    """The votes of one labeler.

    Attributes:
        labels: one a row, -1 for none.
        confidence: of each, NaN where it gave none.
        unknown: how many of its labels are not of the set.
    """

    labels: Ints
    confidence: Floats
    unknown: int = 0


class LabelSet:
    """The labels by number; white space around them and their case do not matter, unless two differ by it alone."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._number = {label.casefold(): i for i, label in reversed(list(enumerate(labels)))}
        self._number.update({label: i for i, label in enumerate(labels)})

    def votes(self, values: Sequence[object], confidence: Floats | None = None) -> Votes:
        """The votes that some values are; a value that is no label of the set is none."""
        written = [label_of(value) for value in values]
        found = [NONE if each is None else self._find(each) for each in written]
        numbers = np.array(found, np.int64)
        unknown = sum(each is not None for each in written) - int((numbers != NONE).sum())
        return Votes(numbers, np.full(len(numbers), np.nan) if confidence is None else confidence, unknown)

    def _find(self, label: str) -> int:
        return self._number.get(label, self._number.get(label.casefold(), NONE))


class Keywords:
    """Labels by the words that a text has."""

    def __init__(self, keywords: Mapping[str, Sequence[str]], labels: Sequence[str]) -> None:
        self._patterns = {labels.index(label): _whole_words(words) for label, words in keywords.items() if words}

    def votes(self, texts: Sequence[str]) -> Ints:
        """The label whose words each text has most often; -1 for none, or where two have as many."""
        return np.array([self._vote(text) for text in texts], np.int64)

    def _vote(self, text: str) -> int:
        counts = {number: len(pattern.findall(text)) for number, pattern in self._patterns.items()}
        most = max(counts.values(), default=0)
        best = [number for number, count in counts.items() if count == most]
        return best[0] if most and len(best) == 1 else NONE


class Classifier:
    """Labels by a fastText model."""

    def __init__(self, model: str, at_least: float, labels: LabelSet) -> None:
        self._verify, self._at_least, self._labels = label_agreement(model=model), at_least, labels

    def votes(self, texts: Sequence[str | None]) -> Votes:
        """The most likely label of each text and its probability; none below `at_least`."""
        rows = pa.RecordBatch.from_arrays(
            [pa.array(texts, pa.large_string()), pa.nulls(len(texts), pa.string())], names=["text", "label"]
        )
        found = self._verify(VerifyBatch(rows, {}))
        probability = found["probability"].to_numpy(zero_copy_only=False).astype(np.float64)
        sure = np.nan_to_num(probability) >= self._at_least
        said = [label if enough else None for label, enough in zip(found["label"].to_pylist(), sure, strict=True)]
        return self._labels.votes(said, probability)


def column_votes(batch: pa.RecordBatch, labeler: Labeler, labels: LabelSet) -> Votes:
    """The votes that a column of some rows holds."""
    confidence = None
    if labeler.confidence is not None:
        column = batch.column(labeler.confidence)
        try:
            confidence = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ConfigError(f"the column {labeler.confidence!r} holds {column.type}, not numbers") from None
    return labels.votes(batch.column(str(labeler.column)).to_pylist(), confidence)


def check_columns(data: Dataset, labeler: Labeler) -> None:
    """See that a dataset has the columns of a labeler.

    Raises:
        ConfigError: one is not there.
    """
    names = data.schema().names
    for name in (labeler.column, labeler.confidence):
        if name is not None and name not in names:
            raise ConfigError(f"no column {name!r} in {data.manifest.step}; {nearest(name, names)}")


def joined_votes(data: Dataset, labeler: Labeler, labels: LabelSet, ids: pa.Array) -> Votes:
    """The votes of a column of another dataset, for rows by their ids: of the same ids, or made of them.

    Raises:
        ConfigError: no row of the dataset is one of these, or made of one.
    """
    made = PARENTS in data.schema().names
    columns = [str(labeler.column), *([labeler.confidence] if labeler.confidence else [])]
    keys, parents, parts = [pa.array([], pa.string())], [pa.array([], pa.string())], []
    for shard in data.shards:
        for batch in data.read(shard, ["id", *columns, *([PARENTS] if made else [])]):
            keys.append(batch.column("id").cast(pa.string()))
            firsts = [row[0] if row else None for row in batch.column(PARENTS).to_pylist()] if made else None
            parents.append(
                pa.array(firsts, pa.string()) if firsts is not None else pa.nulls(batch.num_rows, pa.string())
            )
            parts.append(column_votes(batch, labeler, labels))
    own = pc.index_in(pa.concat_arrays(keys), value_set=ids)
    place = pc.fill_null(pc.coalesce(own, pc.index_in(pa.concat_arrays(parents), value_set=ids, skip_nulls=True)), -1)
    at = place.to_numpy(zero_copy_only=False).astype(np.int64)
    if not (at >= 0).any():
        raise ConfigError(f"no row of {data.manifest.step} is one of the rows of `from`, or made of one; name another")
    said = np.concatenate([part.labels for part in parts])
    sure = np.concatenate([part.confidence for part in parts])
    found, confidence = np.full(len(ids), NONE, np.int64), np.full(len(ids), np.nan)
    use = np.flatnonzero((at >= 0) & (said != NONE))[::-1]  # the first of a row's is written last
    found[at[use]], confidence[at[use]] = said[use], sure[use]
    return Votes(found, confidence, sum(part.unknown for part in parts))


def _whole_words(words: Sequence[str]) -> re.Pattern[str]:
    # Longer phrases first: of two that begin alike the whole one counts.
    phrases = sorted((r"\s+".join(map(re.escape, word.split())) for word in words), key=lambda each: (-len(each), each))
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE)
