"""What the bits of neural models stand on here: read this first where one of theirs fails.

These run before the other tests that load a model (tests/conftest.py sees to it).
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.core import bits
from curate.core.engine import Engine, Resources
from curate.core.engine.local import LocalEngine
from curate.models.device import product_rows, reproducibility, require, threads
from curate.models.lm.batching import LANES, batches, grain_of
from tests.helpers import bits_can_be_portable

F = torch.nn.functional
STRICT = 0x10000
Tensor = torch.Tensor
Function = Callable[[Tensor], Tensor]


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def depends(function: Function, every: Tensor, some: tuple[int, ...] = (1, 2, 3, 7)) -> list[str]:
    """The numbers of rows, among `some`, at which a row's bits differ from those that it has among all."""
    with threads(1), torch.no_grad():
        found = function(every)
        return [
            f"{rows} rows from {at}"
            for rows in some
            for at in range(0, len(every), rows)
            if not torch.equal(function(every[at : at + rows]), found[at : at + rows])
        ]


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 48), (64, 256), (100, 37), (384, 1536), (1536, 384), (500, 3)])
def test_a_matrix_product_gives_a_row_the_same_bits_whatever_its_neighbours(inputs: int, outputs: int) -> None:
    unit = product_rows()
    if not unit:
        pytest.skip("products depend on their neighbours here, as is known: rows are computed alone")
    if unit > 1 and outputs % 4:
        pytest.skip("products of other numbers of outputs depend on their neighbours here, as is known")
    weight, bias = numbers(outputs, inputs, seed=1), numbers(outputs, seed=2)
    wrong = [
        f"{name}, {rows} rows of {total}: {place}"
        for total, name in itertools.product((16, 41, 320), ("linear", "product"))
        for rows in (1, 2, 3, 5, 8, 13, 40)
        for place in depends(
            (lambda x: F.linear(x, weight, bias)) if name == "linear" else lambda x: x @ weight.T,
            numbers(total * unit, inputs),
            (rows * unit,),
        )
    ]
    assert not wrong, (
        f"on {bits.processor()} a matrix product depends on its neighbours, and product_rows() in curate/models/device.py"
        f" did not find out (it says {unit}; MKL's mode is {reproducibility()}): a row's company changes its numbers, and"
        f" every test that says otherwise will fail. Such as: {wrong[:3]}"
    )


@pytest.mark.skipif(
    not bits_can_be_portable() or "GenuineIntel" not in bits.processor(), reason="MKL cannot be strict here"
)
def test_products_are_free_of_their_neighbours_wherever_mkl_can_be_strict() -> None:
    limited = os.environ.get("MKL_ENABLE_INSTRUCTIONS", "").startswith("SSE")
    assert (reproducibility() or 0) & STRICT
    assert product_rows() == (8 if limited else 1)


def attention(**settings: object) -> Function:
    return lambda x: F.scaled_dot_product_attention(x, x * 0.5, x + 1, **settings)  # type: ignore[arg-type]


def masked(x: Tensor) -> Tensor:
    mask = torch.ones(len(x), 1, x.shape[2], x.shape[2], dtype=torch.bool).tril()
    return F.scaled_dot_product_attention(x, x * 0.5, x + 1, attn_mask=mask)


def angles(x: Tensor) -> Tensor:
    return torch.arange(x.shape[1])[:, None] / 10 ** torch.linspace(0, 4, x.shape[2])


