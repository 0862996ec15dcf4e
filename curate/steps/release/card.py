"""The card of a release: the Hub's front matter, and a page that says how the rows came about.

text = render_card(facts)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import pyarrow as pa
import yaml

from curate.core.dataset import Dataset, Manifest
from curate.core.digest import Plain
from curate.core.funnel import Funnel
from curate.steps.release.provenance import models_of
from curate.steps.release.write import DEFAULT, REJECTED, Written

# The Hub's size_categories: https://huggingface.co/docs/hub/datasets-cards
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)
_WORDS = {
    "at_least": "at least",
    "at_most": "at most",
    "above": "above",
    "below": "below",
    "equals": "equal to",
    "one_of": "one of",
    "top": "among the highest, down to",
    "bottom": "among the lowest, up to",
    "sample": "sampled, with score and noise down to",
}
# The columns of a `select` step.
_PICKED = {
    "rank": "its place among the picks; 1 was taken first",
    "score": "the selector's number, higher is better",
    "target": "the task that it serves best",
    "nearest": "the id of that task's example that is nearest to it",
}


@dataclass(frozen=True)
class Facts:
    """What the card tells.

    Attributes:
        schemas: the columns of each config.
        picked: those that say why a row was picked, by their names in the `select` step.
        written: the Parquet files.
        release: the manifest of the release step.
        steps: every step before it, those that trained its models too.
    """

    title: str
    license: str
    language: tuple[str, ...]
    split: str
    schemas: Mapping[str, pa.Schema]
    picked: Mapping[str, str]
    written: tuple[Written, ...]
    funnel: Funnel
    release: Manifest
    steps: tuple[Dataset, ...]

    def of(self, config: str) -> list[Written]:
        """The files of one config."""
        return [each for each in self.written if each.entry.path.startswith(f"data/{config}/")]


@dataclass(frozen=True)
class Line:
    """One line of the funnel."""

    what: str
    rows: int


def render_card(facts: Facts) -> str:
    """README.md: front matter between `---`, then the page."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    jinja = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters.update(cell=_cell, count=lambda n: f"{n:,}")
    template = jinja.from_string((resources.files("curate.steps.release") / "card.md").read_text("utf-8"))
    head = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True, width=10_000)
    body = template.render(
        title=facts.title,
        license=facts.license,
        split=facts.split,
        unit="conversation" if facts.schemas[DEFAULT].names[1] == "messages" else "document",
        rows=facts.release.rows,
        rejected=sum(each.entry.rows or 0 for each in facts.of(REJECTED)),
        records=facts.funnel.records,
        made=facts.funnel.made,
        lines=funnel_table(facts),
        rules=_rules(facts.steps),
        columns=[(field.name, str(field.type)) for field in facts.schemas[DEFAULT]],
        picked=[(name, _PICKED[column]) for name, column in facts.picked.items()],
        models=_models(facts.steps),
        steps=[each.manifest for each in facts.steps],
        step=facts.release.step,
        digest=facts.release.digest,
        lost=facts.funnel.failed,
    )
    return f"---\n{head}---\n\n{body.rstrip()}\n"


def front_matter(facts: Facts) -> dict[str, object]:
    """The YAML that the Hub and `datasets` read."""
    configs = [name for name in (DEFAULT, REJECTED) if facts.of(name)]
    head: dict[str, object] = {"pretty_name": facts.title, "license": facts.license}
    if facts.language:
        head["language"] = list(facts.language)
    rows = sum(each.entry.rows or 0 for each in facts.written)
    head["size_categories"] = [next((name for limit, name in _SIZES if rows < limit), "n>1T")]
    head["task_categories"] = ["text-generation"]
    head["tags"] = ["curate", "training-data"]
    head["configs"] = [_config(facts, name) for name in configs]
    head["dataset_info"] = [_info(facts, name) for name in configs]
    return head


def _config(facts: Facts, name: str) -> dict[str, object]:
    config: dict[str, object] = {"config_name": name}
    if name == DEFAULT:
        config["default"] = True
    config["data_files"] = [{"split": facts.split, "path": f"data/{name}/{facts.split}-*.parquet"}]
    return config


def _info(facts: Facts, name: str) -> dict[str, object]:
    written = facts.of(name)
    size = sum(each.shard.bytes for each in written)
    rows = sum(each.shard.rows for each in written)
    return {
        "config_name": name,
        "features": [feature(field) for field in facts.schemas[name]],
        "splits": [{"name": facts.split, "num_bytes": size, "num_examples": rows}],
        "download_size": sum(each.entry.bytes for each in written),
        "dataset_size": size,
    }


def feature(field: pa.Field) -> dict[str, object]:
    """A column in the notation of dataset_info."""
    return {"name": field.name, **_type(field.type)}


def _type(kind: pa.DataType) -> dict[str, object]:
    if pa.types.is_dictionary(kind):
        return _type(kind.value_type)
    if pa.types.is_struct(kind):
        return {"struct": [feature(kind.field(i)) for i in range(kind.num_fields)]}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _type(kind.value_type)
        plain = inner["dtype"] if set(inner) == {"dtype"} else inner.get("struct", inner)
        result: dict[str, object] = {"list": plain}
        if pa.types.is_fixed_size_list(kind):
            result["length"] = kind.list_size
        return result
    names = {"double": "float64", "float": "float32", "halffloat": "float16", "date32[day]": "date32"}
    return {"dtype": names.get(str(kind), str(kind))}


def funnel_table(facts: Facts) -> list[Line]:
    """Where the records went that were read and not kept."""
    each = facts.funnel
    lines = [Line(f"put aside by {step}, each with an error", n) for step, n in each.quarantined.items()]
    if each.failed:
        lines.append(Line("in shards that could not be processed", each.failed))
    lines += [Line(f"dropped: {reason}", n) for reason, n in each.dropped.items() if n]
    return lines


def _rules(steps: Sequence[Dataset]) -> list[dict[str, Plain]]:
    rules: list[dict[str, Plain]] = []
    for rule in (rule for dataset in steps for rule in dataset.manifest.rules):
        words = _WORDS.get(str(rule["comparison"]), str(rule["comparison"]))
        must = f"{words} {_value(rule['value'])}"
        earlier = rule["column"] == "keep"
        rules.append({**rule, "must": "kept by an earlier step" if earlier else must})
    return rules


def _value(value: Plain) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _models(steps: Sequence[Dataset]) -> list[dict[str, str]]:
    trained = {value: each.manifest.step for each in steps for value in each.manifest.files.values()}
    return [
        {"step": each.manifest.step, "key": key, "hash": value, "made": trained.get(value, "")}
        for each in steps
        for key, value in models_of(each).items()
    ]


def _cell(value: object) -> str:
    """Any value as the text of a Markdown table cell: no markup, no line break."""
    text = " ".join(str(value).split())
    return "".join(f"&#{ord(c)};" if c in "&<>|[]`*\\" else c for c in text)
