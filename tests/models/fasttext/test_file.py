"""Model files that are damaged, contradict themselves or hold no numbers: refused in one line, never a crash or a NaN."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import fasttext
import numpy as np
import pytest

from curate.core.errors import ModelError
from curate.models.fasttext.file import HIERARCHICAL, ONE_VS_ALL, SOFTMAX, read_model
from curate.models.fasttext.linear import linear_model
from curate.models.fasttext.write import write_model
from curate.steps.score.fasttext import language, quality
from curate.text.batch import TextBatch

WORDS = {"</s>": 9, "rain": 5, "wind": 3, "über": 1}
LABELS = {"__label__a": 5, "__label__b": 3, "__label__c": 2}
TEXTS = ["rain and wind über all", "unknown words", "", "日本語 rain\nrain"]


def write(path: Path, loss: int = SOFTMAX, rows: int = 300, **more: int) -> bytes:
    random = np.random.default_rng(1)
    table = random.normal(size=(len(WORDS) + rows, 4)).astype(np.float32)
    output = random.normal(size=(len(LABELS), 4)).astype(np.float32)
    write_model(str(path), WORDS, LABELS, table, output, loss=loss, **{"word_ngrams": 2, "minn": 2, "maxn": 3, **more})
    return path.read_bytes()


def quantised(path: Path) -> bytes:
    write(path, rows=600)
    model = fasttext.load_model(str(path))
    model.quantize(retrain=False, cutoff=300, qnorm=True)
    model.save_model(str(path))
    return path.read_bytes()


def test_a_model_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.ftz"
    for data in (write(path), quantised(path)):
        for size in [*range(0, 300), *range(300, len(data), 97), len(data) - 1]:
            path.write_bytes(data[:size])
            with pytest.raises(ModelError, match=r"cut short|not a fastText model"):
                read_model(str(path))


def test_a_model_with_any_changed_byte_is_refused_or_gives_probabilities(tmp_path: Path) -> None:
    path = tmp_path / "m.ftz"
    random = np.random.default_rng(7)
    refused = 0
    for data in (write(path, HIERARCHICAL), write(path, ONE_VS_ALL), quantised(path)):
        for at in [*range(8, 180), *random.integers(180, len(data), 20).tolist()]:
            for value in (0x7F, 0xFF):
                path.write_bytes(data[:at] + bytes([value]) + data[at + 1 :])
                try:
                    columns = language(model=str(path))(TextBatch.of(TEXTS))
                except ModelError as error:
                    assert "\n" not in str(error)
                    refused += 1
                else:
                    assert all(0.0 <= score <= 1.0 for score in columns["score"].to_pylist()), (at, value)
    assert refused > 200


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "m.bin"
    data = write(path)
    for at in (len(data) - 4, len(data) - 65 - 4000):  # the output and the input matrix
        path.write_bytes(data[:at] + struct.pack("<f", bad) + data[at + 4 :])
        with pytest.raises(ModelError, match="not finite"):
            language(model=str(path))


@pytest.mark.parametrize("loss", [SOFTMAX, ONE_VS_ALL, HIERARCHICAL])
def test_huge_weights_give_probabilities(tmp_path: Path, loss: int) -> None:
    path = tmp_path / "m.bin"
    table = np.full((len(WORDS), 4), 1e15, np.float32)
    output = np.array([[1e15] * 4, [-1e15] * 4, [0.0] * 4], np.float32)
    write_model(str(path), WORDS, LABELS, table, output, loss=loss)
    scores = language(model=str(path))(TextBatch.of(TEXTS))["score"].to_pylist()
    assert all(0.0 <= score <= 1.0 for score in scores)


def test_one_word_a_million_times_is_scored_as_that_word(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    write(path)
    score = quality(model=str(path), label="a")
    thousand, million, long = score(TextBatch.of(["rain " * 1000, "rain " * 1_000_000, "rain" * 250_000]))[
        ""
    ].to_pylist()
    assert million == pytest.approx(thousand, abs=1e-3)
    assert 0.0 < long < 1.0


def test_a_worker_holds_a_number_a_row_for_two_labels_and_no_matrix(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    rows, output = np.ones((200_004, 25), np.float32), np.ones((2, 25), np.float32)
    write_model(str(path), WORDS, {"__label__a": 2, "__label__b": 1}, rows, output, word_ngrams=2)
    model = linear_model(read_model(str(path)))
    assert path.stat().st_size > 20_000_000
    assert model.nbytes < 4 * len(rows) + 1000
