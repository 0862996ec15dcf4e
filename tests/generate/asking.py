"""What the tests of `generate` share: endpoints at the loopback server, requests to them, and what a ledger says."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

from curate.generate.ask import Ask
from curate.generate.budget import Address, BudgetClient
from curate.generate.endpoints import Endpoint, Endpoints
from curate.generate.ledger import Ledger
from curate.generate.prices import Price
from curate.generate.request import CHAT, COMPLETIONS, Request

PRICES = {"small": ("0.15", "0.60")}
PRICE = Price(prompt=150_000, cached=150_000, completion=600_000)


def endpoints(url: str, *, price: Price = PRICE, **options: Any) -> Endpoints:
    """One endpoint, `large`, of the model `small`."""
    endpoint = Endpoint(model="small", url=None if "servers" in options else url, **options)
    return Endpoints({"large": endpoint}, None, {"small": price}, ())


def chat(text: str = "Who?", sample: int = 0, most: int = 64, **body: Any) -> Request:
    asked = {"messages": [{"role": "user", "content": text}], "max_tokens": most, **body}
    return Request("large", "small", "", CHAT, asked, sample, most)


def prompt(text: str, most: int = 64, **body: Any) -> Request:
    return Request("large", "small", "", COMPLETIONS, {"prompt": text, "max_tokens": most, **body}, 0, most)


@contextlib.asynccontextmanager
async def asking(
    path: Path, endpoints: Endpoints, *, replay: bool = False, address: Address | None = None
) -> AsyncIterator[Ask]:
    ledger = Ledger(str(path))
    client = await BudgetClient.open(address, str(path)) if address is not None else None
    try:
        async with Ask(endpoints, ledger, client, ["large"], replay=replay) as ask:
            yield ask
    finally:
        if client is not None:
            await client.close()
        ledger.close()


def attempts(path: Path) -> dict[str, tuple[str, int, int, int]]:
    """Of a ledger, by id: state, money, tokens, requests."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        query = "SELECT id, state, money, tokens, requests FROM attempts"
        return {row[0]: row[1:] for row in connection.execute(query)}


def states(path: Path) -> list[str]:
    return sorted(each[0] for each in attempts(path).values())


def free_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Answer = Callable[[Mapping[str, str], dict[str, Any]], tuple[int, Mapping[str, str], object]]


@contextlib.contextmanager
def saying(answer: Answer) -> Iterator[str]:
    """A server that says to every POST what `answer` makes of its headers and body; its url."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            plain = "json" in self.headers["Content-Type"]
            status, headers, said = answer(
                {k.lower(): v for k, v in self.headers.items()}, orjson.loads(body) if plain else {}
            )
            data = orjson.dumps(said)
            self.send_response(status)
            for name, value in {
                **headers,
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *parts: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
