"""A server on loopback that speaks the OpenAI API, misbehaves on request, and keeps its own bill.

with serve(answer=lambda body: "Yes.", faults=Faults.all(0.02), prices={"small": ("0.15", "0.60")}) as server:
    client = AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0)
    ...
    sum(entry.price for entry in server.bill())     # pico-dollars, to compare with the ledger

Answers follow from the request alone; `n` is ignored. Billed is what the work was done for, when the work begins and
whatever the client sees of it: answers sent, cut, empty, stalled, left by the client, reset or hung after the work, and
lines of batches that are done, at full price. Not billed are 4xx, 5xx, pages of HTML, resets and hangs before the work.

As a process, which ends after `--seconds` or when its standard input closes, and prints its url first:
    python -m tests.llm.server --latency 0.05 --price small=0.15,0.60 --faults '{"rate_limit": 0.1}'
It also answers GET /__bill (JSON lines), GET /__stats, POST /__faults (fields of Faults) and POST /__reset.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import orjson
from aiohttp import web

from tests.llm.answers import TRANSPORT, Body, default, digest
from tests.llm.batches import Batches
from tests.llm.delivery import fail, json_of, send
from tests.llm.faults import BILLED, Faults
from tests.llm.replies import CREATED, Reply, error, problem

SPACES = " " * 40_000
LARGEST = 2**30  # bytes of a request


@dataclass(frozen=True, slots=True)
class Billed:
    """One piece of work: for batches `attempt` is the line's custom_id. The price is in pico-dollars."""

    attempt: str | None
    digest: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    price: int
    batch: str | None


class Server:
    """The state of the server; `serve` runs one. Prices are USD per million tokens, of the prompt and of the answer."""

    def __init__(
        self,
        *,
        answer: Callable[[Body], str] = default,
        faults: Faults | None = None,
        prices: Mapping[str, tuple[str | Decimal, str | Decimal]] | None = None,
        latency: float = 0.0,
        limit: int | None = None,
    ) -> None:
        self.answer = answer
        self.faults = faults or Faults()
        self.latency = latency
        self.limit = limit
        self.url = ""
        self.broken: Exception | None = None  # what `answer` raised
        self._prices = {model: (_pico(each[0]), _pico(each[1])) for model, each in (prices or {}).items()}
        self._batches = Batches(self._line, lambda: self.faults.polls)
        self._in_flight = 0
        self.clear()

    def clear(self) -> None:
        """Forget the bill, the counts, the files, and which request came how often."""
        self._bill: list[Billed] = []
        self._met: Counter[str] = Counter()
        self._came: Counter[str] = Counter()
        self._requests = self._peak = 0
        self._batches.clear()

    def bill(self) -> list[Billed]:
        """All that was billed, in order of arrival."""
        return list(self._bill)

    def stats(self) -> Body:
        """Counts: requests, most of them in flight at once within the limit, entries of the bill, faults by name."""
        return {"requests": self._requests, "peak": self._peak, "billed": len(self._bill), "faults": dict(self._met)}

    async def run(self, port: int, started: Callable[[str], None], stop: asyncio.Event) -> None:
        """Serve on loopback until `stop`; `started` gets the url."""
        app = web.Application(client_max_size=LARGEST)
        app.add_routes([
            web.post("/v1/chat/completions", partial(self._generate, chat=True)),
            web.post("/v1/completions", partial(self._generate, chat=False)),
            web.get("/v1/models", self._models),
            *self._batches.routes(),
            web.get("/__bill", self._show_bill),
            web.get("/__stats", self._show_stats),
            web.post("/__faults", self._set_faults),
            web.post("/__reset", self._reset),
        ])  # fmt: skip
        # A client that leaves ends what is done for it, so that a hang need not look for it.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            started(self.url)
            await stop.wait()
        finally:
            await runner.cleanup()

    async def _generate(self, request: web.Request, chat: bool) -> web.StreamResponse:
        self._requests += 1
        self._in_flight += 1
        try:
            if self.limit is not None and self._in_flight > self.limit:
                self._met["limit"] += 1
                return await fail(request, "limit", self.faults)
            self._peak = max(self._peak, self._in_flight)
            return await self._complete(request, chat)
        finally:
            self._in_flight -= 1

    async def _complete(self, request: web.Request, chat: bool) -> web.StreamResponse:
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            return json_of(error("the body is not JSON", "invalid_request_error"), 400)
        if refusal := self._refusal(body, chat):
            return json_of(refusal[1], refusal[0])
        key = digest(body)
        fault = self.faults.request(key, self._came[key])
        self._came[key] += 1
        if fault is not None:
            self._met[fault] += 1
            if fault not in BILLED:
                return await fail(request, fault, self.faults)
        text = SPACES if fault == "whitespace" else "" if fault == "empty" else self._said(body)
        reply = Reply.of(body, key, text, chat=chat)
        self._charge(reply, request.headers.get("X-Curate-Attempt"), None)
        if self.latency:
            await asyncio.sleep(self.latency)
        if fault in ("reset_after", "hang_after"):
            return await fail(request, fault, self.faults)
        if not body.get("stream") and fault in (None, "whitespace", "empty"):
            return web.Response(body=reply.whole(), content_type="application/json")
        return await send(request, reply, fault, self.faults)

    def _refusal(self, body: object, chat: bool) -> tuple[int, Body] | None:
        """Status and body for a request that no later attempt can save."""
        if (wrong := problem(body, chat)) is not None:
            return 400, error(wrong, "invalid_request_error")
        assert isinstance(body, dict)
        if self._prices and body["model"] not in self._prices:
            return 404, error(f"the model {body['model']!r} does not exist", "invalid_request_error", "model_not_found")
        if self.faults.refused and self.faults.refused.encode() in orjson.dumps(body):
            self._met["refused"] += 1
            return 400, error("the request was refused", "invalid_request_error", "content_policy_violation")
        return None

    def _said(self, body: Body) -> str:
        try:
            return self.answer({key: value for key, value in body.items() if key not in TRANSPORT})
        except Exception as raised:
            self.broken = self.broken or raised  # `serve` raises it again; the client sees a 500
            raise

    def _charge(self, reply: Reply, attempt: str | None, batch: str | None) -> None:
        model, prompt, answer = reply.body["model"], reply.prompt_tokens, len(reply.tokens)
        a_prompt, an_answer = self._prices.get(model, (0, 0))
        price = prompt * a_prompt + answer * an_answer
        self._bill.append(Billed(attempt, reply.digest, model, prompt, answer, price, batch))

    def _line(self, url: str, body: Body, *, attempt: str, batch: str) -> tuple[int, Body] | None:
        chat = url == "/v1/chat/completions"
        if refusal := self._refusal(body, chat):
            return refusal
        key = digest(body)
        fault = self.faults.line(key, self._came[f"line:{key}"])
        self._came[f"line:{key}"] += 1
        if fault is None:
            reply = Reply.of(body, key, self._said(body), chat=chat)
            self._charge(reply, attempt, batch)
            return 200, orjson.loads(reply.whole())
        self._met[fault] += 1
        return None if fault == "line_expired" else (500, error("the server had an error", "server_error"))

    async def _models(self, request: web.Request) -> web.Response:
        known = [
            {"id": model, "object": "model", "created": CREATED, "owned_by": "loopback"}
            for model in self._prices or ("small", "large")
        ]
        return json_of({"object": "list", "data": known})

    async def _show_bill(self, request: web.Request) -> web.Response:
        return web.Response(body=b"".join(orjson.dumps(entry) + b"\n" for entry in self._bill))

    async def _show_stats(self, request: web.Request) -> web.Response:
        return json_of(self.stats())

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults = Faults.of(orjson.loads(await request.read()))
        except ValueError as refused:
            return json_of(error(str(refused), "invalid_request_error"), 400)
        return json_of({})

    async def _reset(self, request: web.Request) -> web.Response:
        self.clear()
        return json_of({})


