"""The `release` step: kept documents with their scores, a card, checksums and provenance, ready for the Hub.

    out: {release: {from: [docs, kept], license: cc-by-4.0}}

The first dataset of `from` that has a column `text` or `messages` gives the documents, which may be conversations.
The columns of the others go beside them; one of them at most has `keep` and `reason`, and decides. Where that is a
`select` step called `picks`, its other columns go beside them too, as `picks_rank` and so on. The folder `release/` in
the step's folder is what is published. Its MANIFEST.json is written last.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

import orjson
from pydantic import Field, TypeAdapter

from curate.core import files
from curate.core.config import BadValue, Path, validate
from curate.core.dataset import Dataset, Manifest
from curate.core.digest import Plain
from curate.core.errors import RunError
from curate.core.funnel import funnel
from curate.core.step import Job, Receipt, Result, StepConfig
from curate.steps.release.card import Facts, render_card
from curate.steps.release.leaks import refuse_leaks
from curate.steps.release.parquet import Entry, file_hash
from curate.steps.release.provenance import environment, provenance, with_trainers
from curate.steps.release.sources import Sources, plan_files
from curate.steps.release.write import (
    DEFAULT,
    MANIFEST,
    REJECTED,
    RELEASE,
    WriteFile,
    Written,
    read_written,
)

VERSION = 1

_ENTRY = TypeAdapter(Entry)


class ReleaseConfig(StepConfig):
    """What is published, and what the card says of it.

    Attributes:
        source: the documents and the datasets beside them.
        license: as the Hub names it: cc-by-4.0, apache-2.0, odc-by, other.
        pretty_name: the title of the card.
        language: ISO 639 codes.
        split: the name of the split.
        rejected: whether the dropped rows are published too, with their reasons, as a config of their own.
        file_bytes: about how large a file gets.
    """

    source: str | list[str] = Field(alias="from")
    license: str
    pretty_name: str = "Curated text"
    language: list[str] = Field(default_factory=list)
    split: str = "train"
    rejected: bool = False
    file_bytes: int = Field(300_000_000, gt=0)

    def inputs(self) -> dict[str, str]:
        """The documents and the datasets beside them."""
        names = [self.source] if isinstance(self.source, str) else self.source
        return {f"from[{i}]": name for i, name in enumerate(names)}

    def identity(self) -> dict[str, Plain]:
        """Everything but the names of the inputs."""
        return self.model_dump(mode="json", exclude={"source"})


def parse(value: Plain, path: Path) -> ReleaseConfig:
    """The config of the step from plain values.

    Raises:
        BadValue: the licence is missing, or a name that the Hub would refuse.
    """
    if isinstance(value, dict) and not value.get("license"):
        raise BadValue((*path, "license"), "a release needs a licence, as in `license: cc-by-4.0`")
    if isinstance(value, dict) and isinstance(value.get("language"), str):
        value = {**value, "language": [value["language"]]}
    config = validate(ReleaseConfig, value, path)
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", config.license):
        raise BadValue((*path, "license"), f"{config.license!r} is no licence's name on the Hub, such as cc-by-4.0")
    if not re.fullmatch(r"\w+(\.\w+)*", config.split):
        raise BadValue((*path, "split"), "a split's name is letters, digits and _")
    for i, code in enumerate(config.language):
        if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z]+)?", code):
            raise BadValue((*path, "language", i), f"{code!r} is no ISO 639 code, such as en or deu")
    if not config.inputs():
        raise BadValue((*path, "from"), "names no dataset")
    return config


def run(job: Job, config: ReleaseConfig) -> Result:
    """Write the data, then the card and what proves it.

    Raises:
        ConfigError: the inputs do not go together.
        RunError: nothing is kept, rows are missing, or a key or a path of this machine would be published.
    """
    sources = Sources.of(job.inputs)
    inputs = job.inputs.values()
    chain = {each.manifest.digest: each for given in inputs for each in [*given.ancestors(), given]}
    for dataset in chain.values():
        dataset.manifest.reconcile()
    steps = with_trainers(list(chain.values()))
    papers = provenance(steps)  # first, so that a leak is reported before the data is written
    papers["provenance/environment.json"] = environment()
    for name, data in papers.items():
        refuse_leaks(name, data.decode())
    tasks = plan_files(sources, config.split, config.file_bytes)
    folder = files.join(job.folder, RELEASE)
    _remove_temporary(folder)
    dropped = sources.rejected()
    work = WriteFile(sources, sources.schema(), dropped if config.rejected else None, job.folder, job.scratch)
    receipts = job.map("", functools.partial(_same, work), tasks)
    if job.failed:
        raise RunError(
            f"step {job.step.name}: {len(job.failed)} files were not written, and a release must be whole; "
            "mend that and run the same command again"
        )
    manifest = _manifest(job, receipts, sources)
    _check(manifest, sources)
    written = _without_empty_config(folder, read_written(job.scratch, tasks))
    facts = Facts(
        title=config.pretty_name,
        license=config.license,
        language=tuple(config.language),
        split=config.split,
        schemas={DEFAULT: work.schema, REJECTED: dropped},
        picked=sources.picked,
        written=tuple(written),
        funnel=funnel(Dataset(job.folder, manifest), list(chain.values())),
        release=manifest,
        steps=tuple(steps),
    )
    papers["README.md"] = render_card(facts).encode()
    refuse_leaks("README.md", papers["README.md"].decode())
    names = _publish(folder, papers, [each.entry for each in written])
    in_manifest = {shard.name for shard in manifest.shards}
    others = sorted({f"{RELEASE}/{name}" for name in names} - in_manifest)
    hashes = {name: files.content_hash(files.join(job.folder, name)) for name in others}
    return Result(receipts, manifest.details, hashes)


def _same(work: WriteFile) -> WriteFile:
    """What a worker starts with: writing needs nothing loaded."""
    return work


def _without_empty_config(folder: str, written: Sequence[Written]) -> list[Written]:
    """All files but those of the rejected when nothing was: a config without rows cannot be loaded."""
    dropped = [each.entry for each in written if each.entry.path.startswith(f"data/{REJECTED}/")]
    if any(entry.rows for entry in dropped):
        return list(written)
    for entry in dropped:
        files.remove(files.join(folder, entry.path))
    return [each for each in written if each.entry not in dropped]


def _manifest(job: Job, receipts: Sequence[Receipt], sources: Sources) -> Manifest:
    """The manifest that the step will have, for the card to tell the same story."""
    counts: dict[str, int] = {}
    for receipt in receipts:
        for name, count in receipt.counts.items():
            counts[name] = counts.get(name, 0) + count
    step = job.step
    roles = {dataset.manifest.digest: role for role, dataset in job.inputs.items()}
    details: dict[str, Plain] = {
        "documents": roles[sources.documents.manifest.digest],
        "judge": roles[sources.judge.manifest.digest] if sources.judge else None,
    }
    shards = tuple(shard for receipt in receipts for shard in receipt.shards)
    return Manifest(
        step=step.name,
        kind=step.kind,
        version=step.version,
        digest=step.digest,
        config=dict(step.config),
        inputs={role: dataset.manifest.digest for role, dataset in job.inputs.items()},
        rows_in=sum(r.rows_in for r in receipts),
        rows=sum(shard.rows for shard in shards),
        quarantined=0,
        absent=sum(r.absent for r in receipts),
        dropped=sum(r.dropped for r in receipts),
        counts=counts,
        details=details,
        shards=shards,
    )


def _check(manifest: Manifest, sources: Sources) -> None:
    manifest.reconcile()
    reasons = {n.removeprefix("dropped:"): c for n, c in manifest.counts.items() if n.startswith("dropped:")}
    if manifest.rows_in != sources.documents.rows or sum(reasons.values()) != manifest.dropped:
        raise RunError(
            f"step {manifest.step}: {sources.documents.rows} documents, but {manifest.rows_in} were seen and "
            f"{sum(reasons.values())} of {manifest.dropped} dropped have a reason; please report this"
        )
    if manifest.rows == 0:
        most = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
        dropped = ", ".join(f"{name} ({count:,})" for name, count in most) or "none (absent from an input)"
        raise RunError(f"step {manifest.step}: no row is kept; most were dropped by {dropped}; loosen that")


def _publish(folder: str, papers: Mapping[str, bytes], entries: Sequence[Entry]) -> list[str]:
    """Write the small files and, last, the manifest; the paths of all files."""
    listed = list(entries)
    for name, data in sorted(papers.items()):
        with files.atomic_output(files.join(folder, name)) as out:
            out.write(data)
        listed.append(Entry(name, *file_hash(files.join(folder, name))))
    listed.sort(key=lambda entry: entry.path)
    content = {
        "format": 1,
        "files": [_ENTRY.dump_python(entry, mode="json", exclude_defaults=True) for entry in listed],
        "totals": {
            "files": len(listed),
            "bytes": sum(entry.bytes for entry in listed),
            "rows": sum(entry.rows or 0 for entry in listed),
        },
    }
    with files.atomic_output(files.join(folder, MANIFEST)) as out:
        out.write(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    return [*(entry.path for entry in listed), MANIFEST]


def _remove_temporary(folder: str) -> None:
    """What a killed run left half written."""
    for name in ("", "provenance", f"data/{DEFAULT}", f"data/{REJECTED}"):
        place = files.join(folder, name) if name else folder
        for each in files.list_names(place):
            if each.startswith(".") and each.endswith(".tmp"):
                files.remove(files.join(place, each))
