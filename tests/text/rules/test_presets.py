"""The presets: what they name is there, they fit the scores or say what to do, and real pages go through them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zstandard

from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.kinds import build
from curate.steps.score import SCORERS
from curate.steps.score.step import parse as parse_scores
from curate.text.batch import TextBatch
from curate.text.rules.presets import BRINGS, PRESETS, PresetRule
from tests.helpers import rows
from tests.pipelines import run_yaml

RECIPES = [name for name, preset in PRESETS.items() if len(preset.scorers) > 1]
BROUGHT = {
    "language": "{{model: {data}/lid.176.ftz}}",
    "quality": "{{model: cls, label: hq}}",
    "perplexity": "{{model: lm}}",
}


def test_every_rule_names_a_column_of_a_scorer_that_the_preset_has() -> None:
    for name, preset in PRESETS.items():
        for entry, args in preset.scorers.items():
            suffixes = {rule.suffix for rule in preset.rules if rule.entry == entry}
            assert suffixes or entry in BRINGS, f"{name} scores {entry} for nothing"
            if entry not in BRINGS:
                assert suffixes <= set(SCORERS[entry](**args)(TextBatch.of(["Some text."]))), f"{name}: {entry}"
        assert {rule.entry for rule in preset.rules} <= set(preset.scorers), name


def test_a_preset_of_a_score_step_is_its_scorers_with_their_variants_in_order() -> None:
    value = {
        "from": "docs",
        "preset": "fineweb",
        "language": {"model": "lid"},
        "edu": {"scorer": "quality", "model": "m"},
    }
    config = parse_scores(value, ())
    assert list(config.entries) == [*PRESETS["fineweb"].scorers, "edu"]
    assert config.models() == {"language.model": "lid", "edu.model": "m"}
    written_out = {
        "from": "docs",
        "language": {"model": "lid"},
        **{name: dict(args) for name, args in PRESETS["fineweb"].scorers.items() if name != "language"},
        "edu": {"scorer": "quality", "model": "m"},
    }
    assert config.identity() == parse_scores(written_out, ()).identity()


def test_a_preset_asks_for_the_models_that_it_needs() -> None:
    with pytest.raises(
        BadValue, match=r"the preset 'fineweb' needs `language: \{model: FILE\}`, .*lid.176.ftz; add it"
    ):
        parse_scores({"from": "docs", "preset": "fineweb"}, ())
    with pytest.raises(BadValue, match="no preset 'finweb'; did you mean 'fineweb'"):
        parse_scores({"from": "docs", "preset": "finweb"}, ())


def steps(scores: dict, *rules: dict, clean: dict | None = None) -> dict:
    found = {
        "docs": {"read": {"path": "data"}},
        "scores": {"score": {"from": "docs", **scores}},
        "kept": {"filter": {"from": ["clean", "scores"] if clean else "scores", "rules": list(rules)}},
    }
    return {**found, "clean": {"clean": {"from": "docs", **clean}}} if clean else found


def test_scores_of_another_variant_are_refused_before_anything_runs() -> None:
    made = {"gopher_quality": {"variant": "dolma"}, "gopher_repetition": {"variant": "nemo"}}
    wanted = r"rules\[0\].preset: .*gopher_repetition with variant: dolma, but .* variant: nemo; set `gopher_rep"
    with pytest.raises(BadValue, match=wanted):
        build(steps(made, {"preset": "gopher-dolma"}))
    made = {"preset": "fineweb", "language": {"model": "lid"}, "c4": {"terminal_punctuation": True}}
    with pytest.raises(BadValue, match="c4 with terminal_punctuation: false, but .* true; set `c4: {terminal"):
        build(steps(made, {"preset": "fineweb"}))
    with pytest.raises(BadValue, match="c4 with variant: paper, but the scores are made with variant: code"):
        build(steps({"fineweb": {}}, {"preset": "c4-page-paper"}, clean={"c4": {}}))
    assert build(steps({"gq": {"scorer": "gopher_quality"}}, {"preset": "gopher-quality", "of": "gq"}))


def test_scores_of_a_part_of_a_recipe_are_refused_before_anything_runs() -> None:
    made = {"gopher_quality": {"variant": "datatrove"}, "fineweb": {}}
    with pytest.raises(
        BadValue, match="also reads the scores of language, gopher_repetition, c4; put `preset: fineweb`"
    ):
        build(steps(made, {"preset": "fineweb"}))


def test_a_preset_over_columns_that_are_not_there_says_where_to_put_it(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    text = f"""
name: x
steps:
  docs: {{read: {{path: {tmp_path}/in.jsonl}}}}
  kept: {{filter: {{from: docs, rules: [{{preset: gopher-dolma}}]}}}}