@contextmanager
def serve(
    *,
    answer: Callable[[Body], str] = default,
    faults: Faults | None = None,
    prices: Mapping[str, tuple[str | Decimal, str | Decimal]] | None = None,
    latency: float = 0.0,
    limit: int | None = None,
) -> Iterator[Server]:
    """A server in a thread of this process, for as long as the block runs; raises what `answer` raised."""
    server = Server(answer=answer, faults=faults, prices=prices, latency=latency, limit=limit)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        await server.run(0, lambda url: started.set_result((loop, stop)), stop)

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="loopback", daemon=True)
    thread.start()
    loop, stop = started.result(timeout=30)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=30)
    if server.broken is not None:
        raise server.broken


def _pico(dollars: str | Decimal) -> int:
    """USD per million tokens as pico-dollars per token."""
    exact = Decimal(dollars) * 10**6
    if exact != int(exact):
        raise ValueError(f"{dollars} USD a million tokens is no whole number of pico-dollars a token")
    return int(exact)


async def _process(server: Server, port: int, seconds: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_end_of_input() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
    loop.call_later(seconds, stop.set)
    await server.run(port, partial(print, flush=True), stop)


def main() -> None:
    parser = argparse.ArgumentParser(description="a server on loopback that speaks the OpenAI API")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--limit", type=int, help="more requests in flight get 429")
    parser.add_argument("--price", action="append", default=[], help="MODEL=PROMPT,ANSWER in USD per million tokens")
    parser.add_argument("--faults", type=orjson.loads, default={}, help="fields of Faults, as JSON")
    parser.add_argument("--seconds", type=float, default=600.0, help="end after this")
    asked = parser.parse_args()
    prices = {}
    for each in asked.price:
        model, _, pair = each.rpartition("=")
        prompt, _, answer = pair.partition(",")
        prices[model] = (prompt, answer)
    server = Server(faults=Faults.of(asked.faults), prices=prices, latency=asked.latency, limit=asked.limit)
    asyncio.run(_process(server, asked.port, asked.seconds))


if __name__ == "__main__":
    main()
