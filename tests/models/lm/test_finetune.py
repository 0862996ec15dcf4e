"""Fine-tuning: what is learnt of a conversation, and by which optimizer."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from curate.core.chat.messages import Conversation
from curate.core.errors import RunError
from curate.models.lm.chat_encode import ChatEncoder, load_chat_encoder
from curate.models.lm.finetune.data import Row, encode_rows
from curate.models.lm.finetune.loop import Epoch, Tuning, fit, mean_loss, row_losses
from curate.models.lm.finetune.train import finetune_rows
from curate.models.lm.folder import load_model, read_config
from curate.models.lm.lora import Lora, trained, wrap
from tests.steps.select.pools import dolly, flan

SMALL = Lora(rank=4, alpha=16, dropout=0.1)


@pytest.fixture(scope="module")
def folder(shared: Path) -> str:
    return str(shared / "models" / "tiny-llama")


@pytest.fixture(scope="module")
def loaded(folder: str) -> torch.nn.Module:
    return load_model(folder, read_config(folder), "CausalLM").eval()  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def model(loaded: torch.nn.Module) -> torch.nn.Module:
    return copy.deepcopy(loaded)


@pytest.fixture(scope="module")
def encoder(folder: str) -> ChatEncoder:
    return load_chat_encoder(folder, context=96)


def encoded(encoder: ChatEncoder, conversations: list[Conversation]) -> list[Row]:
    rows = ((f"{i:05d}", each) for i, each in enumerate(conversations))
    return encode_rows(encoder, rows, held_out=0, seed=0).learnt


def test_the_loss_falls_on_what_is_learnt_and_on_more_of_its_kind(
    shared: Path, encoder: ChatEncoder, model: torch.nn.Module
) -> None:
    rows = encoded(encoder, flan(shared, "creak", 32))
    learnt, others = rows[:20], rows[20:]
    before = {name: each.clone() for name, each in model.state_dict().items()}
    for tuning in (
        Tuning(lora=SMALL, epochs=3, lr=5e-3, batch_rows=8),
        Tuning(full=True, epochs=2, lr=5e-4, batch_rows=8),
    ):
        tuned = finetune_rows(model, learnt, tuning)
        assert mean_loss(tuned, learnt) < mean_loss(model, learnt) - 0.3
        assert mean_loss(tuned, others) < mean_loss(model, others) - 0.2
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_the_loss_of_a_row_is_the_mean_over_its_supervised_tokens_in_any_company(
    shared: Path, encoder: ChatEncoder, model: torch.nn.Module
) -> None:
    rows = encoded(encoder, dolly(shared, 12))
    together = row_losses(model, rows)
    assert np.array_equal(together, np.concatenate([row_losses(model, [row]) for row in rows]))
    for row, loss in zip(rows, together, strict=True):
        ids = torch.from_numpy(row.tokens.ids.astype(np.int64))
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, :-1]
        each = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none").numpy()
        assert loss == pytest.approx(each[row.tokens.supervised[1:]].mean(), abs=1e-5)


def test_a_step_is_that_of_adamw_on_the_mean_of_the_rows_losses(
    shared: Path, encoder: ChatEncoder, model: torch.nn.Module
) -> None:
    rows = encoded(encoder, dolly(shared, 6))
    tuning = Tuning(
        lora=Lora(rank=4, dropout=0), epochs=3, lr=1e-3, batch_rows=6, clip=None, weight_decay=0.1, warmup=0.3
    )
    seen: list[Epoch] = []
    theirs, ours = copy.deepcopy(model), model
    fit(ours, rows, tuning, device="cpu", at_epoch=seen.append)

    wrap(theirs, tuning.lora, tuning.seed)
    parameters = trained(theirs)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
    for rate in (1e-3, 1e-3, 5e-4):  # one step of warm-up, then down in a line
        optimizer.param_groups[0]["lr"] = rate
        losses = []
        for row in rows:
            ids = torch.from_numpy(row.tokens.ids.astype(np.int64))[None]
            labels = torch.where(torch.from_numpy(row.tokens.supervised)[None], ids, -100)
            losses.append(theirs(input_ids=ids, labels=labels).loss)
        torch.stack(losses).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert [each.rate for each in seen] == pytest.approx([1e-3, 1e-3, 5e-4])
    for name, parameter in parameters.items():
        state = optimizer.state[parameter]
        m, v = seen[-1].moments[name]
        # Sums of float32 in another order: against the largest number, as a small one may be what large ones leave.
        for ours_now, theirs_now in ((m, state["exp_avg"]), (v, state["exp_avg_sq"])):
            assert torch.allclose(ours_now, theirs_now, rtol=1e-3, atol=1e-4 * float(theirs_now.max())), name
        assert torch.allclose(trained(ours)[name], parameter, atol=1e-5), name


def test_micro_batches_change_the_rounding_alone_and_clipping_the_length_of_a_gradient(
    shared: Path, encoder: ChatEncoder, model: torch.nn.Module
) -> None:
    rows = encoded(encoder, dolly(shared, 8))

    def moments(**settings: object) -> dict[str, torch.Tensor]:
        seen: list[Epoch] = []
        tuning = Tuning(lora=Lora(rank=4, dropout=0), epochs=1, batch_rows=8, **settings)  # type: ignore[arg-type]
        fit(copy.deepcopy(model), rows, tuning, device="cpu", at_epoch=seen.append)
        return {name: m for name, (m, _) in seen[-1].moments.items()}

    whole, parts, clipped = moments(clip=None), moments(clip=None, micro_batch_tokens=1), moments(clip=0.01)
    for name, m in whole.items():
        assert torch.allclose(m, parts[name], rtol=1e-3, atol=1e-7)
    # m is a tenth of the first gradient.
    assert math.sqrt(sum(float(m.square().sum()) for m in clipped.values())) == pytest.approx(0.001, rel=1e-3)


def test_dropout_follows_the_seed_not_what_was_drawn_before(
    shared: Path, encoder: ChatEncoder, model: torch.nn.Module
) -> None:
    rows = encoded(encoder, dolly(shared, 6))

    def tuned(seed: int, dropout: float, before: int) -> torch.Tensor:
        torch.manual_seed(before)
        lora = Lora(rank=4, alpha=16, dropout=dropout)
        made = finetune_rows(model, rows, Tuning(lora=lora, epochs=2, lr=1e-3, batch_rows=6, seed=seed))
        return made.get_parameter("model.layers.0.self_attn.q_proj.weight")

    state = torch.manual_seed(7).get_state()
    first = tuned(0, 0.3, before=7)
    assert torch.equal(torch.random.get_rng_state(), state)  # and it leaves the generator as it was
    assert torch.equal(first, tuned(0, 0.3, before=8))
    assert not torch.equal(first, tuned(0, 0.2, before=7)) and not torch.equal(first, tuned(1, 0.3, before=7))


def test_a_loss_that_is_not_finite_stops_the_run(shared: Path, encoder: ChatEncoder, model: torch.nn.Module) -> None:
    rows = encoded(encoder, dolly(shared, 4))
    with torch.no_grad():
        model.get_parameter("model.norm.weight").fill_(math.inf)
    with pytest.raises(RunError, match="the loss is nan at step 1; lower `lr:`"):
        fit(model, rows, Tuning(lora=SMALL), device="cpu")