"""
    with pytest.raises(
        ConfigError, match="no column 'gopher_quality_words'.*put `preset: gopher-dolma` into the score"
    ):
        run_yaml(tmp_path, text)


def test_of_goes_with_a_preset_of_one_scorer() -> None:
    with pytest.raises(BadValue, match=r"reads several scorers \(gopher_quality, gopher_repetition\); write its parts"):
        build(steps({"gopher_quality": {}}, {"preset": "gopher-dclm", "of": "x"}))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> dict[str, Dataset]:
    """Every recipe over every third of 722 real web pages, German and English."""
    folder, data = tmp_path_factory.mktemp("recipes"), shared / "data"
    for name, file, wanted in (
        ("pages", "web_wet_trafilatura", slice(0, None, 3)),
        ("good", "hq_text", slice(150)),
        ("poor", "lowq_webtext_nltk", slice(150)),
    ):
        with zstandard.open(data / f"{file}.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
            texts = [json.loads(line)["text"] for line in stream][wanted]
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as out:
            out.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    lines = [
        "name: recipes",
        "steps:",
        f"  docs: {{read: {{path: {folder}/pages.jsonl}}}}",
        f"  good: {{read: {{path: {folder}/good.jsonl}}}}",
        f"  poor: {{read: {{path: {folder}/poor.jsonl}}}}",
        "  cls: {train: {fasttext: {positive: good, negative: poor, bucket: 1000, dim: 4}}}",
        "  lm: {train: {ngram: {from: good, order: 2}}}",
    ]
    for name in RECIPES:
        brought = "".join(f", {e}: {BROUGHT[e].format(data=data)}" for e in PRESETS[name].scorers if e in BROUGHT)
        lines.append(f"  {name}-s: {{score: {{from: docs, preset: {name}{brought}}}}}")
        lines.append(f"  {name}: {{filter: {{from: {name}-s, rules: [{{preset: {name}}}]}}}}")
    return run_yaml(folder, "\n".join(lines))


def holds(rule: PresetRule, value: object) -> bool:
    if value is None:
        return False
    wanted = rule.value
    if rule.comparison == "equals":
        return value == wanted
    if rule.comparison == "one_of":
        return isinstance(wanted, list) and value in wanted
    assert isinstance(value, int | float) and isinstance(wanted, int | float)
    return value >= wanted if rule.comparison == "at_least" else value <= wanted


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_the_first_rule_that_a_page_fails_is_its_reason(name: str, outputs: dict[str, Dataset]) -> None:
    scores, verdicts = rows(outputs[f"{name}-s"]), rows(outputs[name])
    alive = list(range(len(scores)))
    expected: dict[int, str] = {}
    for rule in PRESETS[name].rules:
        values = {row: scores[row][rule.column] for row in alive}
        if rule.comparison == "top":
            best = sorted(alive, key=lambda row: (-values[row], scores[row]["id"]))
            kept = set(best[: max(1, int(rule.value * len(best)))])
        elif rule.comparison == "below":
            limit = np.quantile([value for value in values.values() if value is not None], rule.value["quantile"])
            kept = {row for row in alive if values[row] is not None and values[row] < limit}
        else:
            kept = {row for row in alive if holds(rule, values[row])}
        start = f"{rule.part}/{rule.suffix}" if rule.part else rule.column
        expected.update({row: start for row in alive if row not in kept})
        alive = [row for row in alive if row in kept]
    assert alive, "a recipe that keeps no real page shows nothing"
    for row, verdict in enumerate(verdicts):
        assert verdict["keep"] == (row in alive)
        assert row in alive or str(verdict["reason"]).startswith(expected[row])


@pytest.mark.slow
def test_the_recipes_drop_real_pages_for_the_reasons_that_they_are_known_for(outputs: dict[str, Dataset]) -> None:
    reasons = {name: {str(row["reason"]) for row in rows(outputs[name])} for name in RECIPES}
    assert "language" in reasons["fineweb"] & reasons["dclm"] & reasons["c4-paper"]
    assert any(reason.startswith("fineweb-quality/") for reason in reasons["fineweb"])
    assert {"quality-not-top", "refinedweb-lines/removed_words-high"} <= reasons["dclm"]
    assert "perplexity-high" in reasons["ccnet"]
    assert "c4-page-paper/sentences-low" in reasons["c4-paper"]
    assert all(any(r.startswith("gopher-quality/") for r in reasons[n]) for n in RECIPES if n.startswith("gopher"))
