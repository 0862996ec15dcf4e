"""Ratings with how sure a model is of them, against transformers, one prompt and one sum at a time."""

from __future__ import annotations

import functools
import statistics
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from curate.core.chat.messages import ChatBatch, Conversation, Turn, to_arrow
from curate.core.config import model_files
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.steps.score.selectit import PROMPTS, selectit
from curate.steps.score.step import parse
from tests.pipelines import run_yaml
from tests.steps.select.pools import dolly

pytest.importorskip("transformers")
CHAT = (
    Turn("system", "Be brief."),
    Turn("user", "Who wrote {it}?"),
    Turn("assistant", "Nobody {0} {{knows}}."),
    Turn("user", "And where?"),
    Turn("assistant", "In the garden."),
)
GOLDEN = {"": 0.289874, "rating": 3.0, "turns": 1, "reason": None}
PAIRS = [("Who wrote {it}?", "Nobody {0} {{knows}}."), ("And where?", "In the garden.")]
SHORT = ["{question} {answer} {{1}}", "Good?\n{answer}\n"]


@pytest.fixture(scope="module")
def folder(shared: Path) -> str:
    return str(shared / "models/tiny-llama")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, folder: str) -> str:
    """A smaller model of random weights with the same tokenizer."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    config = AutoConfig.from_pretrained(folder)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 16, 32, 1
    config.num_attention_heads = config.num_key_value_heads = 2
    config.head_dim = 8
    torch.manual_seed(3)
    made = str(tmp_path_factory.mktemp("models") / "other")
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for each in model.parameters():
            each.mul_(20)  # so that its ratings differ
    model.save_pretrained(made)
    AutoTokenizer.from_pretrained(folder).save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def chats(shared: Path) -> list[Conversation]:
    return [each for each in dolly(shared, 20) if sum(len(turn.content) for turn in each) < 300][:4]


def scores(chats: list[Conversation], **args: object) -> dict[str, list]:
    return {name: each.to_pylist() for name, each in selectit(**args)(ChatBatch(to_arrow(chats))).items()}


@functools.cache
def by_hand(folder: str) -> tuple[object, object]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32"), AutoTokenizer.from_pretrained(folder)


def reference(folder: str, prompts: list[str], question: str, answer: str, alpha: float = 0.2) -> tuple[float, float]:
    """As the paper has it: from the probabilities over the whole vocabulary."""
    import torch

    model, tokenizer = by_hand(folder)
    token_scores, ratings = [], []
    for prompt in prompts:
        filled = prompt.replace("{{", "\1").replace("}}", "\2").replace("{question}", question)
        filled = filled.replace("{answer}", answer).replace("\1", "{").replace("\2", "}")
        ids = tokenizer(f"<|bos|>{filled}", add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            over_all = torch.softmax(model(ids).logits[0, -1].double(), -1)
        five = [float(over_all[tokenizer(str(k))["input_ids"][0]]) for k in range(1, 6)]
        five = [each / sum(five) for each in five]
        base = max(range(5), key=lambda k: five[k])
        token_scores.append((base + 1) * sum(abs(five[base] - each) for each in five) / 4)
        ratings.append(base + 1)
    sure = statistics.fmean(token_scores) / (1 + alpha * statistics.pstdev(token_scores))
    return sure, statistics.fmean(ratings)


def test_a_score_is_the_rating_weighed_by_how_sure_it_is_and_how_much_the_prompts_agree(
    folder: str, chats: list[Conversation]
) -> None:
    found = scores(chats, model=folder)
    for i, (question, answer) in enumerate(chats):
        sure, rating = reference(folder, PROMPTS, question.content, answer.content)
        assert found[""][i] == pytest.approx(sure, abs=1e-5)
        assert found["rating"][i] == pytest.approx(rating, abs=1e-6)
        assert found["turns"][i] == 1 and found["reason"][i] is None
    assert len(set(found[""])) == len(chats)


def test_alpha_says_how_much_a_difference_of_the_prompts_counts(other: str) -> None:
    rows = {alpha: scores([CHAT], model=other, prompts=SHORT, alpha=alpha)[""][0] for alpha in (0.0, 0.2, 5.0)}
    for alpha, found in rows.items():
        assert found == pytest.approx(
            statistics.fmean(reference(other, SHORT, *pair, alpha)[0] for pair in PAIRS), abs=1e-5
        )
    assert rows[0.0] > rows[0.2] > rows[5.0]


def test_turns_are_averaged_and_several_models_weighed_by_their_parameters(folder: str, other: str) -> None:
    both = scores([CHAT], model=[folder, other], prompts=SHORT)
    sizes = [sum(each.numel() for each in by_hand(path)[0].parameters()) for path in (folder, other)]
    assert sizes[0] > 2 * sizes[1]
    for i, name in enumerate(("", "rating")):
        mine = [statistics.fmean(reference(path, SHORT, *pair)[i] for pair in PAIRS) for path in (folder, other)]
        assert abs(mine[0] - mine[1]) > 0.01
        weighed = (sizes[0] * mine[0] + sizes[1] * mine[1]) / sum(sizes)
        assert both[name][0] == pytest.approx(weighed, abs=1e-5)
    assert both["turns"] == [2]


def test_golden_row(folder: str) -> None:
    found = scores([(Turn("user", "Name a colour."), Turn("assistant", "Blue is a colour of the sky."))], model=folder)
    assert {name: values[0] for name, values in found.items()} == GOLDEN


def test_company_and_batch_size_change_no_bit(folder: str, other: str, chats: list[Conversation]) -> None:
    together = scores([*chats, CHAT], model=[folder, other])
    assert scores([*chats, CHAT][::-1], model=[folder, other], batch_tokens=1)[""][::-1] == together[""]


def test_what_cannot_be_rated_is_null_and_says_why(folder: str, other: str) -> None:
    good = (Turn("user", "Hi"), Turn("assistant", "Hello"))
    bad = {
        "empty-conversation": (),
        "no-answer": (Turn("user", "Hi"),),
        "empty-turn": (Turn("user", "Hi"), Turn("assistant", " ")),
        "special-token": (*good, Turn("user", "Hi"), Turn("assistant", "<|end|>")),
        "over-context": (Turn("user", "word " * 2000), Turn("assistant", "yes")),
    }
    found = scores([good, *bad.values(), good], model=[folder, other])
    assert found["reason"] == [None, *bad, None]
    assert found[""][0] == found[""][-1] is not None
    for name in ("", "rating"):
        assert found[name][1:-1] == [None] * len(bad)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"prompts": ["{question}", "{output}"]}, r"prompts\[1\] has no field 'output'"),
        ({"prompts": []}, "`prompts` is empty"),
        ({"alpha": -1.0}, "alpha -1.0 is below 0"),
        ({"alpha": float("nan")}, "not finite"),
        ({"batch_tokens": 0}, "batch_tokens 0 is below 1"),
        ({"context": 5000}, "reads 1024 tokens at once"),
        ({"model": []}, "names no model"),
    ],
)
def test_a_config_that_cannot_work_is_refused(folder: str, args: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        selectit(**{"model": folder, **args})


def test_several_models_of_an_entry_are_found_by_their_places_and_bear_identity_by_their_hashes(
    tmp_path: Path, folder: str, other: str
) -> None:
    parsed = parse({"from": "pool", "sure": {"scorer": "selectit", "model": ["a", "b"]}}, ())
    assert parsed.models() == {"sure.model[0]": "a", "sure.model[1]": "b"}
    assert "model" not in orjson.dumps(parsed.identity()).decode()
    alone = parse({"from": "pool", "sure": {"scorer": "selectit", "model": "a"}}, ())
    assert model_files(alone.entries["sure"].args) == {"model": "a"}
    (tmp_path / "chats.jsonl").write_bytes(orjson.dumps({"messages": [turn._asdict() for turn in CHAT]}))
    done = run_yaml(
        tmp_path,
        f"""
name: demo
steps:
  pool: {{read: {{path: {tmp_path}/chats.jsonl, conversations: messages}}}}
  scores: {{score: {{from: pool, sure: {{scorer: selectit, model: [{folder}, {other}], prompts: ["{{answer}}"]}}}}}}
""",
    )
    assert _row(done["scores"])["sure"] == scores([CHAT], model=[folder, other], prompts=["{answer}"])[""][0]
    assert sorted(done["scores"].manifest.config["models"]) == ["sure.model[0]", "sure.model[1]"]


def _row(data: Dataset) -> dict[str, object]:
    return pa.Table.from_batches(list(data.read(data.shards[0]))).to_pylist()[0]
