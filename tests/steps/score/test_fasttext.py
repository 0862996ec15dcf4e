from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
import zstandard

from curate.core.errors import ModelError
from curate.models.fasttext.train import train_fasttext
from curate.steps.score.fasttext import language, quality
from curate.text.batch import TextBatch

TEXTS = ["Das ist ein altes Haus.", "C'est la vie,\nmon ami.", "", None, " \n\t ", "Où est la gare?"]


@pytest.fixture(scope="module")
def lid(shared: Path) -> str:
    return str(shared / "data/lid.176.ftz")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("classifier")
    good = [f"the harvest of {year} was good in the valley" for year in range(1900, 1990)]
    poor = [f"click here now to win prize number {n} !!!" for n in range(90)]
    return train_fasttext(good, poor, str(folder), dim=4, bucket=1000, epoch=20).model


def test_the_language_of_short_texts_is_named_with_its_probability(lid: str) -> None:
    columns = language(model=lid)(TextBatch.of(TEXTS))
    assert columns[""].to_pylist() == ["de", "fr", None, None, None, "fr"]
    assert columns["score"].to_pylist()[2:5] == [0.0, 0.0, 0.0]
    assert all(0.5 < columns["score"][i].as_py() <= 1.0 for i in (0, 1, 5))


def test_languages_of_real_sentences_are_mostly_right(lid: str, shared: Path) -> None:
    wanted = {"en", "de", "fr", "es", "ru", "zh", "ja", "ko", "ar", "el", "th", "tr"}
    with zstandard.open(shared / "data/langid_lingua79.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        rows = [row for row in map(orjson.loads, stream) if row["lang"] in wanted and row["kind"] == "sentences"]
    found = language(model=lid)(TextBatch.of([row["text"] for row in rows]))[""].to_pylist()
    right = Counter(row["lang"] for row, lang in zip(rows, found, strict=True) if row["lang"] == lang)
    assert len(rows) > 200
    assert right.total() / len(rows) > 0.95


def test_the_choice_can_be_limited_to_some_languages(lid: str) -> None:
    columns = language(model=lid, languages=["fr", "__label__nl"])(TextBatch.of(["C'est la vie, mon ami."]))
    assert columns[""].to_pylist() == ["fr"]
    with pytest.raises(ModelError, match="did you mean 'en'"):
        language(model=lid, languages=["eng"])
    with pytest.raises(ModelError, match="`languages` is empty"):
        language(model=lid, languages=[])


def test_quality_is_the_probability_of_the_label(classifier: str) -> None:
    batch = TextBatch.of(["the harvest was good", "click here now !!!", "", None])
    good = quality(model=classifier, label="hq")(batch)[""]
    poor = quality(model=classifier, label="__label__lq")(batch)[""].to_pylist()
    assert good.type == pa.float64()
    values = good.to_pylist()
    assert values[0] > 0.5 > values[1] and values[2:] == [0.0, 0.0]
    # The library returns each probability with 1e-5 added; without it they sum to one.
    assert values[0] + poor[0] == pytest.approx(1.0, abs=1e-6)
    assert quality(model=classifier)(batch)[""].to_pylist() == values


def test_the_lines_of_a_text_are_joined_by_spaces(classifier: str) -> None:
    score = quality(model=classifier)
    joined, lines, padded = score(TextBatch.of(["a b c d", "a b\nc\r\nd", "\n a b c\u2028d \n\n"]))[""].to_pylist()
    assert joined == lines == padded


def test_scores_do_not_depend_on_the_batch(lid: str, classifier: str) -> None:
    for score in (language(model=lid), quality(model=classifier)):
        whole = score(TextBatch.of(TEXTS))
        for i, text in enumerate(TEXTS):
            alone = score(TextBatch.of([text]))
            assert {k: v.to_pylist() for k, v in alone.items()} == {k: [v[i].as_py()] for k, v in whole.items()}
        empty = score(TextBatch.of([]))
        assert {k: (v.type, len(v)) for k, v in empty.items()} == {k: (v.type, 0) for k, v in whole.items()}


def test_invalid_utf8_and_nul_bytes_are_scored(lid: str) -> None:
    raw = pa.array([b"C'est \xff la \x00 vie\xc3", b"\xed\xa0\x80"]).cast(pa.large_binary()).view(pa.large_string())
    assert len(language(model=lid)(TextBatch(raw))[""]) == 2


def test_an_unknown_label_is_refused_with_the_nearest_and_the_others(classifier: str, lid: str) -> None:
    with pytest.raises(ModelError, match=r"no label 'hqq'; did you mean 'hq'\? \(known: hq, lq\)"):
        quality(model=classifier, label="hqq")
    with pytest.raises(ModelError, match="name the label"):
        quality(model=lid)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.bin: no such model file"):
        quality(model=str(tmp_path / "none.bin"))


@pytest.mark.parametrize("content", [b"", b"x", b"not a model at all" * 100, bytes(4096)])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.bin").write_bytes(content)
    with pytest.raises(ModelError, match="not a fastText model"):
        language(model=str(tmp_path / "m.bin"))


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_model_that_was_cut_short_is_refused(tmp_path: Path, lid: str, classifier: str, part: float) -> None:
    for model in (lid, classifier):
        data = Path(model).read_bytes()
        (tmp_path / "cut").write_bytes(data[: int(len(data) * part)])
        with pytest.raises(ModelError, match=r"cut short|not a fastText model"):
            language(model=str(tmp_path / "cut"))


def test_word_vectors_are_not_a_classifier(tmp_path: Path, classifier: str) -> None:
    data = bytearray(Path(classifier).read_bytes())
    data[8 + 7 * 4] = 2  # the kind of model, the eighth setting: skip-gram
    (tmp_path / "vectors.bin").write_bytes(data)
    with pytest.raises(ModelError, match="not a supervised"):
        quality(model=str(tmp_path / "vectors.bin"))
