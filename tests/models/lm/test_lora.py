"""LoRA: a wrapped model begins as the model it was, learns in its small matrices, and can be merged again."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
import transformers

from curate.core.errors import ModelError
from curate.models.lm.folder import load_model, read_config
from curate.models.lm.lora import Lora, merge, trained, wrap
from curate.models.lm.lora_layer import LoraLinear

SMALL = Lora(rank=4, alpha=16, dropout=0.0)


@pytest.fixture
def model(shared: Path) -> torch.nn.Module:
    folder = str(shared / "models" / "tiny-llama")
    return load_model(folder, read_config(folder), "CausalLM").eval()  # type: ignore[attr-defined, no-any-return]


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(5, 45).reshape(2, 20)).logits  # type: ignore[no-any-return]


def learn(model: torch.nn.Module) -> None:
    """As if something had been learnt: B is zero no more."""
    for i, each in enumerate(model.modules()):
        if isinstance(each, LoraLinear):
            torch.nn.init.normal_(each.lora_B.weight, std=0.05, generator=torch.Generator().manual_seed(i))


def test_a_wrapped_model_begins_as_the_model_that_it_was(model: torch.nn.Module) -> None:
    before = logits(model)
    assert len(wrap(model, SMALL, seed=0)) == 4 * 6
    assert torch.equal(logits(model), before)
    learn(model)
    assert not torch.allclose(logits(model), before, atol=1e-3)


def test_a_merged_model_computes_what_the_wrapped_one_did_and_has_its_names(model: torch.nn.Module) -> None:
    names, before = [name for name, _ in model.named_parameters()], logits(model)
    wrap(model, SMALL, seed=0)
    learn(model)
    wrapped = logits(model)
    merge(model)
    assert torch.allclose(logits(model), wrapped, atol=1e-5)
    assert not torch.allclose(wrapped, before, atol=1e-3)
    assert [name for name, _ in model.named_parameters()] == names


def test_a_layer_adds_alpha_by_rank_times_the_product_to_its_output() -> None:
    base = torch.nn.Linear(6, 3)
    layer = LoraLinear(base, rank=2, scale=8 / 2, dropout=0.0, seed=5)
    torch.nn.init.ones_(layer.lora_B.weight)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    product = layer.lora_B.weight @ layer.lora_A.weight
    assert torch.allclose(layer(x), base(x) + 4 * x @ product.T, atol=1e-6)


def test_only_the_small_matrices_learn_and_are_called_by_their_layer(model: torch.nn.Module) -> None:
    wrap(model, SMALL, seed=0)
    shapes = {name: tuple(each.shape) for name, each in trained(model).items()}
    assert len(shapes) == 2 * 4 * 6
    assert shapes["model.layers.0.self_attn.q_proj.lora_A.weight"] == (4, 192)
    assert shapes["model.layers.5.self_attn.k_proj.lora_B.weight"] == (96, 4)
    model(input_ids=torch.arange(5, 25)[None]).logits.sum().backward()
    assert {name for name, each in model.named_parameters() if each.grad is not None} == shapes.keys()


def test_the_random_numbers_of_a_layer_follow_from_the_seed_and_its_name(shared: Path, model: torch.nn.Module) -> None:
    folder = str(shared / "models" / "tiny-llama")
    name = "model.layers.3.self_attn.v_proj.lora_A.weight"

    def drawn(seed: int, *targets: str) -> torch.Tensor:
        fresh: torch.nn.Module = load_model(folder, read_config(folder), "CausalLM")  # type: ignore[assignment]
        torch.manual_seed(len(targets))
        wrap(fresh, Lora(rank=4, targets=list(targets)), seed)
        return trained(fresh)[name].detach()

    alone, together, other = drawn(1, "v_proj"), drawn(1, "o_proj", "v_proj"), drawn(2, "v_proj")
    assert torch.equal(alone, together) and not torch.equal(alone, other)
    assert alone.abs().max() <= 1 / math.sqrt(192) and alone.std() == pytest.approx(1 / math.sqrt(3 * 192), rel=0.1)


def test_dropout_is_of_training_alone(model: torch.nn.Module) -> None:
    wrap(model, Lora(rank=4, dropout=0.5), seed=0)
    learn(model)
    assert torch.equal(logits(model), logits(model))
    model.train()
    assert not torch.equal(logits(model), logits(model))


def test_a_target_that_names_no_layer_is_reported_with_those_that_are_there(model: torch.nn.Module) -> None:
    with pytest.raises(ModelError, match=r"called 'k_prj'; .* q_proj, k_proj, v_proj, o_proj, gate_proj"):
        wrap(model, Lora(targets=["q_proj", "k_prj"]), seed=0)
    assert all(each.requires_grad for each in model.parameters())


def test_layers_that_are_not_linear_or_share_their_weight_are_refused(model: torch.nn.Module) -> None:
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=16))
    with pytest.raises(ModelError, match=r"transformer.h.0.attn.c_attn is of the kind Conv1D.*`full: true`"):
        wrap(gpt2, Lora(targets=["c_attn"]), seed=0)
    with pytest.raises(ModelError, match="lm_head shares its weight with the embedding"):
        wrap(model, Lora(targets=["q_proj", "lm_head"]), seed=0)
    assert not any(isinstance(each, LoraLinear) for each in model.modules())


def test_a_model_is_not_wrapped_twice(model: torch.nn.Module) -> None:
    wrap(model, SMALL, seed=0)
    with pytest.raises(ModelError, match="wrapped already"):
        wrap(model, SMALL, seed=0)
