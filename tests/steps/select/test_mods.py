"""The recipe of MoDS, stage by stage, with small models on real rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest
import yaml

from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.progress import Progress
from curate.pipeline import Pipeline
from tests.helpers import ROOT, rows
from tests.pipelines import run_yaml
from tests.steps.select.pools import dolly
from tests.steps.select.spaces import minilm

RECIPE = ROOT / "configs" / "select-mods.yaml"
STAGES = [
    "quality",
    "good",
    "questions",
    "seeds",
    "initial",
    "answers",
    "answered",
    "weak",
    "silent",
    "needed",
    "added",
    "picks",
    "out",
]


def test_the_recipe_has_its_stages_as_steps_in_their_order() -> None:
    names = [node.name for node in Pipeline.load(str(RECIPE)).nodes]
    assert names == ["pool", *STAGES]


def test_a_row_is_needed_where_the_answer_is_poor_or_empty(tmp_path: Path) -> None:
    stages = yaml.safe_load(RECIPE.read_text())["steps"]
    said = {"messages": [{"role": "user", "content": "Hi"}]}
    found = [(3, -1.0), (3, 1.0), (0, None), (None, None)]  # the last was not answered
    lines = [orjson.dumps({**said, "tokens": tokens, "reward": reward}) for tokens, reward in found]
    (tmp_path / "pool.jsonl").write_bytes(b"\n".join(lines))
    steps = {"pool": {"read": {"path": f"{tmp_path}/pool.jsonl", "conversations": "messages"}}}
    for name in ("weak", "silent"):
        steps[name] = {"filter": {**stages[name]["filter"], "from": "pool"}}
    text = yaml.safe_dump({"name": "t", "steps": {**steps, "needed": stages["needed"]}})
    assert [row["keep"] for row in rows(run_yaml(tmp_path, text)["needed"])] == [True, False, True, False]


Run = Callable[..., dict[str, Dataset]]


@pytest.fixture(scope="module")
def recipe(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the recipe itself, with other paths, budgets and sizes, and further changes."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("mods")
    base = shared / "models" / "tiny-llama"
    torch.manual_seed(0)
    judge = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    judge.save_pretrained(folder / "reward")
    AutoTokenizer.from_pretrained(base).save_pretrained(folder / "reward")
    lines = [orjson.dumps({"messages": [turn._asdict() for turn in each]}) for each in dolly(shared, 60)]
    (folder / "pool.jsonl").write_bytes(b"\n".join(lines))
    changed = {
        "pool.read": f"{{path: {folder}/pool.jsonl, conversations: messages, shard_bytes: 20000}}",
        "quality.score.reward": f"{{model: {folder}/reward, context: 256}}",
        "good.filter.rules.0": "{column: reward, above: {quantile: 0.5}}",
        "questions.features.embedding.model": minilm(),
        "seeds.select.budget": "8",
        "initial.train.finetune": f"{{from: [pool, seeds], model: {base}, lora: {{rank: 4}}, lr: 1.0e-3, epochs: 1, context: 256}}",
        "answers.answer": "{from: [pool, good], model: initial, max_tokens: 8}",
        "answered.score.reward": f"{{model: {folder}/reward, context: 256}}",
        "weak.filter.rules.0": "{column: reward, below: {quantile: 0.5}}",
    }

    def run(**more: str) -> dict[str, Dataset]:
        overrides = [f"steps.{key}={value}" for key, value in {**changed, **more}.items()]
        pipeline = Pipeline.load(str(RECIPE), overrides)
        return pipeline.run(str(folder), LocalEngine(), Resources(workers=1), Progress("quiet"))

    return run


@pytest.fixture(scope="module")
def run(recipe: Run) -> dict[str, Dataset]:
    """The outputs of all steps."""
    return recipe()


def kept(data: Dataset) -> set[str]:
    return {str(row["id"]) for row in rows(data) if row["keep"]}


def numbers(data: Dataset) -> dict[str, float | None]:
    return {str(row["id"]): row["reward"] for row in rows(data)}  # type: ignore[misc]


@pytest.mark.slow
def test_each_stage_takes_what_the_one_before_it_left(run: dict[str, Dataset]) -> None:
    quality, again = numbers(run["quality"]), numbers(run["answered"])
    good, seeds, needed, added, picks = (kept(run[name]) for name in ("good", "seeds", "needed", "added", "picks"))
    line = np.quantile([each for each in quality.values() if each is not None], 0.5)
    assert good == {key for key, each in quality.items() if each is not None and each > line}
    assert len(seeds) == 8
    assert seeds < good

    said = {row["id"]: row["messages"] for row in rows(run["pool"])}
    answers = {row["id"]: row for row in rows(run["answers"])}
    assert {key for key, row in answers.items() if row["answered"]} == {
        key for key, each in again.items() if each is not None
    }
    for key, row in answers.items():
        assert (row["messages"] is not None) == bool(row["answered"])
        if row["answered"]:
            assert key in good
            assert row["messages"][:-1] == said[key][:-1]
            assert row["messages"][-1]["role"] == "assistant"
    assert sum(row["messages"] != said[key] for key, row in answers.items() if row["answered"]) > len(good) / 2

    line = np.quantile([again[key] for key in good if again[key] is not None], 0.5)
    assert kept(run["weak"]) == {key for key in good if again[key] is not None and again[key] < line}
    assert kept(run["silent"]) == {key for key, row in answers.items() if row["tokens"] == 0}
    assert needed == kept(run["weak"]) | kept(run["silent"])
    assert added < needed
    assert not added & seeds
    assert picks == seeds | added


@pytest.mark.slow
def test_what_was_picked_is_published_and_reported(run: dict[str, Dataset]) -> None:
    assert {row["id"] for row in rows(run["out"])} == kept(run["picks"])
    report = Path(run["pool"].folder).parent / "report.html"
    page = report.read_text()
    assert all(f'id="pick-{name}"' in page for name in ("seeds", "added", "picks"))
    assert "not-kept" not in page.split('<section id="funnel">')[1].split("</section>")[0]


@pytest.mark.slow
def test_after_another_threshold_of_necessity_only_what_follows_is_done_again(
    run: dict[str, Dataset], recipe: Run
) -> None:
    again = recipe(**{"weak.filter.rules.0": "{column: reward, below: {quantile: 0.9}}"})
    same = [name for name in STAGES if again[name].manifest.digest == run[name].manifest.digest]
    assert same == [*STAGES[: STAGES.index("weak")], "silent"]
    assert kept(run["needed"]) < kept(again["needed"])
    assert kept(again["picks"]) == kept(run["seeds"]) | kept(again["added"])
