from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curate.core.dataset import Dataset, write_manifest
from curate.core.digest import Plain
from curate.report.build import build_report
from curate.report.scores import Group, score_groups
from curate.report.story import Story
from curate.report.verdicts import Verdicts
from curate.report.words import says
from tests.helpers import dataset
from tests.report.test_report import section

ROWS = 60
SAMPLE: dict[str, Plain] = {
    "name": "drawn", "column": "edu", "comparison": "sample", "value": 0.25, "temperature": 2.0, "seed": 7,
    "last_id": "x", "first": 0, "all": 5,
}  # fmt: skip


def rule(column: str, comparison: str, value: Plain, failed: int = 3) -> dict[str, Plain]:
    about: dict[str, Plain] = {"column": column, "comparison": comparison, "value": value}
    return {"name": f"{column}-{comparison}", **about, "first": 0, "all": failed}


def beside(root: Path, name: str, columns: dict[str, object], **manifest: object) -> Dataset:
    """A dataset whose folder is named as a run names it."""
    made = dataset(root / name, {k: list(v) for k, v in columns.items()}, kind=str(manifest.pop("kind")))  # type: ignore[call-overload]  # any column
    made = write_manifest(made.folder, replace(made.manifest, **manifest))  # type: ignore[arg-type]  # by name
    folder = root / f"{name}-{made.manifest.digest[:8]}"
    Path(made.folder).rename(folder)
    return Dataset.open(str(folder))


def outputs(root: Path, rules: list[dict[str, Plain]]) -> dict[str, Dataset]:
    """Three scorers with twenty-odd columns, one of which is named like the beginning of another."""
    rng = np.random.default_rng(0)
    columns: dict[str, object] = {f"lines_c{i}": rng.random(ROWS).tolist() for i in range(15)}
    columns |= {"lines_same": [0.0] * ROWS, "edu": rng.random(ROWS).tolist()}
    columns |= {"edu_small": rng.random(ROWS).tolist(), "url_listed": [i % 5 == 0 for i in range(ROWS)]}
    columns |= {"url_host": [f"host-{i}" for i in range(ROWS)]}
    entries: Plain = [["lines", "lines", {}], ["edu", "quality", {}], ["edu_small", "quality", {}], ["url", "url", {}]]
    scores = beside(root, "scores", columns, kind="score", config={"scorers": entries})
    verdicts = {"keep": [i % 4 > 0 for i in range(ROWS)], "reason": [None if i % 4 else "drawn" for i in range(ROWS)]}
    inputs = {"from[0]": scores.manifest.digest}
    kept = beside(root, "kept", verdicts, kind="filter", inputs=inputs, details={"rules": rules})
    return {"scores": scores, "kept": kept}


def groups(root: Path, rules: list[dict[str, Plain]]) -> list[Group]:
    done = outputs(root, rules)
    story = Story.of(done)
    assert story is not None
    return score_groups(story, done, Verdicts.of(done["kept"]), rules)[0]


def test_columns_stand_under_the_entry_that_made_them(tmp_path: Path) -> None:
    found = groups(tmp_path, [])
    assert [(group.name, group.about, group.columns) for group in found] == [
        ("lines", "", 16),
        ("edu", "quality", 1),
        ("edu_small", "quality", 1),
        ("url", "", 2),
    ]
    assert [group.open for group in found] == [True, False, False, False]
    assert [card.column for card in found[0].constants] == ["lines_same"]


def test_what_a_rule_uses_comes_first_and_the_rest_is_folded_away(tmp_path: Path) -> None:
    rules = [rule("url_listed", "equals", False), rule("lines_c7", "at_least", 0.2), rule("lines_c3", "at_most", 2, 0)]
    found = groups(tmp_path, rules)
    assert [(group.name, group.open) for group in found[:2]] == [("url", True), ("lines", True)]
    assert [card.column for card in found[0].first] == ["url_listed"]
    assert found[0].first[0].rules == ("is false: 0 dropped",)
    assert [card.column for card in found[1].first] == ["lines_c7"]
    assert [card.column for card in found[1].others][:2] == ["lines_c3", "lines_c0"]
    assert found[1].used == 2
    assert not any(group.open for group in found[2:])


def test_the_key_of_a_sample_is_reported_and_not_drawn(tmp_path: Path) -> None:
    page = section(build_report("demo", outputs(tmp_path, [SAMPLE])), "scores")
    figure = next(each for each in page.split("<figure")[1:] if ">edu</h3>" in each)
    assert "sampled (seed 7): score / 2 + noise ≥ 0.25: 0 dropped" in figure
    assert 'class="threshold"' not in figure
    assert says({**SAMPLE, "temperature": 1.0}) == "edu sampled (seed 7): score + noise ≥ 0.25"


def test_the_thresholds_of_a_window_are_both_drawn(tmp_path: Path) -> None:
    rules = [rule("edu", "at_most", 0.8), rule("edu", "above", 0.2)]
    page = section(build_report("demo", outputs(tmp_path, rules)), "scores")
    figure = next(each for each in page.split("<figure")[1:] if ">edu</h3>" in each)
    assert figure.count('<line class="threshold"') == 2
    assert "≤ 0.8</text>" in figure
    assert "&gt; 0.2</text>" in figure


@pytest.mark.parametrize("rules", [[], [SAMPLE]])
def test_folding_needs_no_script(tmp_path: Path, rules: list[dict[str, Plain]]) -> None:
    page = section(build_report("demo", outputs(tmp_path, rules)), "scores")
    assert page.count('<details class="group"') == 4
    assert page.count("<details") == page.count("</details>")
    assert "<script" not in page
