"""The features `embedding` and `rds`: what they are of a row, whatever the batch, and why a row has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.core.chat.messages import Conversation, Turn
from curate.steps.select.embedding_feature import EmbeddingFeature
from curate.steps.select.rds_feature import RdsFeature
from curate.steps.select.store import Store
from tests.helpers import rows
from tests.steps.select.pools import dolly, pool
from tests.steps.select.spaces import computed, minilm

pytest.importorskip("torch")

TURNS: Conversation = (
    Turn("system", "Be brief."),
    Turn("user", "What is the capital of France?"),
    Turn("assistant", "Paris."),
    Turn("user", "And of Spain?"),
    Turn("assistant", "Madrid."),
)


def test_an_embedding_is_the_encoders_mean_over_the_chosen_part() -> None:
    model = minilm()
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, encoder = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model)
    for which, text in (
        ("question", "Be brief.\n\nWhat is the capital of France?\n\nAnd of Spain?"),
        ("answer", "Paris.\n\nMadrid."),
    ):
        feature = EmbeddingFeature(model=model, part=which).load({"model": model})
        found = feature([TURNS, (Turn("user", " \n"), Turn("assistant", "  "))])
        ids = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            expected = encoder(**ids).last_hidden_state[0].mean(0).numpy()
        np.testing.assert_allclose(found.rows[0, 0], expected, atol=1e-5)
        assert found.tokens.tolist() == [ids["input_ids"].shape[1], 0]
        assert found.refused[1] is not None and found.refused[1].reason == "no-text"
        assert not found.rows[1].any()


def test_like_questions_are_near_and_others_are_not() -> None:
    model = minilm()
    feature = EmbeddingFeature(model=model, part="question").load({"model": model})
    asked = ["How do I bake bread?", "What is a good recipe for a loaf of bread?", "Who was the first man on the moon?"]
    found = feature([(Turn("user", each), Turn("assistant", "No idea.")) for each in asked]).rows[:, 0]
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.6 > 0.3 > unit[0] @ unit[2]


def test_rds_is_the_position_weighted_mean_of_the_last_states(shared: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = str(shared / "models" / "tiny-llama")
    tokenizer = AutoTokenizer.from_pretrained(model)
    llama = AutoModel.from_pretrained(model, dtype=torch.float32)
    talk = TURNS[1:]
    feature = RdsFeature(model=model).load({"model": model})
    found = feature([talk, dolly(shared, 1)[0]])
    ids = tokenizer.apply_chat_template([turn._asdict() for turn in talk], return_dict=True, return_tensors="pt")
    with torch.inference_mode():
        states = llama(**ids).last_hidden_state[0].numpy().astype(np.float64)
    weight = np.arange(1, len(states) + 1)
    np.testing.assert_allclose(found.rows[0, 0], weight @ states / weight.sum(), atol=1e-5)
    assert found.tokens[0] == len(states)


def test_rows_are_the_same_alone_and_in_any_batch(shared: Path) -> None:
    talks = [*dolly(shared, 24), TURNS[1:]]
    llama, model = str(shared / "models" / "tiny-llama"), minilm()
    for feature, folder in (
        (lambda n: RdsFeature(model=llama, context=128, batch_tokens=n), llama),
        (lambda n: EmbeddingFeature(model=model, context=64, batch_tokens=n), model),
    ):
        together, backwards = feature(4096).load({"model": folder}), feature(300).load({"model": folder})
        found = together(talks).rows
        np.testing.assert_allclose(backwards(talks[::-1]).rows[::-1], found, atol=1e-6)
        alone = np.concatenate([together([talk]).rows for talk in talks])
        np.testing.assert_allclose(alone, found, atol=1e-6)


def test_rows_that_give_no_token_to_learn_from_say_why(shared: Path) -> None:
    model = str(shared / "models" / "tiny-llama")
    long: Conversation = (Turn("user", "word " * 400), Turn("assistant", "Yes."))
    talks = [TURNS[1:], long, TURNS[1:2], ()]
    found = RdsFeature(model=model, context=64).load({"model": model})(talks)
    assert [each and each.reason for each in found.refused] == [
        None,
        "no-supervised-token",
        "no-answer",
        "empty-conversation",
    ]
    assert found.tokens.tolist()[1:] == [0, 0, 0] and not found.rows[1:].any()
    with pytest.raises(Exception, match="no chat template 'nope'; known: alpaca, tulu"):
        RdsFeature(model=model, template="nope").load({"model": model})


def test_the_step_stores_unit_vectors_and_the_reason_where_there_is_none(shared: Path, tmp_path: Path) -> None:
    docs = pool(tmp_path / "docs", [*dolly(shared, 60), TURNS[1:2]], shards=2)
    made = computed(tmp_path, docs, rds={"model": str(shared / "models" / "tiny-llama"), "context": 128})
    lengths = np.linalg.norm(np.concatenate([some for _, some in Store.open(made).blocks()]), axis=2)
    there = [row["reason"] is None for row in rows(made)]
    np.testing.assert_allclose(lengths[:, 0], there, atol=1e-3)
    assert sum(there) > 50 and rows(made)[-1]["reason"] == "no-answer"
