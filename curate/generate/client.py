"""Sending one request to one server, once, and saying in one word what became of it.

    client = Client(Server(url="http://127.0.0.1:8000/v1"), endpoint)
    outcome = await client.send(request, attempt="1f0c...")
    outcome.what                                 # answer, limited, failed, refused, stop

Retries, budget and ledger are not its business. The `openai` client does the talking; what it would raise becomes an
`Outcome`. A key never leaves this module: where a server repeats it, it is blotted out.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import aiohttp
import httpx2
import openai

from curate.core.errors import RunError
from curate.generate.endpoints import Endpoint, Server
from curate.generate.outcome import Outcome, What
from curate.generate.request import PATHS, Request
from curate.generate.stream import read_stream

ATTEMPT = "X-Curate-Attempt"
# What sending may raise; a body that is no JSON is a ValueError.
FAILURES = (openai.OpenAIError, TimeoutError, ValueError)
_NEVER_ANSWERED = (400, 405, 406, 413, 415, 422, 451)
_STOP = {
    401: "refuses the key",
    402: "wants to be paid",
    403: "refuses access",
    404: "knows no such model or address",
}


class Client:
    """The `openai` client for one server of an endpoint; to be closed."""

    def __init__(self, server: Server, endpoint: Endpoint) -> None:
        self._server, self._endpoint = server, endpoint
        self._key = os.environ.get(server.key, "").strip() if server.key else ""
        if server.key and not self._key:
            raise RunError(f"the environment of a worker has no {server.key}; give it to every node")
        self.openai = openai.AsyncOpenAI(
            base_url=server.url,
            api_key=self._key or "none",
            # Of this process's environment nothing but the key named in the config is sent.
            organization="",
            project="",
            max_retries=0,
            timeout=endpoint.timeout,
            http_client=openai.DefaultAioHttpClient(timeout=endpoint.timeout),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.openai.close()

    async def send(self, request: Request, attempt: str) -> Outcome:
        """Send a request once; returns within the endpoint's timeout."""
        try:
            async with asyncio.timeout(self._endpoint.timeout):
                return await self._send(request, {ATTEMPT: attempt})
        except FAILURES as error:
            return self.failure(error)

    def failure(self, error: Exception) -> Outcome:
        """What one of `FAILURES` says of what was sent."""
        if isinstance(error, openai.APIStatusError):
            detail = error.body or {"message": error.message}
            return self.status(error.status_code, detail, _retry_after(error.response.headers))
        # With aiohttp every lost connection comes as a timeout of connecting: its cause tells them apart.
        causes = list(_causes(error))
        if any(isinstance(each, TimeoutError) for each in causes):
            return Outcome("failed", message=f"no answer within {self._endpoint.timeout:g} s", error="timeout")
        message = self.blot(f"{type(causes[-1]).__name__}: {causes[-1]}")
        if isinstance(error, openai.APIConnectionError):
            sent = not any(isinstance(each, aiohttp.ClientConnectorError) for each in causes)
            return Outcome("failed", message=message, error="connection", billed=sent)
        return Outcome("failed", message=message, error="unreadable")

    async def _send(self, request: Request, headers: Mapping[str, str]) -> Outcome:
        body = {"model": request.model, **request.body}
        if self._endpoint.stream:
            outcome = await read_stream(self.openai, request.kind, body, headers)
            return replace(outcome, body=self.blot_body(outcome.body))
        path = PATHS[request.kind]
        raw = await self.openai.post(path, body=body, options={"headers": dict(headers)}, cast_to=httpx2.Response)
        return Outcome("answer", body=self.blot_body(raw.content))

    def status(self, status: int, body: object, retry_after: float = 0.0) -> Outcome:
        """What a status that is no answer means, with what the body says of it."""
        inner = body.get("error", body) if isinstance(body, dict) else body
        detail = inner.get("message") if isinstance(inner, dict) else inner
        message = self.blot(f"{status}: {detail}" if isinstance(detail, str) else str(status))
        quota = isinstance(inner, dict) and "insufficient_quota" in (inner.get("code"), inner.get("type"))
        if status == 429 and quota:
            return Outcome("stop", message=f"has no quota left ({message})", error="quota", billed=False)
        if status in _STOP:
            key = f" in {self._server.key}" if status == 401 and self._server.key else ""
            return Outcome("stop", message=f"{_STOP[status]}{key} ({message})", error=f"http-{status}", billed=False)
        what: What = "refused" if status in _NEVER_ANSWERED else "limited" if status == 429 else "failed"
        after = 0.0 if what == "refused" else retry_after
        return Outcome(what, message=message, error=f"http-{status}", retry_after=after, billed=False)

    def blot(self, text: str) -> str:
        """One line of a text without this server's key."""
        line = " ".join(text.split())
        return (line.replace(self._key, "***") if self._key else line)[:300]

    def blot_body(self, body: bytes) -> bytes:
        """A body without this server's key."""
        key = self._key.encode()
        return body.replace(key, b"***") if key and key in body else body


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait, from a header in milliseconds, seconds, or with a date."""
    exact = headers.get("retry-after-ms")
    given = headers.get("retry-after")
    try:
        return max(0.0, float(exact) / 1000 if exact is not None else float(given or 0))
    except ValueError:
        parsed = email.utils.parsedate_tz(given or "")
        return max(0.0, email.utils.mktime_tz(parsed) - time.time()) if parsed is not None else 0.0


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it came from, and so on."""
    here: BaseException | None = error
    while here is not None:
        yield here
        here = here.__cause__ or here.__context__
