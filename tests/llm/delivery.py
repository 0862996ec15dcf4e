"""How the loopback server's answers leave it: as they should, refused, in parts, cut short or not at all."""

from __future__ import annotations

import asyncio
import email.utils
import socket
import struct
import time

import orjson
from aiohttp import web

from tests.llm.answers import Body
from tests.llm.faults import Faults
from tests.llm.replies import Reply, error

PIECE = 8192  # bytes of a write
PAGE = "<html><head><title>Bad gateway</title></head><body><h1>502</h1></body></html>"

# Status, message and code.
REFUSALS = {
    "rate_limit": (429, "rate limit reached", "rate_limit_exceeded"),
    "rate_limit_date": (429, "rate limit reached", "rate_limit_exceeded"),
    "limit": (429, "too many requests in flight", "rate_limit_exceeded"),
    "no_quota": (429, "you exceeded your current quota", "insufficient_quota"),
    "server_error": (500, "the server had an error", None),
    "unavailable": (503, "the engine is overloaded", None),
    "request_timeout": (408, "the request took too long", None),
    "conflict": (409, "the resource is locked", None),
}


def json_of(body: Body, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


async def fail(request: web.Request, fault: str, faults: Faults) -> web.StreamResponse:
    """A status, a page, or a connection that is reset: at once, or when the client did not leave a hang."""
    if fault in ("html", "bad_gateway"):
        return web.Response(text=PAGE, status=200 if fault == "html" else 502, content_type="text/html")
    if fault in REFUSALS:
        status, message, code = REFUSALS[fault]
        response = json_of(error(message, code or "server_error", code), status)
        if fault in ("rate_limit", "limit"):
            response.headers["Retry-After"] = str(faults.retry_after)
        elif fault == "rate_limit_date":
            response.headers["Retry-After"] = email.utils.formatdate(time.time() + 1, usegmt=True)
        return response
    if fault in ("hang_before", "hang_after"):
        await asyncio.sleep(faults.seconds)
    if request.transport is not None:
        # Closing with no time to linger sends RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()
    return web.Response()


async def send(request: web.Request, reply: Reply, fault: str | None, faults: Faults) -> web.StreamResponse:
    """A stream of events, or a body that does not come as it should."""
    stream = bool(reply.body.get("stream"))
    data = b"".join(reply.events()) if stream else reply.whole()
    half = len(data) // 2
    response = web.StreamResponse()
    response.content_type = "text/event-stream" if stream else "application/json"
    if fault == "cut_json":
        data = data[:half]
    if not stream:
        response.content_length = len(data)
    await response.prepare(request)
    if fault in ("truncated", "stalled"):
        await response.write(data[:half])
        if fault == "stalled":
            await asyncio.sleep(faults.seconds)
        if request.transport is not None:
            request.transport.close()
        return response
    step = len(data) // 8 + 1 if fault == "slow" else PIECE
    for start in range(0, len(data), step):
        await response.write(data[start : start + step])
        if fault == "slow":
            await asyncio.sleep(faults.pause)
    return response
