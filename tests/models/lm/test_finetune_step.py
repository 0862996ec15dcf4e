"""A `train` step that fine-tunes: what a run leaves behind, what it obeys, and that it goes on to the same bytes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from safetensors.torch import load_file

from curate.core.chat.messages import Turn
from curate.core.config import BadValue
from curate.core.dataset import Dataset
from curate.core.engine import Resources
from curate.core.engine.local import LocalEngine
from curate.core.errors import ConfigError, ModelError, RunError
from curate.core.progress import Progress
from curate.core.step import Step, execute
from curate.models.lm.chat_encode import load_chat_encoder
from curate.models.lm.checkpoints import load_checkpoint, model_hash, read_checkpoints
from curate.models.lm.finetune import loop
from curate.models.lm.folder import load_model, read_config
from curate.models.lm.lora import Lora, merge, trained, wrap
from curate.steps.train.step import VERSION, parse, run
from tests.helpers import dataset, tree
from tests.steps.select.pools import beside, dolly, pool

QUICK = {"lora": {"rank": 4, "alpha": 16.0}, "epochs": 2, "lr": 2e-3, "batch_rows": 4, "context": 96}


@pytest.fixture(scope="module")
def folder(shared: Path) -> str:
    return str(shared / "models" / "tiny-llama")


def tune(tmp_path: Path, inputs: dict[str, Dataset], folder: str, **config: object) -> Dataset:
    """The output of a `train` step with the method `finetune`."""
    parsed = parse({"finetune": {"from": [*inputs], "model": folder, **QUICK, **config}}, ("steps", "tuned", "train"))
    roles = {role: inputs[name] for role, name in parsed.inputs().items()}
    identity = {**parsed.identity(), "models": {"model": model_hash(folder)}}
    step = Step("tuned", "train", VERSION, identity, roles, {"model": folder}, lambda job: run(job, parsed))
    return execute(step, str(tmp_path / "run"), LocalEngine(), Resources(), Progress("quiet"))


def test_a_run_leaves_a_merged_model_and_a_checkpoint_an_epoch(shared: Path, tmp_path: Path, folder: str) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 20), shards=2)
    out = tune(tmp_path, {"docs": docs}, folder, held_out=0.3)
    made = Path(out.folder) / "model"
    checkpoints = read_checkpoints(str(made), model_hash(folder))
    assert [each.epoch for each in checkpoints] == [1, 2]
    assert checkpoints[1].rate < checkpoints[0].rate < 2e-3 and checkpoints[1].step == 2 * checkpoints[0].step

    tuned = load_model(str(made), read_config(str(made)), "CausalLM")
    base: torch.nn.Module = load_model(folder, read_config(folder), "CausalLM")  # type: ignore[assignment]
    load_checkpoint(base, checkpoints[0])
    load_checkpoint(base.eval(), checkpoints[1])
    ids = torch.arange(5, 45).reshape(2, 20)
    with torch.no_grad():
        wrapped, final = base(input_ids=ids).logits, tuned.eval()(input_ids=ids).logits  # type: ignore[attr-defined]
    assert torch.allclose(wrapped, final, atol=1e-5)
    assert checkpoints[1].moments().keys() == checkpoints[1].weights().keys() == trained(base).keys()

    card = orjson.loads((Path(out.folder) / "model.json").read_bytes())
    assert card == out.manifest.details["card"]
    assert card["model"] == out.manifest.hash_of("model") == model_hash(str(made))
    assert card["held_out"]["loss"] < card["held_out"]["loss_before"]
    assert card["curve"][-1]["train_loss"] < card["curve"][0]["train_loss"]
    encoder, again = load_chat_encoder(folder), load_chat_encoder(str(made))
    (old,), (new,) = encoder(dolly(shared, 1)), again(dolly(shared, 1))
    assert np.array_equal(old.ids, new.ids)  # type: ignore[union-attr]
    assert orjson.loads((made / "config.json").read_bytes())["use_cache"] is True


def test_training_in_full_keeps_every_parameter_and_a_named_template(shared: Path, tmp_path: Path, folder: str) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 8))
    parsed = {key: value for key, value in QUICK.items() if key != "lora"}
    config = {"finetune": {"from": "docs", "model": folder, **parsed, "full": True, "epochs": 1, "template": "tulu"}}
    step = parse(config, ("steps", "tuned", "train"))
    made = execute(
        Step(
            "tuned", "train", VERSION, step.identity(), {"from[0]": docs}, {"model": folder}, lambda job: run(job, step)
        ),
        str(tmp_path / "run"),
        LocalEngine(),
        Resources(),
        Progress("quiet"),
    )
    (checkpoint,) = read_checkpoints(made.folder + "/model", model_hash(folder))
    assert checkpoint.lora is None and checkpoint.template == "tulu"
    weights = load_file(made.folder + "/model/model.safetensors")
    assert all(torch.equal(each, weights[name]) for name, each in checkpoint.weights().items())
    base: torch.nn.Module = load_model(folder, read_config(folder), "CausalLM")  # type: ignore[assignment]
    load_checkpoint(base, checkpoint)
    assert torch.equal(base.state_dict()["model.norm.weight"], weights["model.norm.weight"])
    text = load_chat_encoder(made.folder + "/model").prompt((Turn("user", "Hi"),))
    assert np.array_equal(text, load_chat_encoder(folder, template="tulu").prompt((Turn("user", "Hi"),)))


def test_what_lies_beside_the_conversations_is_obeyed_and_a_sample_is_a_part_of_it(
    shared: Path, tmp_path: Path, folder: str
) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 40))
    picks = beside(tmp_path / "picks", docs, {"keep": [i % 2 == 0 for i in range(40)]}, step="picks")
    other = beside(tmp_path / "other", docs, {"keep": [i < 20 or None for i in range(40)]}, step="other")
    both = tune(tmp_path, {"docs": docs, "picks": picks, "other": other}, folder, epochs=1)
    assert _data(both)["conversations"] == 10  # a row whose `keep` is null is not kept
    few = tune(tmp_path, {"docs": docs, "picks": picks}, folder, epochs=1, sample=0.25)
    again = tune(tmp_path / "again", {"docs": docs, "picks": picks}, folder, epochs=1, sample=0.25, seed=1)
    assert _data(few)["conversations"] == _data(again)["conversations"] == 5
    assert _data(few)["digest"] != _data(again)["digest"]
    with pytest.raises(ConfigError, match="step picks: says what to keep of which conversations"):
        tune(tmp_path, {"picks": picks, "docs": docs}, folder)
    with pytest.raises(ConfigError, match="step texts: holds documents, not conversations"):
        tune(tmp_path, {"texts": dataset(tmp_path / "texts", {"text": ["a"]})}, folder)
    none = beside(tmp_path / "none", docs, {"keep": [False] * 40}, step="none")
    with pytest.raises(RunError, match="no conversation to learn from is kept"):
        tune(tmp_path, {"docs": docs, "none": none}, folder)


def _data(made: Dataset) -> dict[str, object]:
    return made.manifest.details["card"]["data"]  # type: ignore[call-overload, index, no-any-return]


def test_rows_without_a_token_to_learn_are_left_out_and_counted(shared: Path, tmp_path: Path, folder: str) -> None:
    long = (Turn("user", "word " * 500), Turn("assistant", "yes"))
    odd = [long, (Turn("user", "no answer"),), (Turn("user", "Hi"), Turn("assistant", " "))]
    docs = pool(tmp_path / "docs", [*odd, *dolly(shared, 6)])
    made = tune(tmp_path, {"docs": docs}, folder, epochs=1)
    assert _data(made)["left_out"] == {"empty-turn": 1, "no-answer": 1, "no-supervised-token": 1}
    with pytest.raises(RunError, match="0 conversations to learn .* of 3 .1 empty-turn, 1 no-answer"):
        tune(tmp_path, {"docs": pool(tmp_path / "odd", odd, step="odd")}, folder)


def test_shards_resources_and_the_names_and_places_of_things_change_no_byte(
    shared: Path, tmp_path: Path, folder: str
) -> None:
    rows = dolly(shared, 12)
    shutil.copytree(folder, tmp_path / "model", copy_function=shutil.copyfile)
    one = tune(tmp_path / "one", {"docs": pool(tmp_path / "docs1", rows)}, folder, epochs=1)
    more = pool(tmp_path / "docs2", rows, shards=3)
    two = tune(tmp_path / "two", {"pool": more}, str(tmp_path / "model"), epochs=1, checkpoint_every=1, device="cpu")
    assert {**tree(Path(one.folder)), "manifest.json": ""} == {**tree(Path(two.folder)), "manifest.json": ""}


def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(
    shared: Path, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 10))
    whole = tune(tmp_path / "whole", {"docs": docs}, folder, checkpoint_every=1)
    learn, done = loop._learn, []

    def stop(*args: object) -> float:
        done.append(len(done))
        if len(done) == 5:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return learn(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_learn", stop)
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "again", {"docs": docs}, folder, checkpoint_every=1)
    again = tune(tmp_path / "again", {"docs": docs}, folder, checkpoint_every=1)
    assert len(done) == 6 + 1  # no step was done twice but the one that was stopped
    assert tree(Path(again.folder)) == tree(Path(whole.folder))


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_bytes(shared: Path, tmp_path: Path, folder: str) -> None:
    script = f"""
