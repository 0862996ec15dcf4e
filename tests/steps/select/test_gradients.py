"""Gradients of single rows: exact, of the row alone, and as each optimizer would apply them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from curate.core.chat.messages import Conversation, Turn
from curate.core.config import BadValue, validate
from curate.core.errors import ModelError
from curate.models.lm.chat_encode import Encoded, load_chat_encoder
from curate.models.lm.checkpoints import Checkpoint, load_checkpoint, model_hash, read_checkpoints, write_checkpoint
from curate.models.lm.folder import load_causal_lm
from curate.models.lm.gradients import backward, linear_layers, make_batch, tapped
from curate.models.lm.lora import Lora, wrap
from curate.steps.select.feature import Features
from curate.steps.select.gradient import Gradient, make_update
from curate.steps.select.projection import Sparse
from tests.steps.select.pools import dolly

NAMES = ["q_proj", "v_proj", "down_proj"]


@pytest.fixture(scope="module")
def tiny(shared: Path) -> str:
    return str(shared / "models" / "tiny-llama")


@pytest.fixture(scope="module")
def rows(shared: Path, tiny: str) -> list[Encoded]:
    """Short real conversations of different lengths."""
    encoded = load_chat_encoder(tiny, context=160)(dolly(shared, 60))
    return sorted((each for each in encoded if isinstance(each, Encoded)), key=lambda each: len(each.ids))[:40:5]


def load(path: str, kind: torch.dtype, *, lora: bool) -> torch.nn.Module:
    """The model, wrapped or not, with a B that is not zero."""
    model = cast(torch.nn.Module, load_causal_lm(path, device="cpu").model).to(kind)
    if lora:
        wrap(model, Lora(rank=4, alpha=8, targets=NAMES), seed=0)
        shake(model)
    return model.requires_grad_(False)


def shake(model: torch.nn.Module, seed: int = 0) -> None:
    chance = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.empty(parameter.shape).normal_(0, 0.05, generator=chance).to(parameter)


def batched(model: torch.nn.Module, rows: Sequence[Encoded], length: int) -> list[dict[str, torch.Tensor]]:
    """The gradients of each row, from one batch."""
    found: list[dict[str, torch.Tensor]] = [{} for _ in rows]

    def sink(name: str, inputs: torch.Tensor, errors: torch.Tensor) -> None:
        for row, gradient in enumerate(errors.transpose(1, 2) @ inputs):
            found[row][name] = gradient.clone()

    batch = make_batch([(row.ids, 1 + np.flatnonzero(row.supervised[1:])) for row in rows], length, device="cpu")
    backward(model, linear_layers(model, NAMES), batch, sink)
    return found


def alone(model: torch.nn.Module, row: Encoded) -> dict[str, torch.Tensor]:
    """The gradients of one row as autograd has them."""
    layers = linear_layers(model, NAMES)
    for layer in layers.values():
        layer.weight.requires_grad_(True)
    ids = torch.from_numpy(row.ids.astype(np.int64))
    logits = model(input_ids=ids[None]).logits[0, :-1]
    losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    losses[torch.from_numpy(row.supervised[1:])].mean().backward()
    found = {name: cast(torch.Tensor, layer.weight.grad).clone() for name, layer in layers.items()}
    model.zero_grad(set_to_none=True)
    model.requires_grad_(False)
    return found


def apart(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """The largest relative difference among parameters."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).norm() / other[name].norm()) for name in one)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize(("kind", "most"), [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=["float64", "float32"])
def test_gradients_of_a_batch_are_those_of_autograd_on_one_row_after_the_other(
    tiny: str, rows: list[Encoded], kind: torch.dtype, most: float, lora: bool
) -> None:
    model = load(tiny, kind, lora=lora)
    for mine, row in zip(batched(model, rows, 160), rows, strict=True):
        assert apart(mine, alone(model, row)) < most


