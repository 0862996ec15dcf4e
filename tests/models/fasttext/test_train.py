from __future__ import annotations

import json
import random
from pathlib import Path

import orjson
import pytest
import zstandard

from curate.core.errors import ConfigError, RunError
from curate.models.fasttext.train import train_fasttext
from curate.steps.score.fasttext import quality
from curate.text.batch import TextBatch

SMALL = {"dim": 8, "bucket": 5000, "epoch": 25}  # so little text needs more passes


def _pieces(path: Path, size: int, count: int) -> list[str]:
    """The first texts of a file, cut to pieces of one size."""
    pieces: list[str] = []
    with zstandard.open(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            text = orjson.loads(line)["text"]
            pieces += [text[i : i + size] for i in range(0, len(text) - size, size)]
            if len(pieces) >= count:
                break
    return pieces[:count]


@pytest.fixture(scope="module")
def good(shared: Path) -> list[str]:
    return _pieces(shared / "data/hq_text.dev.jsonl.zst", 500, 400)


@pytest.fixture(scope="module")
def poor(shared: Path) -> list[str]:
    return _pieces(shared / "data/lowq_webtext_nltk.dev.jsonl.zst", 500, 400)


def test_two_runs_give_the_same_bytes_whatever_the_order_of_the_texts(
    tmp_path: Path, good: list[str], poor: list[str]
) -> None:
    one = train_fasttext(good, poor, str(tmp_path / "one"), **SMALL)
    dirty = [bytearray(b"\xfe" * 300_000) for _ in range(20)]  # what the memory held must not matter
    del dirty
    shuffled = random.Random(1).sample(good, len(good))
    two = train_fasttext(shuffled, iter(poor[::-1]), str(tmp_path / "two"), **SMALL)
    assert Path(one.model).read_bytes() == Path(two.model).read_bytes()
    assert Path(f"{one.model}.json").read_bytes() == Path(f"{two.model}.json").read_bytes()
    other = train_fasttext(good, poor, str(tmp_path / "other"), seed=1, **SMALL)
    assert Path(one.model).read_bytes() != Path(other.model).read_bytes()


def test_the_card_measures_texts_that_were_not_learnt(tmp_path: Path, good: list[str], poor: list[str]) -> None:
    trained = train_fasttext(good, poor, str(tmp_path), held_out=0.25, labels=("prose", "chat"), **SMALL)
    card = json.loads(Path(f"{trained.model}.json").read_text())
    assert card == trained.card
    held = card["held_out"]
    assert 60 <= held["texts"]["prose"] <= 140
    assert 0.9 < held["auroc"] <= 1.0
    assert held["precision"] > 0.8 and held["recall"] > 0.8
    assert held["deciles"] == sorted(held["deciles"]) and len(held["deciles"]) == 9
    page = Path(f"{trained.model}.md").read_text()
    assert card["data"]["prose"]["digest"] in page and card["model"] in page


def test_the_trained_model_scores_good_text_above_poor_text(tmp_path: Path, good: list[str], poor: list[str]) -> None:
    trained = train_fasttext(good[:300], poor[:300], str(tmp_path), **SMALL)
    score = quality(model=trained.model)
    of_good = score(TextBatch.of(good[300:]))[""].to_pylist()
    of_poor = score(TextBatch.of(poor[300:]))[""].to_pylist()
    assert sum(of_good) / len(of_good) > sum(of_poor) / len(of_poor) + 0.3


def test_a_word_that_looks_like_a_label_does_not_become_one(tmp_path: Path, good: list[str], poor: list[str]) -> None:
    mislabelled = [f"{text} __label__spam" for text in poor[:60]]
    trained = train_fasttext(good[:60], mislabelled, str(tmp_path), **SMALL)
    assert quality(model=trained.model, label="lq")(TextBatch.of(poor[:1]))[""][0].as_py() > 0
    with pytest.raises(ConfigError, match="no label 'spam'"):
        quality(model=trained.model, label="spam")


def test_an_empty_class_is_an_error(tmp_path: Path, good: list[str]) -> None:
    with pytest.raises(RunError, match="class 'lq': 0 texts"):
        train_fasttext(good, ["", " \n"], str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_too_little_data_is_an_error(tmp_path: Path, good: list[str], poor: list[str]) -> None:
    with pytest.raises(RunError, match=r"class 'hq': 5 texts.*at least 20"):
        train_fasttext(good[:5], poor, str(tmp_path))


def test_a_text_of_both_classes_is_an_error(tmp_path: Path, good: list[str], poor: list[str]) -> None:
    with pytest.raises(RunError, match="1 texts are both 'hq' and 'lq'"):
        train_fasttext(good, [*poor, good[0]], str(tmp_path))


@pytest.mark.parametrize("labels", [("a", "a"), ("", "b"), ("a b", "c")])
def test_labels_that_cannot_be_distinguished_are_refused(tmp_path: Path, labels: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="two different names"):
        train_fasttext(["x"], ["y"], str(tmp_path), labels=labels)
