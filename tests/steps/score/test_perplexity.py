from __future__ import annotations

import io
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
import zstandard

from curate.core.errors import ConfigError, ModelError
from curate.core.files import content_hash
from curate.models.ngram.load import build_tables, load
from curate.models.ngram.text_form import TextForm, card_path, ccnet, read_form
from curate.models.ngram.words import form_words
from curate.steps.score.perplexity import perplexity, through_library
from curate.text.batch import TextBatch
from tests.models.ngram.models import library, library_score, train


@pytest.fixture(scope="module")
def arpa(shared: Path) -> str:
    return str(shared / "data/kenlm_test.arpa")


@pytest.fixture
def trained(tmp_path: Path) -> str:
    return train(tmp_path, ["The tide came in.", "The tide went out."], 3, TextForm("ccnet_spaced", "punct"))


# log10 probabilities read off the file by hand: the longest n-gram that it has, and the back-offs before it.
BY_HAND = {
    # <s> looking (-0.4846522), looking on behind <s> (-0.3488368), a behind "looking on" (-0.0155266),
    # little behind "looking on a" (-0.003061223); then </s> by the back-offs of "looking on a little",
    # "on a little", "a little" and "little".
    "looking on a little": [
        *(-0.4846522, -0.3488368, -0.01552657, -0.003061223),
        -0.4771212 - 0.4771212 - 0.69897 - 0.69897 - 1.029493,
    ],
    # <unk> after <s>: -1.995635 - 0.4149733; then </s> after <unk>: -1.029493 - 20.
    "unheard": [-1.995635 - 0.4149733, -1.029493 - 20.0],
}


@pytest.mark.parametrize("text", BY_HAND)
def test_perplexity_equals_the_numbers_in_the_file(arpa: str, text: str) -> None:
    columns = perplexity(model=arpa, normaliser="none")(TextBatch.of([text]))
    logs = BY_HAND[text]
    assert columns["tokens"].to_pylist() == [len(logs) - 1]
    assert columns[""][0].as_py() == pytest.approx(10 ** (-sum(logs) / len(logs)), rel=1e-4, abs=0.05)


def test_perplexity_has_one_decimal(arpa: str) -> None:
    (value,) = perplexity(model=arpa, normaliser="none")(TextBatch.of(["looking on a little"]))[""].to_pylist()
    assert value == 7.0


def test_a_text_without_a_token_has_no_perplexity(arpa: str) -> None:
    columns = perplexity(model=arpa, normaliser="none")(TextBatch.of(["", None, " \n", "<s>", "little"]))
    assert columns[""].is_null().to_pylist() == [True, True, True, True, False]
    assert columns["tokens"].to_pylist() == [0, 0, 0, 0, 1]


def test_the_normaliser_changes_what_is_scored(arpa: str) -> None:
    batch = TextBatch.of(["LOOKING on a Little"])
    as_is = perplexity(model=arpa, normaliser="none")(batch)[""][0].as_py()
    lowered = perplexity(model=arpa, normaliser="ccnet")(batch)[""][0].as_py()
    assert lowered == 7.0 < as_is


def test_a_model_without_metadata_needs_the_normaliser_to_be_named(arpa: str) -> None:
    with pytest.raises(ModelError, match=r"kenlm_test\.arpa: no kenlm_test\.arpa\.json.*set `normaliser:`"):
        perplexity(model=arpa)


def test_a_normaliser_other_than_the_models_is_refused(trained: str) -> None:
    with pytest.raises(ModelError, match="'ccnet_spaced', but the config says 'none'"):
        perplexity(model=trained, normaliser="none")
    with pytest.raises(ModelError, match="'punct', but the config says 'whitespace'"):
        perplexity(model=trained, tokeniser="whitespace")
    assert perplexity(model=trained, normaliser="ccnet_spaced", tokeniser="punct")


def test_a_trained_model_prefers_its_own_text(trained: str) -> None:
    near, far = perplexity(model=trained)(TextBatch.of(["THE tide\ncame in.", "in came tide the."]))[""].to_pylist()
    assert near < far


