from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard

from curate.core.engine import Resources
from curate.core.errors import ConfigError, RunError
from curate.models.encoder.fit_head import Labelled, _solve, train_embedding
from curate.models.encoder.head import Settings
from curate.steps.score.embedding import embedding
from curate.text.batch import TextBatch
from tests.helpers import tree
from tests.pipelines import run_yaml


@pytest.fixture(scope="module")
def questions(shared: Path) -> list[Labelled]:
    """Real questions, those whose answer is a number labelled 5 and the others 0."""
    with zstandard.open(shared / "data/cls_trec.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        rows = [orjson.loads(next(stream)) for _ in range(600)]
    return [Labelled(f"{i:032x}", row["text"], 5.0 if row["label"] == "NUM" else 0.0) for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def encoder(shared: Path) -> str:
    return str(shared / "models/tiny-llama")


def test_a_head_learns_real_labels_and_the_scorer_gives_them(
    tmp_path: Path, questions: list[Labelled], encoder: str
) -> None:
    trained = train_embedding(questions[:500], encoder, str(tmp_path), held_out=0.2)
    held = trained.card["held_out"]
    assert held["rows"] > 60 and held["threshold"] == 3
    assert held["f1"] > 0.5 and held["auroc"] > 0.85 and held["mse"] < 0.7 * held["mse_of_the_mean"]
    columns = embedding(model=trained.model)(TextBatch.of([row.text for row in questions[500:]]))
    labels = np.array([row.label for row in questions[500:]])
    scores, rounded = columns[""].to_numpy(), columns["label"].to_numpy()
    assert scores[labels == 5].mean() > 1 + scores[labels == 0].mean()
    assert (rounded == np.rint(np.clip(scores, 0, 5))).all()


def test_the_same_bytes_whatever_the_order_of_the_rows(tmp_path: Path, questions: list[Labelled], encoder: str) -> None:
    train_embedding(questions[:120], encoder, str(tmp_path / "one"))
    train_embedding(random.Random(1).sample(questions[:120], 120), encoder, str(tmp_path / "two"))
    one = tree(tmp_path / "one")
    assert {"model.json", "model/head.json", "model/head.safetensors", "model/encoder/config.json"} < one.keys()
    assert one == tree(tmp_path / "two")


def test_the_model_holds_what_it_needs_of_the_encoder_and_no_more(
    tmp_path: Path, questions: list[Labelled], encoder: str
) -> None:
    copy = tmp_path / "encoder"
    shutil.copytree(encoder, copy, copy_function=shutil.copyfile)
    copy.chmod(0o755)
    (copy / "pytorch_model.bin").write_bytes(b"pickled")
    (copy / "onnx").mkdir()
    (copy / "onnx/model.onnx").write_bytes(b"the weights again")
    trained = train_embedding(questions[:60], str(copy), str(tmp_path / "out"))
    shutil.rmtree(copy)
    assert {path.name for path in Path(trained.model, "encoder").iterdir()} == {p.name for p in Path(encoder).iterdir()}
    assert embedding(model=trained.model)(TextBatch.of(["How many?"]))[""].null_count == 0


def test_the_head_is_the_ridge_solution() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)) + 4, rng.normal(size=50)
    for ridge in (0.0, 0.5):
        head = _solve(x, y, ridge, Settings(0, 5, 3, 8))
        strength = ridge * np.mean(np.var(x, axis=0)) * 50
        error = lambda w: ((y - y.mean() - (x - x.mean(0)) @ w) ** 2).sum() + strength * (w**2).sum()  # noqa: B023, E731
        for step in np.eye(3) * 1e-3:
            assert error(head.weight) < min(error(head.weight + step), error(head.weight - step))
        assert head.values(x).mean() == pytest.approx(y.mean(), abs=1e-6)


