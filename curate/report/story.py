"""What a run comes to: which dataset is its result, what decides, which documents, and the funnel.

story = Story.of(outputs)
story.funnel.records, story.funnel.kept
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.core.funnel import Funnel, funnel
from curate.report.picks import LEFT

# What decides of rows, those first that stand later in a pipeline.
_JUDGES = ("select", "filter", "calibrate", "dedup")
_TEXT = ("read", "clean", "answer", "synthesize")
# What leaves no rows of its own: a model, or what students say of rows that tested them.
_NO_ROWS = ("train", "student")
# The ways in which a record may leave.
KINDS = ("quarantined", "duplicate", "dropped", "unselected")


@dataclass(frozen=True)
class Stage:
    """One line of the funnel: `rows` left here, `left` are still in after it."""

    kind: str
    label: str
    rows: int
    left: int


@dataclass(frozen=True)
class Problem:
    """Quarantined rows of one step with the same error."""

    step: str
    error: str
    message: str
    source: str
    rows: int


@dataclass(frozen=True)
class Story:
    """The datasets of a run by their part in it.

    Attributes:
        result: the release, or else what decides, or else the last that was made, or else the last dataset.
        documents: where the text is; None in a run that reads none.
        judge: the dataset with `keep`; None when everything is kept.
        chain: what the result was made from, and the result where it is no release.
    """

    result: Dataset
    documents: Dataset | None
    judge: Dataset | None
    chain: tuple[Dataset, ...]
    funnel: Funnel

    @classmethod
    def of(cls, outputs: Mapping[str, Dataset]) -> Story | None:
        """Find them; None when nothing but models was made."""
        result = next(filter(None, (_last(outputs, kind) for kind in ("release", *_JUDGES, "synthesize"))), None)
        if result is None:
            others = [each for each in outputs.values() if each.manifest.kind not in _NO_ROWS]
            if not others:
                return None
            result = others[-1]
        chain = result.ancestors()
        known = {each.manifest.digest: each for each in chain}
        if result.manifest.kind == "release":
            role = result.manifest.details.get("judge")
            judge = known.get(result.manifest.inputs[role]) if isinstance(role, str) else None
            documents = known.get(result.manifest.inputs[str(result.manifest.details["documents"])])
            return cls(result, documents, judge, tuple(chain), funnel(result, chain))
        judge = result if result.manifest.kind in _JUDGES else None
        documents = _documents(result, known)
        whole = [*chain, result]
        return cls(result, documents, judge, tuple(whole), _unreleased(result, documents, whole))

    @property
    def rules(self) -> list[dict[str, Plain]]:
        """The rules that decided: the judge's own, or for a selection those of the filters that it read."""
        if self.judge is None or self.judge.manifest.kind != "select":
            return self.judge.manifest.rules if self.judge is not None else []
        read = set(self.judge.manifest.inputs.values())
        return [rule for each in self.chain if each.manifest.digest in read for rule in each.manifest.rules]

    def stages(self) -> list[Stage]:
        """The funnel line by line, quarantined rows by their error; it ends with what is kept."""
        each = self.funnel
        left = each.records
        found: list[Stage] = []

        def lose(kind: str, label: str, rows: int) -> None:
            nonlocal left
            left -= rows
            found.append(Stage(kind, label, rows, left))

        for steps, rows in each.quarantined.items():
            errors = Counter[tuple[str, str]]()
            for problem in problems([d for d in self.chain if d.manifest.step in steps.split(", ")]):
                errors[problem.step, problem.error] += problem.rows
            if sum(errors.values()) == rows:
                for (step, error), count in errors.items():
                    lose("quarantined", f"quarantined in {step}: {error}", count)
            else:
                lose("quarantined", f"quarantined in {steps}", rows)
        if each.failed:
            lose("quarantined", "in shards that were given up", each.failed)
        for reason, rows in each.dropped.items():
            if rows:
                kind = "duplicate" if "duplicate" in reason else "dropped"
                lose("unselected" if reason in LEFT else kind, reason, rows)
        return found


def problems(datasets: Sequence[Dataset]) -> list[Problem]:
    """Quarantined rows by step, error and message; messages that differ in numbers alone count as one."""
    rows: Counter[tuple[str, str, str]] = Counter()
    first: dict[tuple[str, str, str], tuple[str, str]] = {}
    for dataset in datasets:
        for table in dataset.quarantine():
            for row in table.select(["source", "error", "message"]).to_pylist():
                key = (dataset.manifest.step, row["error"], re.sub(r"\d+", "0", row["message"]))
                rows[key] += 1
                first.setdefault(key, (row["message"], row["source"]))
    ranked = sorted(rows, key=lambda key: -rows[key])  # stable: equal counts stay in the order of steps
    return [Problem(key[0], key[1], *first[key], rows[key]) for key in ranked]


def _last(outputs: Mapping[str, Dataset], kind: str) -> Dataset | None:
    found = [each for each in outputs.values() if each.manifest.kind == kind]
    return found[-1] if found else None


def _documents(dataset: Dataset, known: Mapping[str, Dataset]) -> Dataset | None:
    """The nearest dataset with text that this one was made from, or itself."""
    if dataset.manifest.kind in _TEXT:
        return dataset
    # What lies in `from` before what a step compares it with.
    roles = sorted(dataset.manifest.inputs.items(), key=lambda pair: not pair[0].startswith("from"))
    parents = [known[digest] for _, digest in roles]
    for parent in [*[p for p in parents if p.manifest.kind in _TEXT], *parents]:
        found = _documents(parent, known)
        if found is not None:
            return found
    return None


def _unreleased(result: Dataset, documents: Dataset | None, chain: Sequence[Dataset]) -> Funnel:
    """The funnel of a run without a release: as if everything that is kept were released."""
    manifest = result.manifest
    if documents is None:
        return Funnel(manifest.rows_in, {}, 0, {}, manifest.rows)
    dropped = {f"dropped:{rule['name']}": int(str(rule["first"])) for rule in result.manifest.rules}
    if manifest.kind == "select":
        firsts = {name: rows for name, rows in manifest.counts.items() if name.startswith("first:")}
        dropped = {name.replace("first:", "dropped:", 1): rows for name, rows in firsts.items()}
    if manifest.kind == "dedup" and not dropped:
        dropped = {"dropped:exact-duplicate": manifest.counts.get("copies", 0)}
    kept = result.rows - sum(dropped.values())
    pretended = replace(
        manifest,
        inputs={"documents": documents.manifest.digest},
        rows_in=documents.rows,
        rows=kept,
        dropped=sum(dropped.values()),
        absent=documents.rows - result.rows,
        quarantined=0,
        counts=dropped,
        failed=(),
    )
    return funnel(Dataset(result.folder, pretended), chain)
