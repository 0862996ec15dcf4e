"""Ratings as expectations over the tokens 1 to 6, against transformers, one prompt at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.core.chat.messages import ChatBatch, Conversation, Turn, to_arrow
from curate.core.errors import ConfigError
from curate.steps.score.deita import COMPLEXITY, QUALITY, deita
from tests.steps.select.pools import dolly

pytest.importorskip("transformers")
CHAT = (
    Turn("system", "Be brief."),
    Turn("user", "Who wrote {it}?"),
    Turn("assistant", "Nobody {0} {{knows}}."),
    Turn("user", "And"),
    Turn("user", "where?"),
    Turn("assistant", "In the garden."),
    Turn("user", "Thanks."),
)
PAIRS = [("Who wrote {it}?", "Nobody {0} {{knows}}."), ("And\n\nwhere?", "In the garden.")]


@pytest.fixture(scope="module")
def folder(shared: Path) -> str:
    return str(shared / "models/tiny-llama")


@pytest.fixture(scope="module")
def chats(shared: Path) -> list[Conversation]:
    return [each for each in dolly(shared, 12) if len(each[1].content) < 1500]


def scores(chats: list[Conversation], **args: object) -> dict[str, list]:
    return {name: each.to_pylist() for name, each in deita(**args)(ChatBatch(to_arrow(chats))).items()}


class ByHand:
    def __init__(self, folder: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._model, self._tokenizer = (
            AutoModelForCausalLM.from_pretrained(folder, dtype="float32"),
            AutoTokenizer.from_pretrained(folder),
        )

    def rating(self, prompt: str) -> float:
        import torch

        ids = self._tokenizer(f"<|bos|>{prompt}", add_special_tokens=False, return_tensors="pt")["input_ids"]
        six = [self._tokenizer(str(k))["input_ids"][0] for k in range(1, 7)]
        with torch.inference_mode():
            parts = torch.softmax(self._model(ids).logits[0, -1, six].double(), -1)
        return float(sum(k * part for k, part in enumerate(parts, 1)))


@pytest.fixture(scope="module")
def hand(folder: str) -> ByHand:
    return ByHand(folder)


def test_a_rating_is_the_expectation_over_the_six_tokens(folder: str, hand: ByHand, chats: list[Conversation]) -> None:
    found = scores(chats, complexity=folder, quality=folder)
    for i, (question, answer) in enumerate(chats):
        complexity = hand.rating(COMPLEXITY.replace("{question}", question.content))
        quality = hand.rating(QUALITY.replace("{question}", question.content).replace("{answer}", answer.content))
        assert found["complexity"][i] == pytest.approx(complexity, abs=1e-5)
        assert found["quality"][i] == pytest.approx(quality, abs=1e-5)
        assert found[""][i] == pytest.approx(complexity * quality, abs=1e-4)
        assert 1 < complexity < 6 and found["turns"][i] == 1 and found["reason"][i] is None


def test_turns_are_multiplied_one_by_one_and_then_averaged_or_added(folder: str, hand: ByHand) -> None:
    prompts = {"complexity_prompt": "Hard? {question}\n", "quality_prompt": "Good {{1}}? {question} {answer}\n"}
    hard = [hand.rating(f"Hard? {question}\n") for question, _ in PAIRS]
    good = [hand.rating(f"Good {{1}}? {question} {answer}\n") for question, answer in PAIRS]
    mean = scores([CHAT], complexity=folder, quality=folder, **prompts)
    assert mean[""][0] == pytest.approx(np.dot(hard, good) / 2, abs=1e-4)
    assert mean["complexity"][0] == pytest.approx(np.mean(hard), abs=1e-5)
    total = scores([CHAT], complexity=folder, quality=folder, turns="sum", **prompts)
    assert total[""][0] == pytest.approx(np.dot(hard, good), abs=1e-4)
    assert total["quality"][0] == pytest.approx(np.sum(good), abs=1e-5)
    assert mean["turns"] == total["turns"] == [2]


def test_one_model_alone_gives_its_own_rating(folder: str) -> None:
    both = scores([CHAT], complexity=folder, quality=folder)
    alone = scores([CHAT], quality=folder)
    assert alone[""] == alone["quality"] == both["quality"]
    assert alone["complexity"] == [None]


def test_company_and_batch_size_change_no_bit(folder: str, chats: list[Conversation]) -> None:
    together = scores(chats, quality=folder)
    assert scores(chats[::-1], quality=folder, batch_tokens=1)[""][::-1] == together[""]


def test_what_cannot_be_rated_is_null_and_says_why(folder: str) -> None:
    good = (Turn("user", "Hi"), Turn("assistant", "Hello"))
    bad = {
        "empty-conversation": (),
        "no-answer": (Turn("user", "Hi"),),
        "empty-turn": (Turn("user", "Hi"), Turn("assistant", " ")),
        "special-token": (Turn("user", "Hi"), Turn("assistant", "<|end|>")),
        "over-context": (Turn("user", "word " * 2000), Turn("assistant", "yes")),
    }
    found = scores([good, *bad.values(), good], complexity=folder, quality=folder)
    assert found["reason"] == [None, *bad, None]
    assert found[""][0] == found[""][-1] is not None
    for name in ("", "complexity", "quality"):
        assert found[name][1:-1] == [None] * len(bad)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{question.__class__}", "has no field 'question.__class__'"),
        ("{question!r}", "has no field 'question'"),
        ("{output}", "has no field 'output'"),
        ("{", "complexity_prompt: .*braces"),
        ("Rate it.", "has no field; write {question}"),
    ],
)
def test_a_prompt_has_named_fields_only(folder: str, prompt: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        deita(complexity=folder, complexity_prompt=prompt)


def test_a_config_without_a_model_or_out_of_range_is_refused(folder: str) -> None:
    with pytest.raises(ConfigError, match="names no model"):
        deita()
    with pytest.raises(ConfigError, match="batch_tokens 0 is below 1"):
        deita(quality=folder, batch_tokens=0)
    with pytest.raises(ConfigError, match="reads 1024 tokens at once"):
        deita(quality=folder, context=5000)
