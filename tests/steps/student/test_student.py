from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pytest
import zstandard

from curate.core.errors import ConfigError
from curate.steps.student.student import Kind, Student, difference, evaluate, macro_f1, train_student

KINDS: tuple[Kind, ...] = ("logistic", "fasttext")
TEXTS = [f"the {word} number {i}" for i in range(30) for word in ("apple", "stone")]
LABELS = ["fruit", "rock"] * 30


class Says:
    """A student that always says the same."""

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels

    def predict(self, texts: Sequence[str]) -> list[str]:
        return self.labels[: len(texts)]


@pytest.fixture(scope="module")
def trec(shared: Path) -> dict[str, tuple[list[str], list[str]]]:
    with zstandard.open(shared / "data/cls_trec.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        rows = [orjson.loads(line) for line in stream]
    split = {name: [row for row in rows if row["split"] == name] for name in ("train", "test")}
    return {name: ([row["text"] for row in each], [row["label"] for row in each]) for name, each in split.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_learns_what_it_is_shown(kind: Kind) -> None:
    student = train_student(TEXTS, LABELS, kind=kind)
    assert student.predict(["an apple", "a stone"]) == ["fruit", "rock"]
    assert set(student.predict(["", "漢字", "two\nlines __label__1 apple"])) <= {"fruit", "rock"}
    assert student.predict([]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_real_questions_are_distinguished_the_same_way_every_time(
    kind: Kind, trec: dict[str, tuple[list[str], list[str]]]
) -> None:
    texts, labels = (each[:600] for each in trec["train"])
    one, two = (train_student(texts, labels, kind=kind, seed=3) for _ in range(2))
    asked, truth = trec["test"]
    assert one.predict(asked) == two.predict(asked)
    report = evaluate([one], asked, truth)
    print(kind, report)
    assert report.accuracy.value > 0.65 and report.macro_f1.value > 0.5
    assert report.accuracy.low < report.accuracy.value < report.accuracy.high
    assert (report.rows, report.students) == (500, 1)


def test_wrong_labels_are_shown_to_do_harm(trec: dict[str, tuple[list[str], list[str]]]) -> None:
    texts, labels = (each[:600] for each in trec["train"])
    wrong = [labels[(i + 1) % 600] if i % 2 else label for i, label in enumerate(labels)]
    clean, noisy = train_student(texts, labels), train_student(texts, wrong)
    found = difference([clean], [noisy], *trec["test"])
    assert found.low > 0
    assert difference([clean], [clean], *trec["test"]).high == 0
    unweighted = np.tile([1.0, 0.0], 300)  # the mislabelled rows count for nothing
    weighted = train_student(texts, wrong, weights=unweighted)
    assert difference([weighted], [noisy], *trec["test"]).value > 0


def test_a_student_on_embeddings_uses_them() -> None:
    def embed(texts: Sequence[str]) -> npt.NDArray[np.float64]:
        return np.array([[float("apple" in text), float(len(text))] for text in texts])

    student = train_student(TEXTS, LABELS, embed=embed, l2=1.0)
    assert student.predict(["apple pie", "anything else"]) == ["fruit", "rock"]


def test_macro_f1_is_the_mean_over_the_true_classes() -> None:
    truth, said = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 3])
    assert macro_f1(said, truth, 4) == pytest.approx((2 * 2 / 5 + 2 * 2 / 5 + 0) / 3)
    assert macro_f1(truth, truth, 4) == 1.0


def test_the_interval_is_as_wide_as_that_of_a_share() -> None:
    truth = ["a"] * 400
    student: Student = Says(["a"] * 320 + ["b"] * 80)
    report = evaluate([student], ["text"] * 400, truth, draws=1000)
    assert report.accuracy.value == 0.8
    assert report.accuracy.high - report.accuracy.low == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 400), rel=0.15)


def test_students_that_differ_widen_the_interval() -> None:
    truth = ["a"] * 400
    alike = [Says(["a"] * 320 + ["b"] * 80)] * 3
    apart = [Says(["a"] * n + ["b"] * (400 - n)) for n in (240, 320, 400)]
    one, two = (evaluate(each, ["text"] * 400, truth).accuracy for each in (alike, apart))
    assert one.value == two.value == pytest.approx(0.8)
    assert two.high - two.low > 2 * (one.high - one.low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "fastext"}, "did you mean 'fasttext'"),
        ({"labels": ["fruit"] * 60}, "two labels at least"),
        ({"labels": LABELS[:3]}, "a label for each text"),
        ({"kind": "fasttext", "weights": np.ones(60)}, "neither weights"),
        ({"weights": -np.ones(60)}, "weights 0 or more"),
    ],
)
def test_what_cannot_be_trained_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_student(**{"texts": TEXTS, "labels": LABELS, **change})  # type: ignore[arg-type]


def test_nothing_is_measured_on_nothing() -> None:
    student = train_student(TEXTS, LABELS)
    with pytest.raises(ConfigError, match="nothing to evaluate"):
        evaluate([student], [], [])
    with pytest.raises(ConfigError, match="as many of both"):
        difference([student], [], TEXTS, LABELS)
