"""What tokens cost, to the pico-dollar."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import ConfigError
from curate.generate.prices import DOLLAR, Price, dollars, load_prices
from curate.generate.request import Usage

tokens = st.integers(0, 10**7)
prices = st.builds(Price, *[st.integers(0, 10**9)] * 3)


def written(tmp_path: Path, text: str) -> str:
    (tmp_path / "prices.yaml").write_text(text)
    return str(tmp_path / "prices.yaml")


def test_a_price_in_usd_a_million_tokens_is_exact_in_pico_dollars(tmp_path: Path) -> None:
    found = load_prices(
        written(tmp_path, "m: {input: 0.15, output: 0.60}\nn: {input: 2.5, output: 10, cached: 1.25}\n")
    )
    assert found == {"m": Price(150_000, 150_000, 600_000), "n": Price(2_500_000, 1_250_000, 10_000_000)}


@given(st.lists(st.tuples(tokens, tokens), max_size=50))
def test_a_sum_of_costs_is_the_cost_of_the_sum(used: list[tuple[int, int]]) -> None:
    price = Price(150_000, 75_000, 600_000)
    total = sum(price.cost(Usage(prompt, 0, answer)) for prompt, answer in used)
    exact = sum(Decimal("0.15") * prompt + Decimal("0.6") * answer for prompt, answer in used) / 10**6
    assert Decimal(total) / DOLLAR == exact


@given(prices, tokens, tokens, tokens)
def test_no_usage_costs_more_than_the_worst_case(price: Price, prompt: int, cached: int, answer: int) -> None:
    assert 0 <= price.cost(Usage(prompt, cached, answer)) <= price.worst(prompt, answer)


@given(prices, st.floats(0.01, 1))
def test_a_part_of_a_price_is_never_less_than_that_part(price: Price, part: float) -> None:
    less = price.times(part)
    for whole, reduced in zip((price.prompt, price.completion), (less.prompt, less.completion), strict=True):
        assert whole * part <= reduced < whole * part + 1


def test_cached_tokens_have_their_own_price() -> None:
    assert Price(10, 1, 100).cost(Usage(prompt=8, cached=5, completion=2)) == 3 * 10 + 5 * 1 + 2 * 100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m: {input: -1, output: 1}", "is no price"),
        ("m: {input: 0.0000001, output: 1}", "six decimals"),
        ("m: {input: 1}", "output"),
        ("m: {input: 1, output: 1, outputs: 2}", "outputs"),
        ("m: cheap", "m"),
    ],
)
def test_a_wrong_price_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        load_prices(written(tmp_path, text))
    assert "prices.yaml:1" in str(raised.value)


@pytest.mark.parametrize(
    ("pico", "said"),
    [(0, "$0.00"), (12_300_000_000, "$0.0123"), (3 * DOLLAR // 2, "$1.50"), (1234 * DOLLAR, "$1,234.00")],
)
def test_dollars_are_written_for_a_person(pico: int, said: str) -> None:
    assert dollars(pico) == said
