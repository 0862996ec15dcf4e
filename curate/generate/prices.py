"""What tokens cost, in whole pico-dollars, so that sums are exact.

prices = load_prices("prices.yaml")          # {gpt-4o-mini: {input: 0.15, output: 0.60}}, USD a million tokens
prices["gpt-4o-mini"].cost(Usage(prompt=1000, completion=200))       # 270_000_000 pico-dollars: $0.00027
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from curate.core.config import BadValue, Model, Path, load, validate
from curate.core.digest import Plain
from curate.generate.request import Usage

# A dollar a million tokens is 10^6 pico-dollars a token.
DOLLAR = 10**12
_A_TOKEN = 10**6


class _Listed(Model):
    input: int | float
    output: int | float
    cached: int | float | None = None


@dataclass(frozen=True)
class Price:
    """Of a token of the prompt, of a cached one, and of the answer, in pico-dollars."""

    prompt: int
    cached: int
    completion: int

    def cost(self, usage: Usage) -> int:
        """What was used, in pico-dollars."""
        cached = min(usage.cached, usage.prompt)
        return (usage.prompt - cached) * self.prompt + cached * self.cached + usage.completion * self.completion

    def times(self, part: float) -> Price:
        """A part of it, in whole pico-dollars, rounded up."""
        return Price(*(math.ceil(each * part) for each in (self.prompt, self.cached, self.completion)))

    def worst(self, prompt: int, completion: int) -> int:
        """At most, in pico-dollars: nothing is cached."""
        return prompt * max(self.prompt, self.cached) + completion * self.completion


def load_prices(path: str) -> dict[str, Price]:
    """The prices in a YAML file: for each model `input`, `output` and perhaps `cached`, in USD a million tokens.

    Raises:
        ConfigError: with the file, the line and what was expected.
    """
    document = load(path)
    try:
        return {model: _price(value, (model,)) for model, value in document.data.items()}
    except BadValue as error:
        raise document.locate(error) from None


def _price(value: Plain, path: Path) -> Price:
    listed = validate(_Listed, value, path)
    cached = listed.input if listed.cached is None else listed.cached
    return Price(*(_pico(each, path) for each in (listed.input, cached, listed.output)))


def _pico(dollars: int | float, path: Path) -> int:
    exact = Decimal(str(dollars)) * _A_TOKEN
    if exact < 0 or exact != exact.to_integral_value():
        raise BadValue(path, f"{dollars} is no price: USD a million tokens, at least 0, with six decimals at most")
    return int(exact)


def dollars(pico: int) -> str:
    """Pico-dollars for a person: `$0.0123`, with as many digits as tell something."""
    value = Decimal(pico) / DOLLAR
    return f"${value:,.2f}" if value >= 1 or pico == 0 else f"${float(value):.4g}"
