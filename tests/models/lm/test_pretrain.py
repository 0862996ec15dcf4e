from __future__ import annotations

import contextlib
import csv
import json
import math
import random
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import zstandard

from curate.core.engine import Resources
from curate.core.errors import ConfigError, RunError
from curate.models.lm.pretrain import loop
from curate.models.lm.pretrain.data import END, Blocks, train_tokenizer
from curate.models.lm.pretrain.train import train_causal_lm
from curate.steps.score.causal_lm import causal_lm
from curate.text.batch import TextBatch
from tests.helpers import tree
from tests.pipelines import run_yaml

Texts = list[tuple[str, str]]
TINY = {"vocabulary": 300, "layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "context": 32, "batch_tokens": 128}
BUDGET = {"tokens": 1536, "held_out": 0.2}  # 12 steps


@pytest.fixture(scope="module")
def texts(shared: Path) -> Texts:
    with zstandard.open(shared / "data/hq_text.dev.jsonl.zst", "rt", encoding="utf-8") as stream:
        return [(f"{i:032x}", orjson.loads(next(stream))["text"][:400]) for i in range(40)]


def test_the_same_bytes_whatever_the_order_of_the_texts(tmp_path: Path, texts: Texts) -> None:
    train_causal_lm(texts, str(tmp_path / "one"), **TINY, **BUDGET)
    train_causal_lm(random.Random(1).sample(texts, len(texts)), str(tmp_path / "two"), **TINY, **BUDGET)
    train_causal_lm(texts, str(tmp_path / "other"), **TINY, **BUDGET, seed=1)
    one = tree(tmp_path / "one")
    assert {"model.json", "loss.csv", "loss.svg", "model/config.json", "model/tokenizer.json"} < one.keys()
    assert one == tree(tmp_path / "two")
    assert one["model/model.safetensors"] != tree(tmp_path / "other")["model/model.safetensors"]


@pytest.mark.parametrize("stopped_at", [2, 7])
def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(
    tmp_path: Path, texts: Texts, stopped_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_causal_lm(texts, str(tmp_path / "whole"), **TINY, **BUDGET)
    rate, done = loop.Schedule.rate, []

    def stop(schedule: loop.Schedule, step: int) -> float:
        done.append(step)
        if len(done) == stopped_at + 1:
            raise KeyboardInterrupt
        return rate(schedule, step)

    monkeypatch.setattr(loop.Schedule, "rate", stop)
    go = {"scratch": str(tmp_path / "scratch"), "checkpoint_every": 3}
    with pytest.raises(KeyboardInterrupt):
        train_causal_lm(texts, str(tmp_path / "again"), **TINY, **BUDGET, **go)
    train_causal_lm(texts, str(tmp_path / "again"), **TINY, **BUDGET, **go)
    assert done[stopped_at + 1] == stopped_at // 3 * 3  # it began where the last checkpoint was
    assert tree(tmp_path / "again") == tree(tmp_path / "whole")


def test_a_checkpoint_of_another_training_is_not_gone_on_from(tmp_path: Path, texts: Texts) -> None:
    go = {"scratch": str(tmp_path / "scratch"), "checkpoint_every": 3}
    train_causal_lm(texts, str(tmp_path / "first"), **TINY, **BUDGET, **go)
    train_causal_lm(texts[1:], str(tmp_path / "again"), **TINY, **BUDGET, **go)
    train_causal_lm(texts[1:], str(tmp_path / "whole"), **TINY, **BUDGET)
    assert tree(tmp_path / "again") == tree(tmp_path / "whole")


def test_the_loss_falls_and_the_card_says_so(tmp_path: Path, texts: Texts) -> None:
    trained = train_causal_lm(texts, str(tmp_path), **TINY, tokens=16_000, held_out=0.2)
    card = json.loads((tmp_path / "model.json").read_text())
    assert card == trained.card
    losses = [point["held_out_loss"] for point in card["curve"]]
    assert len(losses) >= 10 and losses[-1] < losses[0] < math.log(300)
    assert card["learnt"]["tokens"] == 16_000 and card["learnt"]["epochs"] > 1
    with open(tmp_path / "loss.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["held_out_loss"]) for row in rows] == losses
    assert (tmp_path / "loss.svg").read_text().count("<polyline") == 2


def test_the_cards_loss_is_what_the_scorer_finds(tmp_path: Path, texts: Texts) -> None:
    trained = train_causal_lm(texts, str(tmp_path), **TINY, **BUDGET)
    everything = {text: i for i, (_, text) in enumerate(texts)}
    score = causal_lm(model=trained.model, stride=32)(TextBatch.of(list(everything)))
    loss, tokens, bits = (score[key].to_pylist() for key in ("loss", "tokens", ""))
    held = trained.card["held_out"]
    # The held-out texts are those whose sizes and losses add up to what the card says.
    chosen = [i for i, text in enumerate(everything) if _held_out(text)]
    assert sum(tokens[i] for i in chosen) == held["measured_tokens"]
    total = sum(loss[i] * tokens[i] for i in chosen)
    assert total / held["measured_tokens"] == pytest.approx(held["loss"], abs=1e-5)
    size = sum(bits[i] * len(texts[i][1].encode()) for i in chosen)
    assert size / held["measured_bytes"] == pytest.approx(held["bits_per_byte"], abs=1e-5)


def _held_out(text: str) -> bool:
    from curate.models.lm.pretrain.data import split_texts

    return bool(split_texts([("", text)], held_out=BUDGET["held_out"], seed=0).held_out)


def test_equal_texts_are_on_one_side_of_the_split(texts: Texts) -> None:
    from curate.models.lm.pretrain.data import split_texts

    copies = [(f"copy-{id_}", text) for id_, text in texts]
    split = split_texts([*texts, *copies, ("empty", "")], held_out=0.5, seed=3)
    assert not set(split.learnt) & set(split.held_out)
    assert len(split.learnt) + len(split.held_out) == 80 and split.held_out


def test_every_byte_has_a_token_and_the_end_has_the_first(texts: Texts) -> None:
    tokenizer = train_tokenizer([text for _, text in texts], 400)
    assert len(tokenizer) == 400 and tokenizer.eos_token_id == tokenizer.bos_token_id == 0
    strange = f"\x00 ü 日本 \U0001f600 {END}"
    ids = tokenizer([strange], add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"][0]
    assert 0 not in ids
    assert tokenizer.decode(ids) == strange  # type: ignore[attr-defined]


def test_a_word_of_a_megabyte_is_learnt_from(texts: Texts) -> None:
    words = ["x" * 1_000_000, " " * 1_000_000, *(text for _, text in texts)]
    assert "xxxx" in train_tokenizer(words, 400).get_vocab()  # type: ignore[attr-defined]


def test_every_block_is_seen_once_before_any_is_seen_again(texts: Texts) -> None:
    import numpy as np

    blocks = Blocks(np.arange(101, dtype=np.int32), 10, seed=0)
    first, second = blocks.rows(0, 10), blocks.rows(10, 20)
    assert sorted(first[:, 0]) == sorted(second[:, 0]) == list(range(0, 100, 10))
    assert list(first[:, 0]) != list(second[:, 0])
    assert (first[:, -1] - first[:, 0] == 10).all()


def test_a_tokenizer_can_be_taken_from_a_model(tmp_path: Path, texts: Texts, shared: Path) -> None:
    folder = str(shared / "models/tiny-llama")
    trained = train_causal_lm(texts, str(tmp_path), **{**TINY, "tokenizer": folder}, **BUDGET)
    assert trained.card["settings"]["vocabulary"] == 4096
    ours, theirs = (causal_lm(model=path)(TextBatch.of(["Some text."]))["tokens"] for path in (trained.model, folder))
    assert ours == theirs


def test_nothing_held_out_leaves_that_part_of_the_curve_empty(tmp_path: Path, texts: Texts) -> None:
    trained = train_causal_lm(texts, str(tmp_path), **TINY, tokens=512, held_out=0)
    assert "loss" not in trained.card["held_out"]
    assert {point["held_out_loss"] for point in trained.card["curve"]} == {None}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 3}, "width 16: does not give each of 3 heads"),
        ({"heads": 4, "kv_heads": 3}, "kv_heads 3: does not divide"),
        ({"vocabulary": 256}, "needs at least 260"),
        ({"held_out": 1.0}, "from 0 to below 1"),
        ({"tokens": 0}, "tokens 0"),
    ],
)
def test_numbers_that_make_no_model_are_refused(tmp_path: Path, wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_causal_lm([("a", "text")], str(tmp_path), **{**TINY, **BUDGET, **wrong})


def test_too_few_texts_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="give it more text"):
        train_causal_lm([("a", "text"), ("b", "")], str(tmp_path), **TINY, **BUDGET)
    with pytest.raises(RunError, match="less than a context"):
        train_causal_lm([("a", "text")], str(tmp_path), **{**TINY, "context": 4096}, tokens=10, held_out=0)


