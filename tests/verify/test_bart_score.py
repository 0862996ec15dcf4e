from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard

from curate.errors import ConfigError, ModelError
from curate.neural.device import threads
from curate.neural.folder import load_causal_lm
from curate.verify.bart_score import bart_score
from tests.verify.test_bert_score import PAIRS, VerifyBatch, pairs

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
