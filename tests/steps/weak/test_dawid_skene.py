from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.errors import ConfigError
from curate.models.linear import fit_linear
from curate.steps.route.model import hashed_features
from curate.steps.weak.dawid_skene import dawid_skene, disagreement, majority_vote

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def labelers(accuracies: list[float], rows: int = 3000, classes: int = 3, seed: int = 0) -> tuple[Ints, Ints]:
    """True classes, and the votes of labelers that are right so often and else say any other class."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, rows, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    votes = np.empty((rows, len(accuracies)), dtype=np.int64)
    for j, accuracy in enumerate(accuracies):
        wrong = (truth + rng.integers(1, classes, rows)) % classes
        votes[:, j] = np.where(rng.random(rows) < accuracy, truth, wrong)
    return truth, votes


def test_known_labelers_are_found_out_and_the_labels_beat_the_majority() -> None:
    accuracies = [0.95, 0.6, 0.55, 0.5, 0.5]
    truth, votes = labelers(accuracies)
    found = dawid_skene(votes, classes=3)
    assert found.accuracy == pytest.approx(accuracies, abs=0.03)
    assert np.diagonal(found.confusion, axis1=1, axis2=2)[0] == pytest.approx([0.95] * 3, abs=0.04)
    assert found.prior == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=0.03)
    right, by_majority = np.mean(found.labels == truth), np.mean(majority_vote(votes, classes=3) == truth)
    assert right > 0.94 and by_majority < 0.85


def test_the_chances_are_those_of_being_right() -> None:
    truth, votes = labelers([0.8, 0.7, 0.7, 0.6])
    found = dawid_skene(votes, classes=3)
    assert found.confidence.mean() == pytest.approx(np.mean(found.labels == truth), abs=0.02)
    unsure = found.confidence < 0.8
    assert found.confidence[unsure].mean() == pytest.approx(np.mean(found.labels[unsure] == truth[unsure]), abs=0.05)


def test_votes_may_be_missing() -> None:
    truth, votes = labelers([0.9, 0.8, 0.7, 0.6])
    votes[np.random.default_rng(1).random(votes.shape) < 0.4] = -1
    votes[0] = -1
    found = dawid_skene(votes, classes=3)
    assert found.accuracy == pytest.approx([0.9, 0.8, 0.7, 0.6], abs=0.04)
    assert (found.labels[0], found.confidence[0], found.disagreement[0]) == (-1, 0.0, 0.0)
    assert found.posterior[0] == pytest.approx(found.prior)
    assert np.mean(found.labels == truth) > np.mean(majority_vote(votes, classes=3) == truth)


def test_a_labeler_that_mixes_up_two_classes_still_tells_the_third() -> None:
    rng = np.random.default_rng(0)
    truth, votes = labelers([0.8, 0.8, 0.8])
    mixed = np.where(truth == 2, 2, rng.integers(0, 2, len(truth)))
    found = dawid_skene(np.column_stack([votes, mixed]), classes=3)
    assert found.confusion[3][2, 2] > 0.95
    assert found.confusion[3][0, 1] == pytest.approx(0.5, abs=0.08)


def test_a_vote_of_low_confidence_weighs_less() -> None:
    truth, votes = labelers([0.7, 0.7, 0.7])
    rng = np.random.default_rng(3)
    right = votes == truth[:, None]
    sure = np.where(right, rng.uniform(0.5, 1, votes.shape), rng.uniform(0.05, 0.6, votes.shape))
    weighed = dawid_skene(votes, classes=3, confidence=sure)
    assert np.mean(weighed.labels == truth) > np.mean(dawid_skene(votes, classes=3).labels == truth) + 0.05
    assert majority_vote(np.array([[0, 0, 1]]), classes=2, confidence=np.array([[0.2, 0.2, 0.9]])).tolist() == [1]


def test_full_confidence_is_the_same_as_none() -> None:
    _, votes = labelers([0.9, 0.7, 0.5], rows=200)
    one, two = dawid_skene(votes, classes=3), dawid_skene(votes, classes=3, confidence=np.ones(votes.shape))
    assert (one.posterior == two.posterior).all()


def test_disagreement_is_the_entropy_of_the_votes() -> None:
    votes = np.array([[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 2, 3], [0, -1, -1, 1], [-1, -1, -1, -1]])
    assert disagreement(votes, 4).tolist() == [0.0, 1.0, 2.0, 1.0, 0.0]


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_the_order_of_rows_and_labelers_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    votes = rng.integers(-1, 3, (25, 4))
    rows, columns = rng.permutation(25), rng.permutation(4)
    one, two = dawid_skene(votes, classes=3), dawid_skene(votes[rows][:, columns], classes=3)
    assert two.posterior == pytest.approx(one.posterior[rows], abs=1e-6)
    assert two.accuracy == pytest.approx(one.accuracy[columns], abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("votes", "confidence", "message"),
    [
        (np.array([0, 1]), None, "expected"),
        (np.array([[0, 3]]), None, "3 classes"),
        (np.array([[0, -2]]), None, "3 classes"),
        (np.array([[0, 1]]), np.array([[0.5, 0.0]]), "above 0"),
        (np.array([[0, 1]]), np.array([[0.5]]), "every vote"),
    ],
)
def test_votes_that_make_no_sense_are_refused(votes: Ints, confidence: Floats | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dawid_skene(votes, classes=3, confidence=confidence)


LABELS = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
# What a person would write down in a few minutes: the first that matches votes.
START = (
    ("ABBR", ("what does", "what is the abbreviation", "what do the letters")),
    ("NUM", ("how many", "how much", "how long", "how far", "how old", "how deep", "when", "what year")),
    ("DESC", ("how", "why", "what is a ", "what are", "define", "what does")),
    ("HUM", ("who", "whose")),
    ("LOC", ("where", "what country", "what city", "what state")),
    ("ENTY", ("what kind", "what type", "which", "name the", "what color")),
)
WORD = (
    ("ABBR", (" stand for", "abbreviat", "acronym", "initials")),
    ("NUM", ("population", "date", "year", "percent", "cost", "number", "temperature", "age ")),
    ("LOC", ("country", "city", "state", "river", "located", "capital", "island", "mountain")),
    ("HUM", ("president", "actor", "author", "wrote", "person", "company", "invented", "team", "leader")),
    ("DESC", ("mean", "difference", "cause", "origin", "definition", "reason")),
    ("ENTY", ("animal", "color", "film", "book", "song", "food", "disease", "language", "sport", "game")),
)


def by_rule(texts: list[str], rules: tuple[tuple[str, tuple[str, ...]], ...], start: bool) -> Ints:
    def vote(text: str) -> int:
        for label, keys in rules:
            if any(text.startswith(key) if start else key in text for key in keys):
                return LABELS.index(label)
        return -1

    return np.array([vote(text.lower()) for text in texts])


def test_weak_labelers_of_real_questions_are_at_least_as_good_together_as_their_majority(shared: Path) -> None:
    with zstandard.open(shared / "data/cls_trec.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        rows = [orjson.loads(line) for line in stream]
    rows = [row for row in rows if row["split"] == "train"]
    known, asked = rows[:240], rows[240:1740]
    texts, truth = [row["text"] for row in asked], np.array([LABELS.index(row["label"]) for row in asked])
    columns = [by_rule(texts, START, True), by_rule(texts, WORD, False)]
    features = hashed_features([row["text"] for row in known], width=1024)
    asked_features = hashed_features(texts, width=1024)
    labels = np.array([LABELS.index(row["label"]) for row in known])
    for some in (slice(0, 40), slice(40, 80), slice(80, 240)):
        model = fit_linear(features[some], labels[some], classes=6, l2=0.1, standardise=False)
        columns.append(model.probabilities(asked_features).argmax(1))
    votes = np.column_stack(columns)
    found = dawid_skene(votes, classes=6)
    together, majority = np.mean(found.labels == truth), np.mean(majority_vote(votes, classes=6) == truth)
    actual = [np.mean(truth[votes[:, j] >= 0] == votes[votes[:, j] >= 0, j]) for j in range(votes.shape[1])]
    print(
        f"together {together:.3f}, majority {majority:.3f}, estimated {found.accuracy.round(3)}, {np.round(actual, 3)}"
    )
    assert together >= majority
    # The labelers are ordered as they are, nearly: the estimate tells the better from the worse.
    assert np.corrcoef(found.accuracy, actual)[0, 1] > 0.5
    sure = found.confidence > np.median(found.confidence)
    assert np.mean(found.labels[sure] == truth[sure]) > np.mean(found.labels[~sure] == truth[~sure]) + 0.1
    calm = found.disagreement <= np.median(found.disagreement)
    assert np.mean(found.labels[calm] == truth[calm]) > np.mean(found.labels[~calm] == truth[~calm])