def test_a_long_text_is_summed_exactly(arpa: str) -> None:
    # Both lengths repeat one state, so their perplexities agree but for the beginning.
    score = perplexity(model=arpa, normaliser="none")
    short, long = score(TextBatch.of(["a " * 8000, "a " * 3_000_000]))[""].to_pylist()
    assert long == pytest.approx(short, abs=0.1)


def test_scores_do_not_depend_on_the_batch(trained: str) -> None:
    score = perplexity(model=trained)
    texts = ["The tide came in.", "", None, "Something else."]
    whole = score(TextBatch.of(texts))
    for i, text in enumerate(texts):
        assert {k: v[0] for k, v in score(TextBatch.of([text])).items()} == {k: v[i] for k, v in whole.items()}
    empty = score(TextBatch.of([]))
    assert {k: v.type for k, v in empty.items()} == {"": pa.float64(), "tokens": pa.int32()}


def test_invalid_utf8_and_nul_bytes_are_scored(trained: str) -> None:
    raw = pa.array([b"the \xff tide\xc3", b"the\x00tide"]).cast(pa.large_binary()).view(pa.large_string())
    assert perplexity(model=trained)(TextBatch(raw))["tokens"].to_pylist() == [4, 1]


GOOD = b"\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n-1\t<unk>\n-1\t<s>\t-0.3\n-1\t</s>\n\n\\2-grams:\n-1\t<s> </s>\n\n\\end\\\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither an ARPA file"),
        (b"\\data\\", "without words"),
        (b"PK\x03\x04 something else" * 50, "neither an ARPA file"),
        (b"\x1f\x8b\x08\x00 zipped", "compressed with gzip"),
        (GOOD[: len(GOOD) // 2], "cut short"),
        (GOOD.replace(b"ngram 2=1", b"ngram 2=7"), "fewer 2-grams than the head says"),
        (
            GOOD.replace(b"-1\t<s> </s>", b"minus one"),
            r"m\.arpa:11: in the 2-grams, a field that must be a finite number",
        ),
        (b"\\data\\\nngram 1=1\n\n\\1-grams:\n-1\t<unk>\n\n\\end\\\n", "the model has no <s>"),
        (b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(200), "KenLM cannot load it"),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.arpa").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        perplexity(model=str(tmp_path / "m.arpa"), normaliser="none")


def test_a_small_model_with_a_comment_loads(tmp_path: Path) -> None:
    (tmp_path / "m.arpa").write_bytes(b"# by hand\n\n" + GOOD)
    score = perplexity(model=str(tmp_path / "m.arpa"), normaliser="none")
    # <unk> after <s>: -1 - 0.3, then </s>: -1; the mean of two is 1.15.
    assert score(TextBatch.of(["x"]))[""].to_pylist() == [round(10**1.15, 1)]


def test_the_tables_of_a_model_score_as_its_arpa_file_and_carry_its_card(trained: str, tmp_path: Path) -> None:
    tables = str(tmp_path / "lm.ngram")
    build_tables(trained, tables)
    batch = TextBatch.of(["The tide came in.", "", "Something else."])
    assert perplexity(model=tables)(batch) == perplexity(model=trained)(batch)
    with pytest.raises(ModelError, match="'ccnet_spaced', but the config says 'none'"):
        perplexity(model=tables, normaliser="none")


def test_nothing_but_a_kenlm_binary_needs_the_library(
    trained: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)
    assert perplexity(model=trained)(TextBatch.of(["The tide."]))["tokens"].to_pylist() == [3]
    (tmp_path / "m.binary").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(200))
    with pytest.raises(ModelError, match="needs the package `kenlm`"):
        perplexity(model=str(tmp_path / "m.binary"), normaliser="none")


def test_the_library_for_kenlm_binaries_gives_the_same_numbers(trained: str) -> None:
    # The package writes no binaries; what it is asked, and how, is the same for the ARPA file.
    words = form_words(TextBatch.of(["the tide came in", "x", "", "tide " * 10_000]), TextForm("none", "whitespace"))
    theirs = through_library(trained)(words)
    ours = load(trained).score(words)
    counts = np.diff(words.offsets)
    for i in np.flatnonzero(counts):
        assert abs(theirs[i] - ours[i]) <= 1e-5 * (counts[i] + 1)


def test_an_impossible_text_has_the_largest_perplexity(tmp_path: Path) -> None:
    (tmp_path / "m.arpa").write_bytes(GOOD.replace(b"-1\t<unk>", b"-3e30\t<unk>"))
    assert perplexity(model=str(tmp_path / "m.arpa"), normaliser="none")(TextBatch.of(["x"]))[""].to_pylist() == [1e308]


@pytest.fixture(scope="module")
def prose(shared: Path) -> list[str]:
    with zstandard.open(shared / "data/hq_text.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        return [ccnet(json.loads(line)["text"])[:4000] for line in itertools.islice(stream, 60)]


def train_pieces(path: Path, lines: list[str], size: int) -> str:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=size, minloglevel=2, num_threads=1
    )
    path.write_bytes(model.getvalue())
    return str(path)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory, prose: list[str]) -> str:
    """A SentencePiece model of real prose."""
    return train_pieces(tmp_path_factory.mktemp("pieces") / "prose.model", prose, 500)