DOWN, UP = numbers(8, 64, seed=3), numbers(64, 8, seed=4)
TABLE = numbers(50, 64, seed=5)
# By the rows that they are given: (rows, heads, tokens, width of a head) or (rows, tokens, width).
OF_HEADS: dict[str, Function] = {
    "attention": attention(),
    "causal attention": attention(is_causal=True),
    "masked attention": masked,
    "batched products": lambda x: x @ x.transpose(2, 3),
}
OF_TOKENS: dict[str, Function] = {
    "layer norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "RMS norm": lambda x: F.rms_norm(x, x.shape[-1:]),
    "GELU": F.gelu,
    "GELU by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "SiLU": F.silu,
    "tanh": torch.tanh,
    "softmax": lambda x: torch.softmax(x, -1),
    "log softmax": lambda x: torch.log_softmax(x, -1),
    "embedding": lambda x: F.embedding((x.float().abs() * 10).long(), TABLE.to(x)),
    "LoRA": lambda x: x + 2 * F.linear(F.linear(x, DOWN.to(x)), UP.to(x)),
    "rotation": lambda x: x * angles(x).cos() + x.roll(1, -1) * angles(x).sin(),
    "mean": lambda x: x.double().mean(1),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", [*OF_HEADS, *OF_TOKENS])
def test_the_other_parts_of_a_model_give_a_row_the_same_bits_in_any_company(name: str, dtype: torch.dtype) -> None:
    for tokens in (8, 24, 40, 64):
        if name in OF_HEADS:
            assert not depends(OF_HEADS[name], numbers(16, 4, tokens, 32, dtype=dtype)), tokens
            continue
        assert not depends(OF_TOKENS[name], numbers(16, tokens, 64, dtype=dtype)), tokens


def test_an_optimizers_step_does_not_depend_on_the_other_parameters() -> None:
    def step(parameters: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        own = [torch.nn.Parameter(each.clone()) for each in parameters]
        optimizer = torch.optim.AdamW(own, lr=0.01, fused=True)
        for _ in range(3):
            for each, gradient in zip(own, gradients, strict=True):
                each.grad = gradient.clone()
            optimizer.step()
        return [each.detach() for each in own]

    with threads(1):
        shapes = [(33, 7), (64, 64), (5,)]
        values = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
        gradients = [numbers(*shape, seed=10 + i) for i, shape in enumerate(shapes)]
        together = step(values, gradients)
        for i, found in enumerate(together):
            assert torch.equal(step([values[i]], [gradients[i]])[0], found)


class Net(torch.nn.Module):
    """What follows the rows through layers of any width."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(width, inner), torch.nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.silu(self.up(x)) * torch.tanh(self.up(x)))


@given(
    width=st.sampled_from([4, 16, 33, 48, 64]),
    inner=st.sampled_from([8, 37, 66, 172, 256]),
    lengths=st.lists(st.integers(1, 70), min_size=2, max_size=12),
    context=st.sampled_from([37, 64, 70]),
)
def test_rows_that_share_a_batch_have_the_bits_that_they_have_alone_whatever_the_widths(
    width: int, inner: int, lengths: list[int], context: int
) -> None:
    torch.manual_seed(0)
    net = Net(width, inner)
    lengths = [min(each, context) for each in lengths]
    with threads(1), torch.no_grad():
        for length, some in batches(lengths, context, 4096, grain_of(net, "cpu")):
            rows = torch.stack([numbers(length, width, seed=i) for i in some])
            together = net(rows)
            for row, found in zip(rows, together, strict=True):
                assert torch.equal(net(row[None])[0], found)


def test_the_grain_of_a_model_follows_from_the_widths_of_its_layers() -> None:
    unit = product_rows()
    if not unit:
        pytest.skip("rows are computed alone here")
    assert grain_of(Net(64, 256), "cpu") == LANES // unit
    assert grain_of(Net(64, 36), "cpu") == 4
    assert grain_of(Net(64, 37), "cpu") == (1 if unit == 1 else 0)
    assert grain_of(Net(64, 37), "cuda") == LANES
    net = Net(64, 256)
    net.config = SimpleNamespace(num_local_experts=4)  # type: ignore[assignment]
    assert grain_of(net, "cpu") == 0


def mode_of_a_worker() -> Callable[[int], int | None]:
    require()
    return lambda _: reproducibility()


def test_every_process_that_loads_a_model_asks_mkl_to_be_strict(ray_engine: Engine) -> None:
    if reproducibility() is None:
        pytest.skip("no MKL")
    for engine in (LocalEngine(), ray_engine):
        found = engine.map(mode_of_a_worker, [0, 1, 2], resources=Resources(workers=2), label="mode")
        assert all((each.result or 0) & STRICT for each in found), engine.name


USED_FIRST = """
import warnings, torch
torch.ones(3, 3) @ torch.ones(3, 3)
from curate.models.device import product_rows
from curate.steps.score.causal_lm import causal_lm
from curate.text.batch import TextBatch
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    texts = ["The garden was quiet.", "Nobody knew.", "It would be back with the wind, and soon."]
    for some in (texts, texts[1:], texts[1:2]):
        print(causal_lm(model={model!r})(TextBatch.of(some))["loss"][-len(texts[1:]) if len(some) > 1 else 0].as_py())
print([str(each.message)[:40] for each in caught if "torch was used" in str(each.message)])
"""


@pytest.mark.skipif(reproducibility() is None, reason="no MKL")
def test_where_torch_was_used_first_it_is_said_once_and_the_bits_still_do_not_depend_on_company(shared: object) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    done = subprocess.run(
        [sys.executable, "-c", USED_FIRST.replace("{model!r}", repr(f"{shared}/models/tiny-llama"))],
        env=environment, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    *losses, warning = done.stdout.splitlines()
    assert len(losses) == 3 and len(set(losses)) == 1
    assert warning == "['torch was used before curate loaded a mo']"
