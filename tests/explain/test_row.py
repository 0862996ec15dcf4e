from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from curate.core.dataset import Dataset
from curate.core.files import join
from curate.explain.row import explain_row
from curate.pipeline import RESOLVED, open_run
from curate.steps.select.features import FEATURES
from curate.steps.select.step import SELECTORS
from tests.helpers import rows
from tests.pipelines import run_yaml
from tests.steps.select.letters import Letters, Near, chats, features
from tests.steps.select.picks import selected
from tests.steps.select.pools import pool
from tests.test_pipeline import write_jsonl

GOOD = [f"The {a} of the {b} was calm and kind, and people spoke of it." for a in "abcdefgh" for b in "ijklmnop"]
POOR = [f"BUY {a} NOW!!! click {b} cheap cheap best price" for a in "abcdefgh" for b in "ijklmnop"]
PAGES = ["The evening of the village was calm. BUY!!!", "click here NOW cheap cheap price cheap", "", "Où est la gare?"]


@pytest.fixture(scope="module")
def run(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose scores are by a classifier that it trained and by a model file."""
    folder = tmp_path_factory.mktemp("explained")
    (folder / "lid.ftz").write_bytes((shared / "data/lid.176.ftz").read_bytes())
    for name, texts in (("good", GOOD), ("poor", POOR), ("in", PAGES)):
        write_jsonl(folder / f"{name}.jsonl", list(texts))
    text = f"""
name: x
steps:
  good: {{read: {{path: {folder}/good.jsonl}}}}
  poor: {{read: {{path: {folder}/poor.jsonl}}}}
  cls: {{train: {{fasttext: {{positive: good, negative: poor, bucket: 1000, dim: 8, epoch: 20, lr: 0.5}}}}}}
  docs: {{read: {{path: {folder}/in.jsonl}}}}
  s:
    score:
      from: docs
      gopher_quality: {{}}
      prose: {{scorer: quality, model: cls, label: hq}}
      language: {{model: {folder}/lid.ftz}}
"""
    run_yaml(folder / "run", text)
    return folder / "run" / "x"


def explained(run: Path, row: int) -> tuple[list[str], dict[str, object]]:
    outputs = open_run(str(run))
    values = rows(outputs["s"])[row]
    return list(explain_row(list(outputs.values()), str(values["id"]), join(str(run), RESOLVED))), values


def beneath(lines: Sequence[str], column: str) -> list[str]:
    """The indented lines beneath a column's."""
    at = next(i for i, line in enumerate(lines) if line.split()[:1] == [column])
    below = []
    for line in lines[at + 1 :]:
        if not line.startswith(" " * 8):
            break
        below.append(line.strip())
    return below


def test_the_words_that_moved_a_score_stand_beneath_it_and_add_up(run: Path) -> None:
    lines, values = explained(run, 1)
    head, *parts = beneath(lines, "prose")
    logit = float(re.fullmatch(r"log-odds of hq: (\S+), of which", head)[1])  # type: ignore[index]
    assert values["prose"] < 0.5 and logit < 0  # type: ignore[operator]
    assert sum(float(part.split()[0]) for part in parts) == pytest.approx(logit, abs=1e-3)
    assert any(re.fullmatch(r'-\d\.\d+  "cheap" x3', part) for part in parts)
    assert any('"click here"' not in part and '"' in part for part in parts) and len(parts) == 11
    assert parts[-1].endswith("other words and n-grams")
    sizes = [abs(float(part.split()[0])) for part in parts[:-1]]
    assert sizes == sorted(sizes, reverse=True)


def test_the_score_of_a_language_is_explained_for_the_language_that_was_found(run: Path) -> None:
    lines, values = explained(run, 3)
    assert values["language"] == "fr"
    assert beneath(lines, "language") == []
    assert beneath(lines, "language_score")[0].startswith("sum of the log-odds of the branches that lead to it of fr: ")


def test_a_text_without_words_and_scores_of_other_kinds_have_nothing_beneath(run: Path) -> None:
    lines, _ = explained(run, 2)
    assert beneath(lines, "language_score") == [] and beneath(lines, "gopher_quality_words") == []


def test_a_model_that_is_gone_or_has_changed_is_named_and_the_row_still_explained(run: Path) -> None:
    model = run.parent.parent / "lid.ftz"
    content = model.read_bytes()
    trained = Path(open_run(str(run))["cls"].folder) / "model.bin"
    try:
        model.unlink()
        lines, _ = explained(run, 0)
        assert "no such model file" in beneath(lines, "language_score")[0]
        assert len(beneath(lines, "prose")) > 5
        broken = bytearray(trained.read_bytes())
        broken[-64:] = bytes(64)  # the output matrix
        trained.write_bytes(broken)
        lines, _ = explained(run, 0)
        assert "has changed, it now gives 0.5" in beneath(lines, "prose")[0]
    finally:
        model.write_bytes(content)


def test_without_a_config_the_row_is_explained_without_words(run: Path) -> None:
    outputs: dict[str, Dataset] = open_run(str(run))
    row = str(rows(outputs["s"])[0]["id"])
    assert not any("of which" in line for line in explain_row(list(outputs.values()), row))


def explained_picks(tmp_path: Path, row: str) -> str:
    """The story of a row of a pool of six, of which two were taken by their letters' nearness to a target."""
    docs = pool(tmp_path / "docs", chats("aaa", "xyz", "bbb", "ccc", "ab", "ba"), shards=2)
    aim = pool(tmp_path / "aim", chats("b", "a"), step="aim", columns={"task": ["x", "y"]})
    others = {"v": features(tmp_path, docs), "t": aim, "tv": features(tmp_path, aim, name="aims")}
    near = {"features": "v", "targets": "t", "target_features": "tv", "by": "task"}
    picks = selected(tmp_path, [docs], others, budget=3, near=near)
    return "\n".join(explain_row([docs, *others.values(), picks], row))


@pytest.fixture
def by_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURES, "letters", Letters)
    monkeypatch.setitem(SELECTORS, "near", Near)


@pytest.mark.usefixtures("by_letters")
def test_a_pick_is_explained_with_its_rank_the_cut_its_example_and_the_rows_beside_it_that_were_not_taken(
    tmp_path: Path,
) -> None:
    shown = explained_picks(tmp_path, "00004")
    assert "picks (select): kept\n    pick 3 of 3 by near, score 0.707031; the last one taken has 0.707031\n" in shown
    assert '    for the task x, nearest to its example 00000 (aim.jsonl#0): "b"\n' in shown
    assert '    the best row not taken: 00005 (score 0.707031, not selected): "ba"\n' in shown
    assert shown.endswith(
        'the nearest row not taken by vectors, cosine 0.9998: 00005 (score 0.707031, not selected): "ba"'
    )


@pytest.mark.usefixtures("by_letters")
def test_a_row_that_was_not_taken_is_explained_with_those_that_were(tmp_path: Path) -> None:
    shown = explained_picks(tmp_path, "00005")
    assert (
        "not among the 3 picks by near, score 0.707031; the last one taken has 0.707031, equal ones go by id" in shown
    )
    assert '    the last row taken: 00004 (score 0.707031, pick 3): "ab"\n' in shown
    assert "the nearest row taken by vectors, cosine 0.9998: 00004" in shown


@pytest.mark.usefixtures("by_letters")
def test_a_row_without_a_feature_has_its_reason_and_no_neighbours(tmp_path: Path) -> None:
    shown = explained_picks(tmp_path, "00001")
    assert shown.endswith(
        "dropped: no-letters\n    not among the 3 picks by near, no score; the last one taken has 0.707031"
    )