def test_padding_on_the_left_gives_the_same_gradients(tiny: str, rows: list[Encoded]) -> None:
    model = load(tiny, torch.float64, lora=False)
    layers = linear_layers(model, NAMES)
    long = max(len(row.ids) for row in rows)
    ids, mask = torch.zeros(len(rows), long, dtype=torch.int64), torch.zeros(len(rows), long, dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, long - len(row.ids) :] = torch.from_numpy(row.ids.astype(np.int64))
        mask[i, long - len(row.ids) :] = 1
    found: list[dict[str, torch.Tensor]] = [{} for _ in rows]

    def sink(name: str, inputs: torch.Tensor, errors: torch.Tensor) -> None:
        for row, gradient in enumerate(errors.transpose(1, 2) @ inputs):
            found[row][name] = gradient

    places = (mask.cumsum(1) - 1).clamp(min=0)
    with tapped(layers, sink):
        logits = model(input_ids=ids, attention_mask=mask, position_ids=places).logits
        losses = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        total = torch.zeros((), dtype=torch.float64)
        for i, row in enumerate(rows):
            total = total + losses[i, long - len(row.ids) :][torch.from_numpy(row.supervised[1:])].mean()
        total.backward()
    for left, right in zip(found, batched(model, rows, long), strict=True):
        assert apart(left, right) < 1e-10


def load_features(tiny: str, **settings: object) -> Gradient:
    return validate(Gradient, {"model": tiny, "optimizer": "none", "dim": 512, "context": 160, **settings}, ())


def features(tiny: str, conversations: Sequence[Conversation], **settings: object) -> Features:
    gradient = load_features(tiny, **settings)
    return gradient.load(gradient.models())(conversations)


@pytest.mark.parametrize("projection", ["sparse", "two_sided", "dense"])
def test_the_bits_of_a_feature_depend_on_the_row_alone(tiny: str, shared: Path, projection: str) -> None:
    some = dolly(shared, 24)
    whole = features(tiny, some, projection=projection, layers=["v_proj"], context=64).rows
    order = random.Random(0).sample(range(len(some)), len(some))
    mixed = features(
        tiny, [some[i] for i in order], projection=projection, layers=["v_proj"], context=64, batch_tokens=200
    ).rows
    assert (mixed == whole[order]).all()


def test_a_row_of_which_nothing_is_predicted_has_a_reason_and_no_feature(tiny: str, shared: Path) -> None:
    long = (Turn("user", "word " * 500), Turn("assistant", "Never read."))
    unanswered = (Turn("user", "Hi"),)
    found = features(tiny, [*dolly(shared, 2), long, unanswered], layers=["q_proj"])
    assert [why and why.reason for why in found.refused] == [None, None, "no-supervised-token", "no-answer"]
    assert (np.abs(found.rows).sum(axis=(1, 2)) > 0).tolist() == [True, True, False, False]
    assert (found.tokens > 0).tolist() == [True, True, False, False]


def test_a_model_that_gives_no_number_has_no_features(tiny: str, shared: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "lm", copy_function=shutil.copyfile)
    (tmp_path / "lm").chmod(0o755)
    weights = load_file(tmp_path / "lm" / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, tmp_path / "lm" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="lm: the model gives a row no finite gradient"):
        features(str(tmp_path / "lm"), dolly(shared, 1), layers=["q_proj"])


