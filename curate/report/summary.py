"""A run in a few lines: what its steps made, took and taught, and where each record of a release went.

for line in summary_lines(outputs):
print(line)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curate.core import files
from curate.core.dataset import Dataset, Manifest
from curate.core.funnel import funnel

_STUDENTS = "what a small student learns"


@dataclass(frozen=True)
class Outcomes:
    """What became of the rows that went into a `synthesize` step; `rows` is the sum of the other counts of rows.

    Attributes:
        what: they are: rows, or prompts where the step makes rows without seed rows.
        rows: how many there were.
        absent: rows that a dataset beside them lacks or does not keep.
        lost: rows in failed shards.
        accepted: rows of which some were made.
        rejected, failed: reason or error -> rows of which none was made, the commonest first.
        made: how many rows were made.
        filtered: reason -> what was not taken of accepted rows.
        answers, prompt_tokens, answer_tokens: of all requests.
    """

    what: str
    rows: int
    absent: int
    lost: int
    accepted: int
    rejected: Mapping[str, int]
    failed: Mapping[str, int]
    made: int
    filtered: Mapping[str, int]
    answers: int
    prompt_tokens: int
    answer_tokens: int

    @classmethod
    def of(cls, manifest: Manifest) -> Outcomes:
        """As the step counted them."""
        counts, recipe = manifest.counts, manifest.config.get("recipe")
        prompts = "from[0]" not in manifest.inputs or (isinstance(recipe, dict) and recipe.get("pool") is not None)
        return cls(
            "prompts" if prompts else "rows",
            manifest.rows_in,
            manifest.absent,
            sum(each.rows for each in manifest.failed),
            counts.get("accepted", 0),
            _counted(counts, "rejected"),
            _counted(counts, "failed"),
            manifest.rows,
            _counted(counts, "filtered"),
            *(counts.get(name, 0) for name in ("answers", "prompt-tokens", "answer-tokens")),
        )

    def adds_up(self) -> bool:
        """Whether every row has one outcome."""
        without = sum(self.rejected.values()) + sum(self.failed.values())
        return self.rows == self.absent + self.lost + self.accepted + without


def _counted(counts: Mapping[str, int], state: str) -> dict[str, int]:
    found = {name.removeprefix(f"{state}:"): n for name, n in counts.items() if name.startswith(f"{state}:") and n}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def summary_lines(outputs: Mapping[str, Dataset]) -> list[str]:
    """What was made, what selections took, what students learnt, and the funnel of each release, for a terminal."""
    lines = [*_made(outputs), *_selected(outputs), *_learnt(outputs)]
    for dataset in outputs.values():
        if dataset.manifest.kind != "release":
            continue
        each = funnel(dataset, dataset.ancestors())
        lines.append(f"\n{each.records:,} {'rows made' if each.made else 'records read'}")
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


def _made(outputs: Mapping[str, Dataset]) -> list[str]:
    """What became of the rows that went into every `synthesize` step."""
    lines: list[str] = []
    for manifest in (each.manifest for each in outputs.values() if each.manifest.kind == "synthesize"):
        each = Outcomes.of(manifest)
        lines.append(f"\n{each.rows:,} {each.what} went into {manifest.step}")
        if each.absent:
            lines.append(_line(each.absent, each.rows, "left out before"))
        if each.lost:
            lines.append(_line(each.lost, each.rows, "in shards that were given up"))
        for state, reasons in (("rejected", each.rejected), ("failed", each.failed)):
            lines += [_line(count, each.rows, f"{state}: {reason}") for reason, count in reasons.items()]
        reasons_of = ", ".join(f"{count:,} {reason}" for reason, count in each.filtered.items())
        filtered = f", {sum(each.filtered.values()):,} filtered ({reasons_of})" if each.filtered else ""
        lines.append(_line(each.accepted, each.rows, f"accepted: {each.made:,} rows made{filtered}"))
        lines.append(f"{each.answers:,} answers, {each.prompt_tokens:,} tokens in, {each.answer_tokens:,} out")
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


def _learnt(outputs: Mapping[str, Dataset]) -> list[str]:
    """The table of every `student` step, with 95% intervals in percent."""
    lines: list[str] = []
    for manifest in (each.manifest for each in outputs.values() if each.manifest.kind == "student"):
        table = manifest.details["table"]
        assert isinstance(table, list)
        rows = [row for row in table if isinstance(row, dict)]
        names = [f"  {row['variant']}" for row in rows]
        width = max(map(len, [_STUDENTS, *names]))
        lines.append(f"\n{_STUDENTS:<{width}} {'rows':>9}  {'accuracy':<20}against the first")
        for name, row in zip(names, rows, strict=True):
            accuracy = _percent(row["accuracy"], row["low"], row["high"], "5.1f", " %")
            gain = row["gain"]
            gained = _percent(gain["value"], gain["low"], gain["high"], "+6.1f") if isinstance(gain, dict) else ""
            lines.append(f"{name:<{width}} {row['rows']:>9,}  {accuracy:<20}{gained}".rstrip())
    return lines


def _percent(value: object, low: object, high: object, form: str, unit: str = "") -> str:
    assert isinstance(value, float) and isinstance(low, float) and isinstance(high, float)
    # Adding 0.0 makes 0.0 of -0.0.
    return f"{format(round(100 * value, 1) + 0.0, form)}{unit} ({round(100 * low)} to {round(100 * high)})"


def _line(count: int, total: int, what: str) -> str:
    return f"{count:>10,}  {100 * count / max(total, 1):5.1f} %  {what}"