def test_rows_without_a_label_or_a_token_are_counted_and_left_out(
    tmp_path: Path, questions: list[Labelled], encoder: str
) -> None:
    odd = [Labelled("x", "No label?", None), Labelled("y", "Not a number?", float("nan")), Labelled("z", "", 5.0)]
    card = train_embedding([*questions[:100], *odd], encoder, str(tmp_path / "odd")).card
    assert (card["data"]["rows"], card["data"]["missing_label"], card["data"]["empty"]) == (100, 2, 1)
    plain = train_embedding(questions[:100], encoder, str(tmp_path / "plain")).card
    assert plain["model"] == card["model"] and sum(plain["data"]["labels"].values()) == 100


def test_labels_out_of_range_and_numbers_that_make_no_classifier_are_refused(
    tmp_path: Path, questions: list[Labelled], encoder: str
) -> None:
    with pytest.raises(ConfigError, match="row x: its label 7 is not from 0 to 5; set `lowest:` and `highest:`"):
        train_embedding([Labelled("x", "a", 7.0)], encoder, str(tmp_path))
    with pytest.raises(ConfigError, match="threshold 6: not above 0 and up to 5"):
        train_embedding(questions[:30], encoder, str(tmp_path), threshold=6)
    with pytest.raises(RunError, match="5 rows have a label, 1 have none; training needs at least 20"):
        train_embedding([*questions[:5], Labelled("x", "a", None)], encoder, str(tmp_path))


def test_labels_on_one_side_of_the_threshold_are_refused(
    tmp_path: Path, questions: list[Labelled], encoder: str
) -> None:
    with pytest.raises(RunError, match="0 of .* held-out labels are at least the threshold 5, .*: change `threshold`"):
        train_embedding([replace(row, label=4.0) for row in questions[:60]], encoder, str(tmp_path), threshold=5)


PIPELINE = """
name: edu
steps:
  docs: {{read: {{path: {folder}/docs.jsonl, shard_bytes: 4000}}}}
  cls: {{train: {{embedding: {{from: docs, label: {label}, encoder: {encoder}, held_out: 0.3}}}}}}
  scores: {{score: {{from: docs, edu: {{scorer: embedding, model: cls}}}}}}
  kept: {{filter: {{from: scores, rules: [{{column: edu_label, at_least: 3}}]}}}}
"""


@pytest.fixture
def pool(tmp_path: Path, questions: list[Labelled]) -> Path:
    lines = [{"text": row.text, "grade": row.label, "kind": "question", "nothing": None} for row in questions[:150]]
    lines[3]["grade"] = None
    (tmp_path / "docs.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return tmp_path


def test_a_pipeline_trains_scores_and_filters(pool: Path, encoder: str) -> None:
    text = PIPELINE.format(folder=pool, label="grade", encoder=encoder)
    outputs = run_yaml(pool / "one", text)
    assert len(outputs["docs"].shards) > 1
    card = outputs["cls"].manifest.details["card"]
    assert card["data"]["rows"] == 149 and card["data"]["missing_label"] == 1
    assert 0 < outputs["kept"].manifest.counts["kept"] < 150


@pytest.mark.slow
def test_two_workers_train_the_same_bytes_as_one(pool: Path, encoder: str) -> None:
    text = PIPELINE.format(folder=pool, label="grade", encoder=encoder)
    text = text[: text.index("  scores:")]
    for name, workers in (("one", 1), ("two", 2)):
        run_yaml(pool / name, text, resources=Resources(workers=workers))
    assert tree(pool / "one") == tree(pool / "two")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("grades", "no column 'grades' of labels in docs; did you mean 'grade'"),
        ("text", "the column 'text' holds .*string, not numbers"),
        ("kind", "the column 'kind' holds string, not numbers"),
        ("nothing", "no row has a label in 'nothing'; known: .*grade"),
    ],
)
def test_a_column_that_gives_no_labels_is_refused(pool: Path, encoder: str, label: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_yaml(pool / "run", PIPELINE.format(folder=pool, label=label, encoder=encoder))


def test_labels_of_empty_texts_are_refused(pool: Path, encoder: str) -> None:
    lines = [json.dumps({"text": "", "grade": i % 6}) for i in range(30)]
    (pool / "docs.jsonl").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="the 30 rows with a label in 'grade' have no text; give it others"):
        run_yaml(pool / "run", PIPELINE.format(folder=pool, label="grade", encoder=encoder))