import os, signal, sys
from pathlib import Path
from curate.models.lm.finetune import loop
from tests.models.lm.test_finetune_step import tune
from tests.steps.select.pools import dolly, pool
save = loop.save_state
def killed(*args):
    save(*args)
    if int(args[-1]["step"]) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
loop.save_state = killed
at = Path(sys.argv[1])
docs = pool(at / "docs", dolly(Path({str(shared)!r}), 10))
tune(at, {{"docs": docs}}, {folder!r}, checkpoint_every=1)
"""

    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "killed")], capture_output=True, timeout=200)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for name in ("killed", "whole"):
        docs = pool(tmp_path / name / "docs", dolly(shared, 10))
        tune(tmp_path / name, {"docs": docs}, folder, checkpoint_every=1)
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


def test_checkpoints_are_distinguished(shared: Path, tmp_path: Path, folder: str) -> None:
    made = tune(tmp_path, {"docs": pool(tmp_path / "docs", dolly(shared, 4))}, folder, epochs=1)
    path = Path(made.folder) / "model"
    with pytest.raises(ModelError, match="was trained from another model"):
        read_checkpoints(str(path), "0" * 32)
    with pytest.raises(ModelError, match="holds no checkpoints/; name a step that trains a `finetune`"):
        read_checkpoints(folder, model_hash(folder))
    (checkpoint,) = read_checkpoints(str(path), model_hash(folder))
    small: torch.nn.Module = load_model(folder, read_config(folder), "CausalLM")  # type: ignore[assignment]
    wrap(small, Lora(rank=2), seed=0)
    with pytest.raises(ModelError, match="does not fit the model"):
        load_checkpoint(small, checkpoint)
    merge(small)
    (path / "checkpoints/epoch-01/optimizer.safetensors").unlink()
    with pytest.raises(ModelError, match="has no optimizer.safetensors, so the optimizer's state is not known"):
        read_checkpoints(str(path), model_hash(folder))


def test_a_model_that_is_none_and_settings_that_exclude_one_another_are_refused(
    shared: Path, tmp_path: Path, folder: str
) -> None:
    docs = pool(tmp_path / "docs", dolly(shared, 4))
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other").chmod(0o755)
    (tmp_path / "other" / "config.json").unlink()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "distilbert"}')
    with pytest.raises(ConfigError, match="'distilbert' is not a causal language model"):
        tune(tmp_path, {"docs": docs}, str(tmp_path / "other"))
    with pytest.raises(ConfigError, match="no layer of the model is called 'qkv'"):
        tune(tmp_path, {"docs": docs}, folder, lora={"targets": ["qkv"]})
    with pytest.raises(BadValue, match="exclude one another"):
        tune(tmp_path, {"docs": docs}, folder, full=True)
    with pytest.raises(BadValue, match="did you mean 'tulu'"):
        tune(tmp_path, {"docs": docs}, folder, template="tula")
