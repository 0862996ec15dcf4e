from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard

from curate.core.errors import ConfigError, ModelError
from curate.models.device import threads
from curate.models.lm.folder import load_causal_lm
from curate.steps.verify.bart_score import bart_score
from tests.steps.select.spaces import minilm
from tests.steps.verify.test_bert_score import PAIRS, VerifyBatch, pairs

LONG = ("The garden was quiet. Nobody spoke. " * 200, "He plays the guitar in the garden, they said. " * 200)


@pytest.fixture(scope="module")
def llama(shared: Path) -> str:
    return str(shared / "models/tiny-llama")


def numbers(model: str, batch: VerifyBatch, **args: object) -> dict[str, list[float | None]]:
    found = bart_score(**{"model": model, "device": "cpu", **args})(batch)  # type: ignore[arg-type]
    return {name: each.to_pylist() for name, each in found.items()}


def test_it_is_the_mean_log_probability_of_the_text_after_its_parent(llama: str) -> None:
    import torch

    lm = load_causal_lm(llama, device="cpu")
    parent, joint, text = lm.encode([PAIRS[0][0], " In short: ", PAIRS[0][1]])
    ids = torch.tensor(np.concatenate([[lm.start], parent, joint, text]).astype(np.int64))
    with torch.inference_mode(), threads(1):
        logs = torch.log_softmax(lm.model(input_ids=ids[None]).logits[0].double(), -1)
    each = [float(logs[at - 1, ids[at]]) for at in range(len(ids) - len(text), len(ids))]
    found = numbers(llama, pairs(PAIRS[0]), between=" In short: ")
    assert found == {"": [pytest.approx(np.mean(each), abs=1e-4)]}


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Tiny models of two kinds that write one text from another, of seeded weights, with a real tokenizer."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

    ids = {"vocab_size": 30522, "decoder_start_token_id": 101, "pad_token_id": 0, "eos_token_id": 102}
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    wide = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64, "init_std": 0.3}
    folders = [tmp_path_factory.mktemp("writer") / name for name in ("bart", "t5")]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for folder, model in zip(
            folders,
            (
                BartForConditionalGeneration(BartConfig(**layers, **wide, **ids, bos_token_id=101)),
                T5ForConditionalGeneration(T5Config(d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, **ids)),
            ),
            strict=True,
        ):
            shutil.copytree(minilm(), folder, ignore=lambda _, names: [name for name in names if "token" not in name])
            model.save_pretrained(folder)
    return [str(folder) for folder in folders]


def test_a_model_that_writes_one_text_from_another_scores_all_tokens_of_the_second(writers: list[str]) -> None:
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    for folder in writers:
        found = numbers(folder, pairs(*PAIRS), direction="both")
        model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        for name, turn in (("forward", 1), ("backward", -1)):
            for i, pair in enumerate(PAIRS):
                read, wanted = (tokenizer(text, return_tensors="pt") for text in pair[::turn])
                with torch.inference_mode():
                    loss = model(
                        input_ids=read.input_ids, attention_mask=read.attention_mask, labels=wanted.input_ids
                    ).loss
                assert found[name][i] == pytest.approx(-float(loss), abs=1e-4)


def test_the_company_of_a_row_changes_no_bit_there_either(writers: list[str]) -> None:
    every = [*PAIRS, LONG, PAIRS[0]]
    for folder in writers:
        together = numbers(folder, pairs(*every), context=48)[""]
        assert [numbers(folder, pairs(each), context=48, batch_tokens=1)[""][0] for each in every] == together


def test_a_model_that_reads_the_two_apart_has_no_place_for_something_between(writers: list[str]) -> None:
    with pytest.raises(ConfigError, match="remove `between:`"):
        numbers(writers[0], pairs(), between=" In short: ")
    with pytest.raises(ModelError, match="the model reads 64 tokens at once, not 65"):
        numbers(writers[0], pairs(), context=65)


def test_backward_is_forward_of_the_two_turned_round(llama: str) -> None:
    back = numbers(llama, pairs(*PAIRS), direction="backward")
    assert back == numbers(llama, pairs(*[pair[::-1] for pair in PAIRS]))


def test_both_is_the_mean_of_the_two(llama: str) -> None:
    found = numbers(llama, pairs(*PAIRS), direction="both")
    assert found["forward"] == numbers(llama, pairs(*PAIRS))[""]
    assert found["backward"] == numbers(llama, pairs(*PAIRS), direction="backward")[""]
    assert found[""] == pytest.approx(np.mean([found["forward"], found["backward"]], axis=0).tolist(), abs=2e-6)


def test_the_company_of_a_row_changes_no_bit(llama: str) -> None:
    every = [*PAIRS, LONG, PAIRS[0]]
    together = numbers(llama, pairs(*every), context=256)[""]
    alone = [numbers(llama, pairs(each), context=256, batch_tokens=1)[""][0] for each in every]
    assert alone == together


def test_each_side_of_a_long_pair_keeps_its_start(llama: str) -> None:
    lm = load_causal_lm(llama, device="cpu")
    tokens = lm.encode([*LONG, "\n\n"])
    half = (100 - len(tokens[2])) // 2
    assert min(len(each) for each in tokens[:2]) > 100
    cut = [LONG[0] + "An end.", LONG[1] + "Another one."]
    found = numbers(llama, pairs(LONG, (cut[0], cut[1]), (LONG[0], PAIRS[0][1])), context=100)[""]
    assert found[0] == found[1] and half > len(lm.encode([PAIRS[0][1]])[0]) and found[2] is not None


def test_the_best_of_several_parents_counts(llama: str) -> None:
    one = numbers(llama, pairs((PAIRS[0][0], PAIRS[0][1]), (PAIRS[2][1], PAIRS[0][1])))[""]
    both = VerifyBatch.of(
        [{"id": "x", "text": PAIRS[0][1], "parents": ["a", "b", "c"]}],
        {"a": PAIRS[0][0], "b": PAIRS[2][1], "c": " "},
    )
    assert numbers(llama, both)[""] == [max(one)]


def test_what_cannot_be_compared_is_null(llama: str) -> None:
    rows = pairs(("A text.", None), ("A text.", "\n"), (None, "A text."), ("", "A text."))
    assert numbers(llama, rows, direction="both") == {"": [None] * 4, "forward": [None] * 4, "backward": [None] * 4}


def test_a_text_is_likelier_after_its_own_sentence_than_after_another(llama: str, shared: Path) -> None:
    with zstandard.open(shared / "data/pairs_mrpc.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        rows = [each for each in map(orjson.loads, [next(stream) for _ in range(40)]) if each["label"] == 1]
    own = numbers(llama, pairs(*[(row["s1"], row["s2"]) for row in rows]))[""]
    turned = rows[1:] + rows[:1]
    other = numbers(llama, pairs(*[(row["s1"], each["s2"]) for row, each in zip(turned, rows, strict=True)]))[""]
    assert np.mean(np.array(own) > np.array(other)) > 0.9


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ({"context": 0}, ConfigError, "context 0 is below 1"),
        ({"context": 5000}, ConfigError, "reads 1024 tokens at once, not 5000"),
        ({"context": 3, "between": "In other words, that is to say:"}, ConfigError, "`between` has .* tokens, and 3"),
        ({"model": "/nowhere"}, ModelError, "no such model folder"),
    ],
)
def test_what_cannot_be_is_refused(llama: str, args: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        numbers(str(args.pop("model", llama)), pairs(), **args)
