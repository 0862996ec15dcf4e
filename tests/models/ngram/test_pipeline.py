"""A pipeline that trains a model of SentencePiece pieces and scores with it."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pytest
import sentencepiece

from curate.core.errors import CurateError
from curate.models.ngram.text_form import TextForm, ccnet, read_form
from tests.pipelines import run_yaml

TEXTS = [
    "The tide came in before noon, and the boats went out.",
    "The tide went out before the boats came in.",
    "A gull, a gull! The boy saw a gull before the tide.",
    "Nothing came of it: the boats stayed in, the boy stayed out.",
]
PIPELINE = """
name: pieces
steps:
  docs: {{read: {{path: {folder}/docs.txt, format: lines}}}}
  lm: {{train: {{ngram: {{from: docs, order: 3, normaliser: ccnet, tokeniser: sentencepiece{model}}}}}}}
  scores: {{score: {{from: docs, perplexity: {{model: lm, sentencepiece: {folder}/sp.model}}}}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(map(ccnet, TEXTS)), model_writer=model, vocab_size=35, minloglevel=2, num_threads=1
    )
    (tmp_path / "sp.model").write_bytes(model.getvalue())
    (tmp_path / "docs.txt").write_text("\n".join(TEXTS))
    return tmp_path


def test_a_model_of_pieces_is_trained_and_scores(folder: Path) -> None:
    done = run_yaml(folder / "runs", PIPELINE.format(folder=folder, model=f", sentencepiece: {folder}/sp.model"))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sp.model"))
    scores = done["scores"]
    columns = pa.Table.from_batches(list(scores.read(scores.shards[0]))).to_pydict()
    assert columns["perplexity_tokens"] == [len(processor.encode(ccnet(text))) for text in TEXTS]
    assert max(columns["perplexity"]) < 60
    (card,) = (folder / "runs").glob("**/model.arpa")
    assert read_form(str(card)) == TextForm.of("ccnet", "sentencepiece", str(folder / "sp.model"))


def test_training_on_pieces_needs_their_model(folder: Path) -> None:
    with pytest.raises(CurateError, match="needs its model; set `sentencepiece:`"):
        run_yaml(folder / "runs", PIPELINE.format(folder=folder, model=""))
