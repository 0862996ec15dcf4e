"""The report of a run: one HTML page without scripts or anything from the network.

    html = build_report("pretrain", {"docs": docs, "scores": scores, "kept": kept, "out": out})

Documents are hostile input: everything goes through the template's escaping, and the page forbids scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined

from curate.core.dataset import Dataset
from curate.core.digest import Plain
from curate.report.buckets import buckets
from curate.report.examples import Edge, Samples, examples
from curate.report.labels import shown
from curate.report.models import describe
from curate.report.pool import RUN
from curate.report.scores import Group, score_groups
from curate.report.selection import RANDOM, selections
from curate.report.story import KINDS, Stage, Story, problems
from curate.report.students import students
from curate.report.synthesis import synthesis
from curate.report.verdicts import Verdicts
from curate.report.words import number, says


def build_report(name: str, outputs: Mapping[str, Dataset]) -> str:
    """The page of a run.

    Args:
        name: of the run.
        outputs: the finished steps by name, in the order of the config.

    Raises:
        CurateError: a dataset is damaged, or one that another was made from is gone.
    """
    story = Story.of(outputs)
    groups: list[Group] = []
    edges: list[Edge] = []
    samples: list[Samples] = []
    rules: list[dict[str, Plain]] = []
    if story is not None:
        rules = story.rules
        verdicts = Verdicts.of(story.judge, rules) if story.judge is not None else None
        groups, near = score_groups(story, outputs, verdicts, rules)
        if verdicts is not None and story.documents is not None:
            known = {each.manifest.digest: each for each in (*outputs.values(), *story.chain)}
            edges, samples = examples(story.documents, verdicts, near, known)
    trained = {n: d for n, d in outputs.items() if d.manifest.kind == "train"}
    models = [(n, d, d.manifest.details.get("model")) for n, d in trained.items()]
    makers = {d.manifest.hash_of(model): n for n, d, model in models if isinstance(model, str)}
    page = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters.update(count=lambda n: f"{n:,}", number=number, percent=_percent, shown=shown)
    stages = story.stages() if story else []
    return page.get_template("page.html").render(
        name=name,
        sentence=_sentence(story, stages) if story else "Nothing but models was made.",
        funnel=story.funnel if story else None,
        origin="made" if story and story.funnel.made else "read",
        stages=stages,
        groups=groups,
        buckets=[buckets(n, d) for n, d in outputs.items() if d.manifest.kind == "bucket"],
        selections=selections(outputs),
        synthesis=synthesis(outputs),
        students=students(outputs),
        unselected=any(stage.kind == "unselected" for stage in stages),
        run=RUN,
        random=RANDOM,
        edges=edges,
        samples=samples,
        rules=[{**rule, "says": says(rule)} for rule in rules],
        problems=problems(list(outputs.values())),
        models=[describe(n, d, makers) for n, d in trained.items()],
        steps=[(n, d.manifest) for n, d in outputs.items()],
        release=story.result.manifest if story and story.result.manifest.kind == "release" else None,
    )


def _template(name: str) -> str:
    return (resources.files("curate.report") / name).read_text("utf-8")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"


def _sentence(story: Story, stages: Sequence[Stage]) -> str:
    """The run in a sentence."""
    records, kept = story.funnel.records, story.funnel.kept
    lost = {kind: [stage for stage in stages if stage.kind == kind] for kind in KINDS}
    rows = {kind: sum(stage.rows for stage in some) for kind, some in lost.items()}
    parts = []
    if rows["duplicate"]:
        parts.append(f"{rows['duplicate']:,} were duplicates")
    if rows["dropped"]:
        rules = len(lost["dropped"])
        parts.append(f"{rows['dropped']:,} were dropped by {rules} rule{'s' * (rules > 1)}")
    if rows["unselected"]:
        parts.append(f"{rows['unselected']:,} were not selected")
    if rows["quarantined"]:
        parts.append(f"{rows['quarantined']:,} could not be processed")
    what = "made rows" if story.funnel.made else "records"
    text = f"Of {records:,} {what}, {kept:,} ({_percent(kept, records)}) were kept"
    if not parts:
        return text + "."
    rest = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{text}; {rest}."
