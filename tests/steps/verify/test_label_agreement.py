from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import fasttext
import orjson
import pytest
import zstandard

from curate.core.errors import ConfigError, ModelError
from curate.steps.score.fasttext import language, quality
from curate.steps.verify.batch import VerifyBatch
from curate.steps.verify.label_agreement import label_agreement
from curate.text.batch import TextBatch

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def questions(shared: Path) -> Rows:
    """Real questions of six kinds."""
    with zstandard.open(shared / "data/cls_trec.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        return [orjson.loads(next(stream)) for _ in range(2500)]


@pytest.fixture(scope="module")
def model(questions: Rows, tmp_path_factory: pytest.TempPathFactory) -> str:
    return train(tmp_path_factory.mktemp("topics"), questions[:2000], "softmax")


def train(folder: Path, rows: Rows, loss: str) -> str:
    lines = "".join(f"__label__{row['label']} {row['text']}\n" for row in rows)
    (folder / "train.txt").write_text(lines)
    model = str(folder / "topics.bin")
    arguments = {"dim": 10, "epoch": 20, "lr": 0.5, "bucket": 20_000, "wordNgrams": 2, "thread": 1, "verbose": 0}
    asked = json.dumps({"input": str(folder / "train.txt"), "loss": loss, **arguments})
    # The library reads memory that it has not written: in a process of its own that memory is zero.
    program = "import json, sys, fasttext; fasttext.train_supervised(**json.loads(sys.argv[1])).save_model(sys.argv[2])"
    env = {**os.environ, "MALLOC_PERTURB_": "255"}
    subprocess.run([sys.executable, "-c", program, asked, model], env=env, check=True, capture_output=True)
    return model


def judged(model: str, rows: list[dict], **args: str) -> dict[str, list]:
    batch = VerifyBatch.of([{"id": str(i), **row} for i, row in enumerate(rows)])
    return {name: each.to_pylist() for name, each in label_agreement(model=model, **args)(batch).items()}


def test_the_probabilities_are_those_of_the_library(model: str, questions: Rows) -> None:
    rows = questions[2000:2100]
    found = judged(model, rows)
    labels, likely = fasttext.load_model(model).predict([row["text"] for row in rows], k=-1)
    for i, row in enumerate(rows):
        known = {
            label.removeprefix("__label__"): float(p) - 1e-5 for label, p in zip(labels[i], likely[i], strict=True)
        }
        assert found["own"][i] == pytest.approx(known[row["label"]], abs=2e-5)
        assert found["probability"][i] == pytest.approx(max(known.values()), abs=2e-5)
        assert known[found["label"][i]] == max(known.values())


def test_they_agree_with_the_scorers(model: str, questions: Rows) -> None:
    rows = questions[2000:2200]
    found, texts = judged(model, rows), TextBatch.of([row["text"] for row in rows])
    assert found["label"] == language(model=model)(texts)[""].to_pylist()
    alone = quality(model=model, label="NUM")(texts)[""].to_pylist()
    of = judged(model, [{**row, "label": "NUM"} for row in rows])["own"]
    assert of == pytest.approx(alone, abs=2e-6)


def test_real_labels_are_agreed_with_and_wrong_ones_are_not(model: str, questions: Rows) -> None:
    rows = questions[2000:]
    wrong = {"NUM": "LOC", "LOC": "HUM", "HUM": "ENTY", "ENTY": "DESC", "DESC": "ABBR", "ABBR": "NUM"}
    right = judged(model, rows)["agrees"]
    mislabelled = judged(model, [{**row, "label": wrong[row["label"]]} for row in rows])
    assert sum(right) / len(rows) > 0.75
    assert sum(mislabelled["agrees"]) / len(rows) < 0.15
    assert not any(a and b for a, b in zip(right, mislabelled["agrees"], strict=True))


def test_what_cannot_be_judged_is_null(model: str) -> None:
    asked = "How many people live in Ohio ?"
    rows = [{"text": " ", "label": "NUM"}, {"text": asked, "label": "COLOUR"}, {"text": asked, "label": None}]
    found = judged(model, rows)
    assert found["label"] == [None, "NUM", "NUM"] and found["own"] == [None] * 3 and found["agrees"] == [None] * 3
    assert found["probability"][0] is None and found["probability"][1] > 0.5


def test_labels_may_carry_the_prefix_or_stand_in_another_column(model: str) -> None:
    plain = judged(model, [{"text": "How many are there?", "label": "NUM"}])
    assert plain == judged(model, [{"text": "How many are there?", "label": "__label__NUM"}])
    named = [{"question": "How many are there?", "kind": "NUM"}]
    assert plain == judged(model, named, column="question", label="kind")


def test_labels_that_are_numbers_are_read_as_they_are_written(tmp_path: Path, questions: Rows) -> None:
    numbered = [{**row, "label": str(int(row["label"] == "NUM"))} for row in questions[:1000]]
    two = train(tmp_path, numbered, "softmax")
    text = "How many people live in Ohio ?"
    assert judged(two, [{"text": text, "label": 1}]) == judged(two, [{"text": text, "label": "1"}])


def test_the_company_of_a_row_changes_no_bit(model: str, questions: Rows) -> None:
    rows = questions[2000:2020]
    together = judged(model, rows)
    for i, row in enumerate(rows):
        assert {name: each[0] for name, each in judged(model, [row]).items()} == {n: e[i] for n, e in together.items()}


def test_a_model_or_a_column_that_will_not_do_is_refused(tmp_path: Path, model: str, questions: Rows) -> None:
    with pytest.raises(ModelError, match="train it with loss softmax"):
        label_agreement(model=train(tmp_path, questions[:200], "ova"))
    with pytest.raises(ConfigError, match="label_agreement: the rows have no column 'label'; .*`label:` is the column"):
        judged(model, [{"text": "How many?"}])
    with pytest.raises(ModelError):
        label_agreement(model="/nowhere.bin")
