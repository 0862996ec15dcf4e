from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.core.errors import ConfigError, ModelError
from curate.models.encoder.encoder import load_encoder
from curate.steps.verify.similarity import similarity
from tests.steps.select.spaces import minilm
from tests.steps.verify.test_bert_score import PAIRS, VerifyBatch, pairs


def numbers(batch: VerifyBatch, **args: object) -> list[float | None]:
    found = similarity(**{"model": minilm(), "device": "cpu", **args})(batch)  # type: ignore[arg-type]
    assert list(found) == [""]
    return found[""].to_pylist()


def test_it_is_the_cosine_of_the_embeddings() -> None:
    encoder = load_encoder(minilm(), context=512, device="cpu")
    one, other = (encoder.embed([pair[side] for pair in PAIRS]) for side in (0, 1))
    expected = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    found = numbers(pairs(*PAIRS))
    assert found == pytest.approx(expected.tolist(), abs=1e-6)
    assert found[0] > 0.8 > found[1] > 0.3 > found[2]  # a rewording, a contradiction, another thing


def test_the_company_of_a_row_changes_no_bit() -> None:
    every = [*PAIRS, ("The garden was quiet. " * 30, "Nobody spoke."), PAIRS[0]]
    together = numbers(pairs(*every))
    assert [numbers(pairs(each), batch_tokens=1)[0] for each in every] == together
    assert numbers(pairs(*every[::-1]))[::-1] == together


def test_the_most_similar_of_several_counts() -> None:
    rows = [{"id": "x", "text": PAIRS[0][1], "seeds": [PAIRS[2][0], PAIRS[0][0], "  "]}]
    assert numbers(VerifyBatch.of(rows), to="seeds") == numbers(pairs(PAIRS[0]))


def test_what_cannot_be_compared_is_null() -> None:
    assert numbers(pairs(("A text.", None), ("A text.", " "), (None, "A text."), ("", "A text."))) == [None] * 4
    assert numbers(pairs(("A text.", "A text."))) == [1.0]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="similarity: context 0 is below 1"):
        numbers(pairs(), context=0)
    with pytest.raises(ModelError, match="no such model folder"):
        numbers(pairs(), model="/nowhere")
    with pytest.raises(ConfigError, match="no column 'answer'"):
        numbers(pairs(*PAIRS), column="answer")


def test_a_causal_model_gives_embeddings_too(shared: Path) -> None:
    assert numbers(pairs(("A garden.", "A garden.")), model=str(shared / "models/tiny-llama")) == [1.0]
