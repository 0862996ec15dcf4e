"""A run in a few lines: what its selections took, and for a release every record that came in, and where it went.

for line in summary_lines(outputs):
print(line)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curate import files
from curate.dataset import Dataset


@dataclass(frozen=True)
class Funnel:
    """Records of the documents that a release was made of; `records` is the sum of all the others.

    Attributes:
        records: what was read.
        quarantined: step -> rows put aside there.
        failed: rows in shards that were given up.
        dropped: reason -> rows, in the order of the rules.
        kept: rows in the release.
    """

    records: int
    quarantined: Mapping[str, int]
    failed: int
    dropped: Mapping[str, int]
    kept: int

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
    documents = _documents(release, {d.manifest.digest: d for d in chain})
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
    return Funnel(source.manifest.rows_in, quarantined, failed, dict(ranked), release.manifest.rows)


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


def summary_lines(outputs: Mapping[str, Dataset]) -> list[str]:
    """What every selection of a run took, then the funnel of every release, as lines for a terminal."""
    lines = _selected(outputs)
    for dataset in outputs.values():
        if dataset.manifest.kind != "release":
            continue
        each = funnel(dataset, dataset.ancestors())
        lines.append(f"\n{each.records:,} records read")
        for step, count in each.quarantined.items():
            lines.append(_line(count, each.records, f"quarantined by {step}"))
        if each.failed:
            lines.append(_line(each.failed, each.records, "in shards that were given up"))
        top = sorted(each.dropped.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = {reason for reason, count in top[:12] if count}
        for reason, count in each.dropped.items():
            if reason in shown:
                lines.append(_line(count, each.records, f"dropped: {reason}"))
        rest = sum(count for reason, count in each.dropped.items() if reason not in shown)
        if rest:
            lines.append(_line(rest, each.records, "dropped by other rules"))
        lines.append(_line(each.kept, each.records, f"kept: {files.shown(files.join(dataset.folder, 'release'))}"))
    return lines


def _selected(outputs: Mapping[str, Dataset]) -> list[str]:
    """The picks from each pool, in the order of the run."""
    pools: dict[str, list[Dataset]] = {}
    for dataset in outputs.values():
        if dataset.manifest.kind == "select":
            pools.setdefault(dataset.manifest.inputs["from[0]"], []).append(dataset)
    names = {dataset.manifest.digest: dataset.manifest.step for dataset in outputs.values()}
    lines: list[str] = []
    for digest, picks in pools.items():
        lines.append(f"\n{picks[0].manifest.rows:,} conversations to select from in {names.get(digest, digest[:8])}")
        for each in (pick.manifest for pick in picks):
            lines.append(_line(each.counts["kept"], each.rows, f"{each.step}, by {each.details['selector']}"))
    return lines


def _line(count: int, total: int, what: str) -> str:
    return f"{count:>10,}  {100 * count / max(total, 1):5.1f} %  {what}"
