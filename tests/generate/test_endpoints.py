"""Endpoints, caps and prices as a configuration names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.config import BadValue
from curate.core.digest import Plain
from curate.generate.endpoints import read_endpoints
from curate.generate.prices import Price

URL = "http://127.0.0.1:8000/v1"


def named(**endpoint: Plain) -> dict[str, Plain]:
    return {"endpoints": {"large": {"model": "small", "url": URL, **endpoint}}}


@pytest.fixture
def prices(tmp_path: Path) -> str:
    (tmp_path / "prices.yaml").write_text("small: {input: 0.15, output: 0.60}\n")
    return str(tmp_path / "prices.yaml")


def test_a_price_is_of_the_model_and_reduced_by_the_discount(prices: str) -> None:
    endpoints = read_endpoints({**named(discount=0.5), "prices": prices, "budget": {"usd": 1}})
    assert endpoints.price("large") == Price(75_000, 75_000, 300_000)


def test_without_a_cap_in_usd_no_price_is_needed() -> None:
    endpoints = read_endpoints({**named(), "budget": {"requests": 10}})
    assert endpoints.price("large") == Price(0, 0, 0)


@pytest.mark.parametrize("budget", [{"usd": 1}, {"models": {"small": {"usd": 1}}}])
def test_a_cap_in_usd_wants_a_price(budget: dict[str, Plain]) -> None:
    with pytest.raises(BadValue, match="'small' has no price"):
        read_endpoints({**named(), "budget": budget})


def test_a_cap_on_a_model_that_nobody_asks_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadValue, match="no endpoint has such a model; .*small"):
        read_endpoints({**named(), "budget": {"models": {"smal": {"requests": 1}}}})


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ({"url": None}, "needs `url:`"),
        ({"servers": [{"url": URL}]}, "needs `url:`"),
        ({"url": None, "key": "KEY", "servers": [{"url": URL}]}, "belongs to each of the servers"),
        ({"url": "localhost:8000"}, "is no URL"),
        ({"key": "sk-live-0123456789"}, "never write a key here"),
        ({"extra": {"seed": 1}}, "is set by the recipe"),
        ({"extra": {"max_tokens": 1}}, "is set by the recipe"),
        ({"tries": 0}, "greater than or equal to 1|at least 1|1"),
        ({"url": None, "batch": True, "servers": [{"url": URL}, {"url": URL}]}, "goes to one server"),
        ({"colour": "red"}, "colour|unknown"),
    ],
)
def test_a_wrong_endpoint_is_refused(endpoint: dict[str, Plain], said: str) -> None:
    with pytest.raises(BadValue, match=said):
        read_endpoints(named(**endpoint))


def test_a_key_in_the_config_is_not_repeated_where_it_is_refused() -> None:
    with pytest.raises(BadValue) as raised:
        read_endpoints(named(key="sk-live-0123456789"))
    assert "0123456789" not in str(raised.value)


def test_a_missing_key_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoints = read_endpoints(named(key="CURATE_TEST_KEY"))
    monkeypatch.delenv("CURATE_TEST_KEY", raising=False)
    with pytest.raises(BadValue, match="no CURATE_TEST_KEY; export it, or run with --replay"):
        endpoints.check_keys(["large"])
    monkeypatch.setenv("CURATE_TEST_KEY", "x")
    endpoints.check_keys(["large"])


BEARS: list[dict[str, Plain]] = [
    {"model": "m2"}, {"revision": "r"}, {"extra": {"top_k": 1}}, {"structured": False}, {"seed": False},
    {"limit": "max_completion_tokens"},
]  # fmt: skip
BEARS_NOT: list[dict[str, Plain]] = [
    {"url": "http://127.0.0.1:9/v1"}, {"key": "KEY"}, {"in_flight": 3}, {"timeout": 5}, {"tries": 2}, {"patience": 1},
    {"stream": True}, {"batch": True}, {"batch_rows": 7}, {"discount": 0.5},
]  # fmt: skip


def identity(endpoint: dict[str, Plain]) -> object:
    return read_endpoints(named(**endpoint)).by_name["large"].identity()


def test_what_changes_the_answers_bears_identity_and_nothing_else_does() -> None:
    assert all(identity(each) != identity({}) for each in BEARS)
    assert all(identity(each) == identity({}) for each in BEARS_NOT)
    keys = {name for each in [*BEARS, *BEARS_NOT] for name in each} | {"servers"}
    assert keys == set(type(read_endpoints(named()).by_name["large"]).model_fields)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"endpoints": ["large"]}, "names and endpoints"),
        ({"prices": 3}, "YAML file"),
        ({"ledgers": [3]}, "recorded answers"),
        ({"ledgers": "missing.jsonl"}, "no such file"),
    ],
)
def test_a_key_of_the_wrong_form_is_refused(data: dict[str, Plain], said: str) -> None:
    with pytest.raises(BadValue, match=said):
        read_endpoints(data)
