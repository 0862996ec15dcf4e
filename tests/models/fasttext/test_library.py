"""The scores against those of the fastText library, for every kind of model that it makes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import fasttext
import numpy as np
import orjson
import pyarrow as pa
import pytest
import zstandard

from curate.models.fasttext.explain import Logit, label_logit
from curate.models.fasttext.features_kernel import BLOCK
from curate.models.fasttext.file import HIERARCHICAL, NEGATIVE, ONE_VS_ALL, SOFTMAX, read_model
from curate.models.fasttext.write import write_model
from curate.steps.score.fasttext import language, quality
from curate.text.batch import TextBatch

ADDED = 1e-5  # by the library, to every probability
ODD = [
    "",
    " \n\t ",
    "\0",
    "a\0b \0",
    "word",
    "the end </s> of the rain",
    "</s>",
    "</s> </s>",
    "__label__a __label__z",
    "rain __label__a of __label__zzz the garden",
    "\u00a0the\u00a0garden\u00a0",
    "\x1fthe\x1fgarden\x1f",
    "the\x1cgarden\x1dof\x1ethe\x85rain\u2028that\u2029was\x0bthe\x0cend",
    "\u2028\u3000the garden \u0085\u2003",
    "\u0085",
    "\u00c2the\u00e2 Â… ⁨",
    "Der Regen hörte auf. 日本語のテキストです。 😀😀 ภาษาไทย",
    "x" * 3000,
    "rain " * (2 * BLOCK + 7),
    "the garden was quiet and nobody knew " * (BLOCK // 7 + 3),
]
LOSSES = {"softmax": SOFTMAX, "ova": ONE_VS_ALL, "hs": HIERARCHICAL, "ns": NEGATIVE}


@dataclass(frozen=True)
class Shape:
    """What kind of model: its loss, how many labels and dimensions, which n-grams, and how it is quantised."""

    loss: str
    labels: int
    dimension: int = 12
    word_ngrams: int = 1
    minn: int = 0
    maxn: int = 0
    quantised: dict[str, object] | None = None

    def __str__(self) -> str:
        kind = "ftz" if self.quantised is not None else "bin"
        more = "".join(f"-{k}" for k in self.quantised or ())
        return f"{self.loss}{self.labels}-d{self.dimension}-w{self.word_ngrams}-c{self.minn}{self.maxn}-{kind}{more}"


SHAPES = [
    Shape("softmax", 2),
    Shape("softmax", 2, word_ngrams=2),
    Shape("softmax", 2, word_ngrams=5, minn=3, maxn=6),
    Shape("softmax", 1),
    Shape("softmax", 5, minn=1, maxn=3),
    Shape("softmax", 20, word_ngrams=3),
    Shape("ova", 2, word_ngrams=2),
    Shape("ova", 20, minn=2, maxn=4),
    Shape("ns", 3),
    Shape("hs", 1),
    Shape("hs", 2, word_ngrams=2),
    Shape("hs", 9, minn=2, maxn=5),
    Shape("hs", 30, word_ngrams=2, minn=2, maxn=4),
    Shape("softmax", 2, word_ngrams=2, quantised={}),
    Shape("softmax", 2, word_ngrams=2, minn=2, maxn=3, quantised={"cutoff": 300, "qnorm": True}),
    Shape("softmax", 20, dimension=7, word_ngrams=2, quantised={"qnorm": True}),
    Shape("softmax", 300, dimension=8, quantised={"qout": True, "dsub": 3}),
    Shape("ova", 4, word_ngrams=2, quantised={"cutoff": 300}),
    Shape("hs", 20, minn=2, maxn=4, quantised={"cutoff": 300, "qnorm": True}),
]


@pytest.fixture(scope="module")
def texts(shared: Path) -> list[str]:
    """Real sentences in many languages, and texts that are odd on purpose."""
    with zstandard.open(shared / "data/langid_lingua79.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        real = [orjson.loads(line)["text"] for line in stream]
    return [*ODD, *real[::23], "\n".join(real[:200])]


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def model(request: pytest.FixtureRequest, texts: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with random weights over half of the texts' words."""
    shape: Shape = request.param
    words = {"</s>": 9, **{word: 2 for word in sorted({w for text in texts for w in text.split()})[::2]}}
    words = {word: n for word, n in words.items() if not word.startswith("__label__") and "\0" not in word}
    labels = {f"__label__{chr(97 + i % 26)}{i}": 1000 // (i + 1) for i in range(shape.labels)}
    random = np.random.default_rng(5)
    rows = random.normal(size=(len(words) + 2003, shape.dimension)).astype(np.float32)
    output = random.normal(scale=2.0, size=(shape.labels, shape.dimension)).astype(np.float32)
    path = tmp_path_factory.mktemp("model") / "model.bin"
    more = {"word_ngrams": shape.word_ngrams, "minn": shape.minn, "maxn": shape.maxn}
    write_model(str(path), words, labels, rows, output, loss=LOSSES[shape.loss], **more)
    if shape.quantised is None:
        return str(path)
    loaded = fasttext.load_model(str(path))
    loaded.quantize(retrain=False, **shape.quantised)
    loaded.save_model(str(path.with_suffix(".ftz")))
    return str(path.with_suffix(".ftz"))


@pytest.fixture(scope="module")
def expected(model: str, texts: Sequence[str]) -> list[dict[str, float]]:
    return library(model, texts)


def within(text: str) -> float:
    """What may lie between the scores: the library sums in 32 bits, which shows where random rows are many."""
    return 1e-5 if len(text) < 2000 else 2e-4


def library(model: str, texts: Sequence[str]) -> list[dict[str, float]]:
    """The probability of every label as the library has it, less what it adds; {} for a text it has no answer to."""
    loaded = fasttext.load_model(model)
    answers = []
    for text in texts:
        line = " ".join(text.strip().splitlines())
        (names,), (values,) = loaded.predict([line], k=-1) if line else ([[]], [[]])
        answers.append({n: min(max(float(p) - ADDED, 0.0), 1.0) for n, p in zip(names, values, strict=True)})
    return answers


def beside_a_step(logit: Logit, text: str) -> bool:
    """Whether rounding may decide which step of the library's table of the logistic function is meant."""
    value = logit.of(text)
    return value is not None and abs(value * 32 - round(value * 32)) < 1e-3


def test_the_probability_of_a_label_is_that_of_the_library(
    model: str, texts: Sequence[str], expected: Sequence[Mapping[str, float]]
) -> None:
    file = read_model(model)
    batch = TextBatch.of(texts)
    near = 0
    for label in file.labels[:: max(1, len(file.labels) // 3)]:
        found = quality(model=model, label=label)(batch)[""].to_pylist()
        for text, value, answer in zip(texts, found, expected, strict=True):
            if abs(value - answer.get(label, 0.0)) > within(text):
                assert file.loss in (ONE_VS_ALL, NEGATIVE), (label, text[:80])
                assert beside_a_step(label_logit(file, label), text), (label, text[:80])
                near += 1
    assert near <= len(texts) // 50


def test_the_best_label_is_that_of_the_library(
    model: str, texts: Sequence[str], expected: Sequence[Mapping[str, float]]
) -> None:
    loss = read_model(model).loss
    columns = language(model=model)(TextBatch.of(texts))
    for text, name, score, answer in zip(
        texts, columns[""].to_pylist(), columns["score"].to_pylist(), expected, strict=True
    ):
        best = max(answer.values(), default=0.0)
        assert (name is None) == (not answer), text[:80]
        if answer:
            assert answer[f"__label__{name}"] == pytest.approx(best, abs=within(text)), text[:80]
            if loss in (SOFTMAX, HIERARCHICAL):
                assert score == pytest.approx(best, abs=within(text)), text[:80]


def test_the_contributions_of_words_and_ngrams_add_up_to_the_logit(model: str, texts: Sequence[str]) -> None:
    file = read_model(model)
    label = file.labels[len(file.labels) // 2]
    logit = label_logit(file, label)
    scores = quality(model=model, label=label)(TextBatch.of(texts))[""].to_pylist()
    for text, score in zip(texts, scores, strict=True):
        parts = logit.contributions(text)
        value = logit.of(text)
        assert math.fsum(part.value for part in parts) == pytest.approx(value or 0.0, abs=1e-5)
        assert all(part.count > 0 for part in parts) and bool(parts) == (value is not None)
        if value is not None and file.loss in (SOFTMAX, HIERARCHICAL) and len(file.labels) == 2:
            assert 1 / (1 + math.exp(-value)) == pytest.approx(score, abs=3e-5 if file.loss == HIERARCHICAL else 1e-5)
        elif value is not None and file.loss in (ONE_VS_ALL, NEGATIVE):
            assert 1 / (1 + math.exp(-value)) == pytest.approx(score, abs=0.008)


def test_the_logits_of_all_labels_give_the_softmax(model: str, texts: Sequence[str]) -> None:
    file = read_model(model)
    if file.loss != SOFTMAX or not 2 < len(file.labels) < 50:
        return
    few = texts[4:40:3]
    logits = np.array([[label_logit(file, label).of(text) for text in few] for label in file.labels])
    expected = np.exp(logits) / np.exp(logits).sum(axis=0)
    for i in (0, len(file.labels) - 1):
        assert quality(model=model, label=file.labels[i])(TextBatch.of(few))[""].to_numpy() == pytest.approx(
            expected[i], abs=1e-5
        )


def test_invalid_bytes_count_as_replacement_characters(model: str) -> None:
    raw = [b"the \xff garden\xc3", b"\xed\xa0\x80 rain", b"fine", b"\x80", b"\xe2\x80"]
    replaced = [each.decode("utf-8", "replace") for each in raw]
    label = read_model(model).labels[0]
    found = quality(model=model, label=label)(TextBatch(pa.array(raw, pa.binary()).view(pa.string())))[""].to_pylist()
    assert found == quality(model=model, label=label)(TextBatch.of(replaced))[""].to_pylist()


def test_the_languages_of_real_pages_are_those_of_the_library(shared: Path) -> None:
    with zstandard.open(shared / "data/web_wet_trafilatura.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        pages = [orjson.loads(line)["text"] for line in stream][::5]
    lid = str(shared / "data/lid.176.ftz")
    columns = language(model=lid)(TextBatch.of(pages))
    loaded = fasttext.load_model(lid)
    names, values = loaded.predict([" ".join(page.strip().splitlines()) for page in pages])
    assert columns[""].to_pylist() == [name[0].removeprefix("__label__") for name in names]
    differences = np.abs(columns["score"].to_numpy() - np.minimum(np.concatenate(values) - ADDED, 1.0))
    assert len(pages) > 100 and differences.max() < 1e-5
