"""The funnel of a release: of the records that were read or synthesised, how many went where.

found = funnel(release, release.ancestors())
found.records, found.dropped, found.kept
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curate.core.dataset import Dataset


@dataclass(frozen=True)
class Funnel:
    """Records of the documents that a release was made of; `records` is the sum of all the others.

    Attributes:
        records: what was read, or what a `synthesize` step made.
        quarantined: step -> rows put aside there.
        failed: rows in failed shards.
        dropped: reason -> rows, in the order of the rules.
        kept: rows in the release.
        made: whether the records were made.
    """

    records: int
    quarantined: Mapping[str, int]
    failed: int
    dropped: Mapping[str, int]
    kept: int
    made: bool = False

    def adds_up(self) -> bool:
        """Whether every record is in exactly one place."""
        rest = sum(self.quarantined.values()) + self.failed + sum(self.dropped.values())
        return self.records == rest + self.kept


def funnel(release: Dataset, chain: Sequence[Dataset]) -> Funnel:
    """The funnel of a release.

    Args:
        release: the output of a release step.
        chain: what it was made from (`release.ancestors()`).
    """
    known = {d.manifest.digest: d for d in chain}
    documents = _documents(release, known)
    names = {d.manifest.step for d in documents}
    quarantined = {d.manifest.step: d.manifest.quarantined for d in documents if d.manifest.quarantined}
    failed = sum(f.rows for d in [*documents, release] for f in d.manifest.failed)
    # A row that a scorer could not handle was put aside there, and is absent from what follows.
    if release.manifest.absent:
        beside = [d.manifest.step for d in chain if d.manifest.step not in names and d.manifest.quarantined]
        quarantined[", ".join(beside) or "other steps"] = release.manifest.absent
    counts = release.manifest.counts
    dropped = {name.removeprefix("dropped:"): count for name, count in counts.items() if name.startswith("dropped:")}
    order = [str(rule["name"]) for d in chain for rule in d.manifest.rules]
    ranked = sorted(
        dropped.items(), key=lambda pair: (order.index(pair[0]) if pair[0] in order else len(order), pair[0])
    )
    source = documents[0] if documents else release
    made = any(known[d].manifest.kind == "synthesize" for d in source.manifest.inputs.values() if d in known)
    return Funnel(source.manifest.rows_in, quarantined, failed, dict(ranked), release.manifest.rows, made)


def _documents(release: Dataset, chain: Mapping[str, Dataset]) -> list[Dataset]:
    """The steps that the text went through, from the reading to the one that the release takes it from."""
    path: list[Dataset] = []
    here: Dataset | None = release
    while here is not None:
        parents = [chain[digest] for digest in here.manifest.inputs.values() if digest in chain]
        here = next((p for p in parents if p.manifest.kind in ("read", "clean")), None)
        if here is not None:
            path.insert(0, here)
    return path