PIPELINE = """
name: proxy
steps:
  docs: {{read: {{path: {folder}/docs.jsonl}}}}
  lm: {{train: {{causal_lm: {{from: docs, vocabulary: 300, layers: 1, width: 16, heads: 2, context: 32, batch_tokens: 128,
       tokens: 1536, held_out: 0.2, device: {device}}}}}}}
  scores: {{score: {{from: docs, causal_lm: {{model: lm, device: {device}}}}}}}
"""


def test_a_pipeline_trains_and_scores_with_what_it_trained(tmp_path: Path, texts: Texts) -> None:
    lines = [json.dumps({"text": text}) for _, text in texts]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    outputs = run_yaml(tmp_path / "run", PIPELINE.format(folder=tmp_path, device="auto"))
    files = outputs["lm"].manifest.files
    assert {"model/model.safetensors", "model/tokenizer.json", "model.json", "loss.csv", "loss.svg"} < files.keys()
    assert outputs["lm"].manifest.details["card"]["model"] == outputs["lm"].manifest.hash_of("model")
    assert outputs["scores"].rows == 40
    # A device changes no identity, so nothing runs again.
    again = run_yaml(tmp_path / "run", PIPELINE.format(folder=tmp_path, device="cpu"))
    assert {k: v.folder for k, v in again.items()} == {k: v.folder for k, v in outputs.items()}
    # A copy of the model elsewhere, named by its folder, gives the same numbers.
    text = PIPELINE.format(folder=tmp_path, device="cpu").replace("model: lm", f"model: {outputs['lm'].folder}/model")
    named = run_yaml(tmp_path / "named", text, resources=Resources(workers=1))
    assert named["scores"].shards == outputs["scores"].shards


