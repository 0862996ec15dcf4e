"""What a preset rule stands for, and whether the scores that it reads were made for it.

    expand(Rule(preset="gopher-quality"))[0]      # gopher_quality_words at least 50
    check_scores("fineweb", None, {"gopher_quality": {"variant": "dolma"}}, path)      # raises: another variant

The presets are in `curate.text.rules.presets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from curate.core.config import BadValue, Path
from curate.core.digest import Plain
from curate.core.errors import nearest
from curate.steps.filter.rules import Rule
from curate.text.rules.presets import PRESETS

# What is wrong with a row that fails: its score is low, high, or not among the first.
REASONS = {
    "at_least": "-low",
    "above": "-low",
    "at_most": "-high",
    "below": "-high",
    "equals": "",
    "one_of": "",
    "top": "-not-top",
    "bottom": "-not-bottom",
    "sample": "-not-sampled",
}


def check_name(rule: Rule, path: Path) -> None:
    """See that a rule's preset is known, and that `of` is given only to one of a single scorer.

    Raises:
        BadValue: it is not.
    """
    if rule.preset is None:
        return
    if rule.preset not in PRESETS:
        raise BadValue((*path, "preset"), f"no preset {rule.preset!r}; {nearest(rule.preset, PRESETS)}")
    scorers = PRESETS[rule.preset].scorers
    if rule.of is not None and len(scorers) > 1:
        raise BadValue(
            (*path, "of"), f"the preset reads several scorers ({', '.join(scorers)}); write its parts instead"
        )


def expand(rule: Rule) -> list[Rule]:
    """A rule with one comparison for each that a preset or a rule with several stands for."""
    if rule.preset is None:
        pairs = rule.comparisons()
        name = rule.name or rule.column
        single = len(pairs) == 1 and rule.name is not None
        return [
            Rule.model_validate(
                {"column": rule.column, kind: value, "name": f"{name}{'' if single else REASONS[kind]}"}
            )
            for kind, value in pairs
        ]
    return [
        Rule.model_validate(
            {
                "column": each.column_of(rule.of or each.entry),
                each.comparison: each.value,
                "name": f"{f'{each.part}/{each.suffix}' if each.part else each.column}{REASONS[each.comparison]}",
            }
        )
        for each in PRESETS[rule.preset].rules
    ]


def scorers_of(identities: Iterable[Mapping[str, Plain]]) -> dict[str, Mapping[str, Plain]]:
    """The arguments of every scorer and cleaner, by the name of its entry, in the configs of the steps given.

    Where two have one name the later one counts, as its columns do.
    """
    found: dict[str, Mapping[str, Plain]] = {}
    for identity in identities:
        for kind in ("scorers", "cleaners"):
            entries = identity.get(kind)
            for entry in entries if isinstance(entries, list) else []:
                if isinstance(entry, list) and isinstance(entry[0], str):
                    args = entry[2 if kind == "scorers" else 1]
                    found[entry[0]] = args if isinstance(args, dict) else {}
    return found


def check_scores(preset: str, of: str | None, made: Mapping[str, Mapping[str, Plain]], path: Path) -> None:
    """See that what is known of the scores fits a preset: no other variant, no scorer left out of several.

    Args:
        preset: its name.
        of: the entry that stands for its scorer, where that has another name.
        made: what `scorers_of` says of the steps that the filter reads. What no step there made may be a
            column of the documents, so that it is refused only where others of the recipe were made.
        path: where the rule stands.

    Raises:
        BadValue: with the remedy.
    """
    scorers = PRESETS[preset].scorers
    missing = [entry for entry in scorers if (of or entry) not in made]
    if missing and len(missing) < len(scorers):
        raise BadValue(
            path,
            f"the preset {preset!r} also reads the scores of {', '.join(missing)};"
            f" put `preset: {preset}` into the score step",
        )
    for entry, fixed in scorers.items():
        if (of or entry) not in made:
            continue
        for key, value in fixed.items():
            found = made[of or entry].get(key)
            if found != value:
                wanted = f"{key}: {_yaml(value)}"
                raise BadValue(
                    path,
                    f"the preset {preset!r} is of {entry} with {wanted}, but the scores are made with"
                    f" {key}: {_yaml(found)}; set `{of or entry}: {{{wanted}}}` where they are made",
                )


def _yaml(value: Plain) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
