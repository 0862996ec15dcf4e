"""The verifier `consistency`: how far the samples of the same input agree.

    verify: {consistency: {column: answer}}

Self-consistency (Wang et al. 2023): an answer that many samples come to is more often right. Samples are the rows of a
batch that were made from the same parents, and a batch holds a shard: the samples of an input must lie in one, as they
do where a step of synthesis wrote them.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction

import pyarrow as pa

from curate.core.errors import ConfigError, nearest
from curate.steps.verify.batch import PARENTS, Columns, Verifier, VerifyBatch
from curate.steps.verify.numeric import final_number

_NUMBER = re.compile(r"[$€£]? ?[+−-]?[0-9][0-9,.]*(?:/[0-9]+)? ?%?")


def consistency(*, column: str, by: str = PARENTS) -> Verifier:
    """How much the samples of an input agree with a row's answer.

    `""` (float64): the share of the input's answers, this one included, that are the same. `majority` (string): the
    commonest, as it was first written; the one that comes first in the alphabet of equally common ones. `entropy`
    (float64): of the answers, in bits; 0 where all are the same. `samples` (int32): how many answers there are.
    Answers are compared as numbers if all of an input are, else in lower case without the white space and marks around
    them. A null answer is not counted and has nulls, and so has a row whose `by` is null; one answer alone agrees with
    nobody: `""` is null.

    Args:
        column: the answer: what was extracted, not the reasoning before it.
        by: the column that samples of one input share.
    """

    def verify(batch: VerifyBatch) -> Columns:
        answers = batch.texts(column)
        if by not in batch.rows.schema.names:
            raise ConfigError(f"the rows have no column {by!r}; {nearest(by, batch.rows.schema.names)}")
        groups: dict[object, list[int]] = defaultdict(list)
        for i, key in enumerate(batch.rows.column(by).to_pylist()):
            if key is not None and answers[i] is not None:
                groups[tuple(key) if isinstance(key, list) else key].append(i)
        share: list[float | None] = [None] * len(answers)
        majority: list[str | None] = [None] * len(answers)
        entropy: list[float | None] = [None] * len(answers)
        samples: list[int | None] = [None] * len(answers)
        for rows in groups.values():
            given = [answers[i] or "" for i in rows]
            keys = _keys(given)
            counts = Counter(keys)
            best = given[keys.index(min(counts, key=lambda key: (-counts[key], key)))]
            bits = -math.fsum(n / len(rows) * math.log2(n / len(rows)) for n in sorted(counts.values()))
            for i, key in zip(rows, keys, strict=True):
                share[i] = counts[key] / len(rows) if len(rows) > 1 else None
                majority[i], entropy[i], samples[i] = best, abs(bits), len(rows)
        return {
            "": pa.array(share, pa.float64()),
            "majority": pa.array(majority, pa.string()),
            "entropy": pa.array(entropy, pa.float64()),
            "samples": pa.array(samples, pa.int32()),
        }

    return verify


def _keys(answers: Sequence[str]) -> list[tuple[Fraction, str]]:
    """What answers are compared by: their numbers, or their words."""
    numbers = [final_number(answer) if _NUMBER.fullmatch(answer.strip(" .\n")) else None for answer in answers]
    if all(number is not None for number in numbers):
        return [(number or Fraction(0), "") for number in numbers]
    return [(Fraction(0), " ".join(answer.casefold().split()).strip(" .,;:!?\"'()*")) for answer in answers]