@pytest.fixture(scope="module")
def warm(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with two checkpoints of a wrapped model, whose moments are made up."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "config.json").write_text("{}")
    for epoch, rate in ((1, 3e-5), (2, 1e-5)):
        model = load(tiny, torch.float32, lora=True)
        shake(model, epoch)
        weights = {name: each for name, each in model.named_parameters() if "lora_" in name}
        chance = torch.Generator().manual_seed(epoch)
        moments = {
            name: (
                torch.randn(each.shape, generator=chance) * 1e-3,
                torch.rand(each.shape, generator=chance) * 1e-5,
            )
            for name, each in weights.items()
        }
        checkpoint = Checkpoint(
            base=model_hash(tiny), lora=Lora(rank=4, alpha=8, targets=NAMES), template=None, context=160,
            epoch=epoch, step=5 * epoch, rate=rate, betas=(0.9, 0.999), eps=1e-8,
        )  # fmt: skip
        write_checkpoint(str(folder), checkpoint, weights, moments)
    return str(folder)


def test_checkpoints_weigh_as_the_learning_rates_of_their_epochs(tiny: str, warm: str) -> None:
    gradient = load_features(tiny, warmup=warm)
    assert list(gradient.load(gradient.models()).weights) == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize("optimizer", ["less", "none"])
def test_a_feature_is_the_projection_of_the_update_at_each_checkpoint(
    tiny: str, shared: Path, warm: str, optimizer: str
) -> None:
    some = dolly(shared, 6)
    found = features(tiny, some, warmup=warm, optimizer=optimizer, projection="sparse").rows
    encoded = load_chat_encoder(tiny, context=160)(some)
    for at, checkpoint in enumerate(read_checkpoints(warm, model_hash(tiny))):
        model = load(tiny, torch.float32, lora=False).requires_grad_(True)
        load_checkpoint(model, checkpoint)
        moments = checkpoint.moments()
        for row, each in zip(found[:, at], encoded, strict=True):
            assert isinstance(each, Encoded)
            expected = torch.zeros(1, 512)
            for name, g in alone(model, each).items():
                m, v = moments[name]
                if optimizer == "less":
                    g = (0.9 * m + 0.1 * g) / (0.999 * v + 0.001 * g**2 + 1e-8).sqrt()
                Sparse(512, 0).project(name, g.flatten()[None], expected)
            assert np.linalg.norm(row - expected.numpy()) < 1e-4 * np.linalg.norm(row)


def test_the_update_of_adam_is_a_step_of_torchs_adam_from_that_state(tiny: str, warm: str) -> None:
    checkpoint = read_checkpoints(warm, model_hash(tiny))[1]
    name, (m, v) = next(iter(checkpoint.moments().items()))
    gradient = torch.randn(m.shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    parameter = torch.nn.Parameter(torch.zeros(m.shape))
    optimizer = torch.optim.Adam([parameter], lr=1.0, betas=checkpoint.betas, eps=checkpoint.eps)
    optimizer.state[parameter] = {
        "step": torch.tensor(float(checkpoint.step)), "exp_avg": m.clone(), "exp_avg_sq": v.clone()
    }  # fmt: skip
    parameter.grad = gradient.clone()
    optimizer.step()
    update = make_update("adam", checkpoint, [name], "cpu")
    assert update is not None
    torch.testing.assert_close(update(name, gradient[None].clone())[0], -parameter.data, rtol=1e-5, atol=1e-6)


def test_layers_that_did_not_learn_in_the_warm_up_are_refused(tiny: str, warm: str, shared: Path) -> None:
    with pytest.raises(ModelError, match="o_proj.weight did not learn in the warm-up; `layers:` may name q_proj"):
        features(tiny, dolly(shared, 1), warmup=warm, layers=["o_proj"])


def test_a_layer_that_is_not_there_is_refused_with_those_that_are(tiny: str, shared: Path) -> None:
    with pytest.raises(ModelError, match="no linear layer of the model is called 'c_attn'; `layers:` may name: q_proj"):
        features(tiny, dolly(shared, 1), layers=["c_attn"])
    with pytest.raises(ModelError, match="lm_head shares its weight with the embedding"):
        features(tiny, dolly(shared, 1), layers=["lm_head"])


def test_a_warm_up_of_another_model_is_refused(tiny: str, warm: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    (other / "README.md").write_text("Another one.")
    with pytest.raises(ModelError, match="was trained from another model .*; name the model that"):
        gradient = load_features(str(other), warmup=warm)
        gradient.load(gradient.models())


def test_a_warm_up_without_the_optimizers_state_serves_plain_gradients_alone(
    tiny: str, warm: str, tmp_path: Path, shared: Path
) -> None:
    without = tmp_path / "warm"
    shutil.copytree(warm, without, ignore=shutil.ignore_patterns("optimizer.safetensors"))
    with pytest.raises(ModelError, match="has no optimizer.safetensors"):
        features(tiny, dolly(shared, 1), warmup=str(without), optimizer="less")
    assert features(tiny, dolly(shared, 1), warmup=str(without)).rows.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "less"}, "starts from the state that a `warmup:` left; name one, or set it to none"),
        ({"optimizer": "adam", "warmup": "warm", "projection": "two_sided"}, "two_sided never forms the gradient"),
        ({"projection": "one_sided"}, "two_sided"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_runs(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        load_features("models/tiny", **settings)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("projection", ["sparse", "two_sided", "dense"])
def test_a_gpu_gives_the_features_of_a_cpu(tiny: str, shared: Path, projection: str) -> None:
    cpu, gpu = (
        features(tiny, dolly(shared, 20), projection=projection, device=device).rows[:, 0] for device in ("cpu", "cuda")
    )
    cosines = (cpu * gpu).sum(1) / np.linalg.norm(cpu, axis=1) / np.linalg.norm(gpu, axis=1)
    assert (cosines > 0.999).all()
