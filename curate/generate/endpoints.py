"""Endpoints as a configuration names them, and what a run may do with them.

    endpoints:
      large: {url: https://api.openai.com/v1, key: OPENAI_API_KEY, model: gpt-4o-mini}
      small: {servers: [{url: http://127.0.0.1:8000/v1}, {url: http://127.0.0.1:8001/v1}], model: qwen}
    budget: {usd: 5, models: {gpt-4o-mini: {usd: 2}}}
    prices: prices.yaml

The name of an endpoint, its model and the model's revision bear identity; where it is, how fast it may be asked and
what it costs do not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from curate.core import files
from curate.core.config import BadValue, Model, Path, validate
from curate.core.digest import Plain
from curate.core.errors import nearest
from curate.generate.prices import Price, load_prices

KEYS = ("endpoints", "budget", "prices", "ledgers")


class Cap(Model):
    """What may be spent; null is no cap."""

    usd: int | float | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0)
    requests: int | None = Field(None, ge=0)


class Caps(Cap):
    """What a run may spend in all, and on single models.

    Attributes:
        models: by the model's name at its endpoint.
    """

    models: dict[str, Cap] = {}


class Server(Model):
    """One of the servers of an endpoint.

    Attributes:
        url: up to and with `/v1`.
        key: the name of the environment variable that holds the key; null for a server that wants none.
        weight: its share of the requests.
    """

    url: str
    key: str | None = None
    weight: float = Field(1.0, gt=0)


class Endpoint(Model):
    """A model, and the servers that run it.

    Attributes:
        model: its name there.
        revision: which state of it, if that is known; another one is asked again.
        url, key: of the one server, or
        servers: several that give the same answers.
        in_flight: requests at once in each process, at most; how many it stands is found out.
        timeout: seconds until a request, its answer included, fails.
        tries: how often a request is sent, at most.
        patience: seconds that every server may be down before the run stops.
        stream: whether answers are streamed, so that a runaway one is cut early.
        structured: whether it takes a JSON schema for the answer.
        seed: whether it takes a seed.
        limit: the name of the parameter for the most tokens of an answer.
        batch: whether requests go through the Batch API, at its price and pace.
        batch_rows: requests in one batch, at most.
        discount: what part of the price is billed: 0.5 for the Batch API of OpenAI.
        extra: parameters that are sent with every request; they bear identity.
    """

    model: str
    revision: str = ""
    url: str | None = None
    key: str | None = None
    servers: list[Server] = []
    in_flight: int = Field(64, ge=1, le=512)
    timeout: float = Field(600, gt=0)
    tries: int = Field(8, ge=1)
    patience: float = Field(300, gt=0)
    stream: bool = False
    structured: bool = True
    seed: bool = True
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    batch: bool = False
    batch_rows: int = Field(10_000, ge=1, le=50_000)
    discount: float = Field(1.0, gt=0, le=1)
    extra: dict[str, Plain] = {}

    @property
    def places(self) -> Sequence[Server]:
        """The servers, one or several."""
        return [Server(url=self.url, key=self.key)] if self.url is not None else self.servers

    def identity(self) -> dict[str, Plain]:
        """What of it changes the answers."""
        return {
            "model": self.model,
            "revision": self.revision,
            "structured": self.structured,
            "seed": self.seed,
            "limit": self.limit,
            "extra": dict(self.extra),
        }


@dataclass(frozen=True)
class Endpoints:
    """What a pipeline may use to ask models: nothing of it but the identity of endpoints enters a digest.

    Attributes:
        by_name: each endpoint.
        caps: of the budget; None where there is none.
        prices: by model.
        ledgers: recorded answers, files or folders, that are looked in before an endpoint is asked.
    """

    by_name: Mapping[str, Endpoint]
    caps: Caps | None
    prices: Mapping[str, Price]
    ledgers: tuple[str, ...]

    def price(self, endpoint: str) -> Price:
        """Of a token of an endpoint; nothing where none is known."""
        known = self.by_name[endpoint]
        return self.prices.get(known.model, Price(0, 0, 0)).times(known.discount)

    def check_keys(self, names: Sequence[str]) -> None:
        """See that the keys of some endpoints are in the environment.

        Raises:
            BadValue: one is missing, or empty.
        """
        for name in names:
            for place in self.by_name[name].places:
                if place.key is not None and not os.environ.get(place.key, "").strip():
                    message = f"the environment has no {place.key}; export it, or run with --replay to ask nobody"
                    raise BadValue(("endpoints", name, "key"), message)


def read_endpoints(data: Mapping[str, Plain]) -> Endpoints:
    """The keys of a pipeline's document that say what may be asked, and what it may cost.

    Raises:
        BadValue: one is wrong, a model has no price while there is a cap in USD, or a key stands in the config.
    """
    given = data.get("endpoints")
    if not isinstance(given, dict | None):
        raise BadValue(("endpoints",), "expected names and endpoints")
    endpoints = {name: _endpoint(value, ("endpoints", name)) for name, value in (given or {}).items()}
    caps = validate(Caps, data["budget"], ("budget",)) if "budget" in data else None
    path = data.get("prices")
    if not isinstance(path, str | None):
        raise BadValue(("prices",), "expected the name of a YAML file with the price of each model")
    prices = load_prices(path) if path is not None else {}
    for name, endpoint in endpoints.items():
        if endpoint.model not in prices and caps is not None and _counts_money(caps, endpoint.model):
            message = f"the budget has a cap in USD, but {endpoint.model!r} has no price"
            hint = f"; {nearest(endpoint.model, prices)}" if prices else "; name a file of prices with `prices:`"
            raise BadValue(("endpoints", name, "model"), message + hint)
    for model in caps.models if caps else ():
        if model not in {each.model for each in endpoints.values()}:
            known = [each.model for each in endpoints.values()]
            raise BadValue(("budget", "models", model), f"no endpoint has such a model; {nearest(model, known)}")
    return Endpoints(endpoints, caps, prices, tuple(_ledgers(data.get("ledgers"))))


def _endpoint(value: Plain, path: Path) -> Endpoint:
    endpoint = validate(Endpoint, value, path)
    if (endpoint.url is None) == (not endpoint.servers):
        raise BadValue(path, "needs `url:`, or several under `servers:`")
    if endpoint.batch and len(endpoint.places) > 1:
        raise BadValue((*path, "batch"), "goes to one server, as its answers are fetched there; name one with `url:`")
    if endpoint.key is not None and endpoint.url is None:
        raise BadValue((*path, "key"), "belongs to each of the servers")
    for i, place in enumerate(endpoint.places):
        where = (*path, "servers", i) if endpoint.servers else path
        if not place.url.startswith(("http://", "https://")):
            raise BadValue((*where, "url"), f"{place.url!r} is no URL; it begins with https:// or http://")
        if place.key is not None and not place.key.replace("_", "").isalnum():
            message = "is the name of an environment variable, such as OPENAI_API_KEY; never write a key here"
            raise BadValue((*where, "key"), message)
    for name in ("messages", "prompt", "model", "n", "stream", "seed", endpoint.limit):
        if name in endpoint.extra:
            raise BadValue((*path, "extra", name), "is set by the recipe or by another key; remove it")
    return endpoint


def _counts_money(caps: Caps, model: str) -> bool:
    own = caps.models.get(model)
    return caps.usd is not None or (own is not None and own.usd is not None)


def _ledgers(value: Plain) -> Sequence[str]:
    named = [value] if isinstance(value, str) else value or []
    if not isinstance(named, list) or not all(isinstance(each, str) for each in named):
        raise BadValue(("ledgers",), "expected paths of recorded answers: .jsonl, .parquet, or a folder of a ledger")
    for i, each in enumerate(named):
        if not files.exists(str(each)):
            raise BadValue(("ledgers", i), f"{each}: no such file; check the path")
    return [str(each) for each in named]
