"""What became of every row, as a small number, so that scores can be coloured and examples chosen by it.

verdicts = Verdicts.of(kept)
verdicts.reasons            # ['exact-duplicate', 'gopher-quality/words-at_least', ...]
verdicts.beside(scores)     # shard -> code of every row of the scores
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.dataset import Dataset
from curate.core.digest import Plain

Codes: TypeAlias = npt.NDArray[np.uint16]

# A row's code is the position of its reason; these are for rows without one.
KEPT, ABSENT = 65_534, 65_535


@dataclass(frozen=True)
class Verdicts:
    """The codes of all rows of the dataset that decides.

    Attributes:
        reasons: in the order in which the rules were applied.
        codes: by shard, in the order of rows.
    """

    judge: Dataset
    reasons: tuple[str, ...]
    codes: Mapping[str, Codes]

    @classmethod
    def of(cls, judge: Dataset, rules: Sequence[Mapping[str, Plain]] = ()) -> Verdicts:
        """Read `keep` and `reason` of a step that decides; by its rules, or those given, the reasons are ordered."""
        names = list(dict.fromkeys(str(rule["name"]) for rule in rules or judge.manifest.rules))
        position = {name: i for i, name in enumerate(names)}
        codes: dict[str, Codes] = {}
        for shard in judge.shards:
            parts: list[Codes] = []
            for batch in judge.read(shard, ["keep", "reason"]):
                encoded = batch.column("reason").dictionary_encode()
                for name in encoded.dictionary.to_pylist():
                    position.setdefault(name, len(position))
                table = np.array([position[name] for name in encoded.dictionary.to_pylist()] + [KEPT], np.uint16)
                index = pc.fill_null(encoded.indices, len(table) - 1).to_numpy(zero_copy_only=False)
                kept = np.asarray(batch.column("keep").to_numpy(zero_copy_only=False), dtype=np.bool_)
                parts.append(np.where(kept, np.uint16(KEPT), table[index]).astype(np.uint16))
            codes[shard.name] = np.concatenate(parts) if parts else np.empty(0, np.uint16)
        return cls(judge, tuple(position), codes)

    def beside(self, dataset: Dataset) -> dict[str, Codes]:
        """The codes of the rows of another dataset; rows that were not judged are ABSENT."""
        found: dict[str, Codes] = {}
        for shard in dataset.shards:
            codes = self.codes.get(shard.name)
            if codes is None:
                found[shard.name] = np.full(shard.rows, ABSENT, np.uint16)
            elif len(codes) == shard.rows and dataset.manifest.digest in self.judge.manifest.inputs.values():
                found[shard.name] = codes  # it read them, in this order, and lost none
            else:
                found[shard.name] = self._by_id(dataset, shard.name, codes)
        return found

    def _by_id(self, dataset: Dataset, shard: str, codes: Codes) -> Codes:
        judged = pa.chunked_array([batch.column("id") for batch in self.judge.read(shard, ["id"])], pa.string())
        ids = pa.chunked_array([batch.column("id") for batch in dataset.read(shard, ["id"])], pa.string())
        place = pc.fill_null(pc.index_in(ids, value_set=judged.combine_chunks()), len(codes)).to_numpy()
        found: Codes = np.append(codes, np.uint16(ABSENT))[place]
        return found