def test_a_pipeline_that_was_stopped_in_the_training_goes_on(
    tmp_path: Path, texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs.jsonl").write_text("\n".join(json.dumps({"text": text}) for _, text in texts))
    text = PIPELINE.format(folder=tmp_path, device="cpu")
    text = text[: text.index("  scores:")].replace("device: cpu", "checkpoint_every: 3")
    run_yaml(tmp_path / "whole", text)
    rate, done = loop.Schedule.rate, []

    def stop(schedule: loop.Schedule, step: int) -> float:
        done.append(step)
        if len(done) == 6:
            raise KeyboardInterrupt
        return rate(schedule, step)

    monkeypatch.setattr(loop.Schedule, "rate", stop)
    with pytest.raises(KeyboardInterrupt):
        run_yaml(tmp_path / "again", text)
    run_yaml(tmp_path / "again", text)
    assert done == [0, 1, 2, 3, 4, 5, *range(3, 12)]
    assert tree(tmp_path / "again") == tree(tmp_path / "whole")


@pytest.mark.slow
def test_a_command_that_was_killed_in_the_training_ends_with_the_same_bytes(tmp_path: Path, texts: Texts) -> None:
    (tmp_path / "docs.jsonl").write_text("\n".join(json.dumps({"text": text}) for _, text in texts))
    text = PIPELINE.format(folder=tmp_path, device="cpu").replace("tokens: 1536", "tokens: 12800")
    text = text[: text.index("  scores:")].replace("device: cpu", "checkpoint_every: 3")
    (tmp_path / "p.yaml").write_text(text)
    command = [sys.executable, "-m", "curate", "run", str(tmp_path / "p.yaml"), "--progress", "quiet", "--root"]
    run = subprocess.Popen([*command, str(tmp_path / "killed")])
    while not list((tmp_path / "killed").rglob("checkpoint*")):
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(f"it ended with {run.wait(timeout=0.1)} before its first checkpoint")
    run.kill()
    assert run.wait() == -signal.SIGKILL and not list((tmp_path / "killed").rglob("model.json"))
    subprocess.run([*command, str(tmp_path / "killed")], check=True, timeout=120)
    run_yaml(tmp_path / "whole", text)
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