@pytest.fixture
def in_pieces(tmp_path: Path, pieces: str) -> str:
    """A model of the pieces of a few words."""
    form = TextForm.of("ccnet", "sentencepiece", pieces)
    return train(tmp_path, ["The tide came in.", "The tide went out."], 3, form)


def test_ccnets_tokens_are_the_pieces_of_the_normalised_text(in_pieces: str, pieces: str) -> None:
    text = "Thé  TIDE,\n1984 ☃"
    processor = sentencepiece.SentencePieceProcessor(model_file=pieces)
    tokens = processor.encode(ccnet(text), out_type=str)
    columns = perplexity(model=in_pieces, sentencepiece=pieces)(TextBatch.of([text, ""]))
    logarithm = library_score(library(in_pieces), " ".join(tokens))
    assert columns["tokens"].to_pylist() == [len(tokens), 0]
    assert columns[""].to_pylist() == [pytest.approx(10 ** (-logarithm / (len(tokens) + 1)), rel=1e-5, abs=0.051), None]


def test_the_card_of_a_trained_model_names_its_sentencepiece_model(in_pieces: str, pieces: str) -> None:
    assert read_form(in_pieces) == TextForm("ccnet", "sentencepiece", content_hash(pieces))


def test_another_sentencepiece_model_than_the_cards_is_refused(
    in_pieces: str, prose: list[str], tmp_path: Path
) -> None:
    other = train_pieces(tmp_path / "other.model", prose, 400)
    with pytest.raises(ModelError, match=r"trained with another SentencePiece model .* than .*other\.model"):
        perplexity(model=in_pieces, sentencepiece=other)
    with pytest.raises(ConfigError, match="needs its model; set `sentencepiece:`"):
        perplexity(model=in_pieces)


def test_a_sentencepiece_model_is_refused_for_words(trained: str, pieces: str) -> None:
    with pytest.raises(ConfigError, match="the tokeniser punct takes no `sentencepiece:`"):
        perplexity(model=trained, sentencepiece=pieces)


def test_a_file_that_is_no_sentencepiece_model_is_named(in_pieces: str, tmp_path: Path) -> None:
    Path(card_path(in_pieces)).unlink()
    (tmp_path / "bad.model").write_bytes(b"not one")
    with pytest.raises(ModelError, match=r"bad\.model: not a SentencePiece model"):
        perplexity(model=in_pieces, normaliser="ccnet", sentencepiece=str(tmp_path / "bad.model"))


def test_without_the_package_the_remedy_is_named(
    in_pieces: str, pieces: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    copy = tmp_path / "copy.model"
    copy.write_bytes(Path(pieces).read_bytes())
    with pytest.raises(ModelError, match=r"pip install curate-data\[sentencepiece\]"):
        perplexity(model=in_pieces, sentencepiece=str(copy))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.arpa: no such model file"):
        perplexity(model=str(tmp_path / "none.arpa"), normaliser="none")
