"""The Files and Batch endpoints of the loopback server.

A batch is done after `Faults.polls` questions, a part of its lines at each, and answers them in an order that is not
that of its input. A line that failed or came too late stands in the error file; one that came too late makes the batch
expired; a batch that is cancelled keeps what was done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import orjson
from aiohttp import web

from tests.llm.answers import Body
from tests.llm.delivery import json_of
from tests.llm.replies import CREATED, error

WINDOW = 24 * 3600
FINAL = ("completed", "expired", "cancelled", "failed")
LATE = {"code": "batch_expired", "message": "the request could not be executed before the completion window expired"}


class Work(Protocol):
    """Does one line and bills it: status and body; None when its time was over before it was done."""

    def __call__(self, url: str, body: Body, *, attempt: str, batch: str) -> tuple[int, Body] | None: ...


@dataclass
class Batch:
    """A batch and where it is."""

    shown: Body
    lines: list[Body]
    polls: int
    asked: int = 0
    done: list[bytes] = field(default_factory=list)
    failed: list[bytes] = field(default_factory=list)
    late: int = 0


class Batches:
    """Files and batches by id."""

    def __init__(self, work: Work, polls: Callable[[], int]) -> None:
        self._work = work
        self._polls = polls
        self._files: dict[str, tuple[Body, bytes]] = {}
        self._batches: dict[str, Batch] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/files", self.upload),
            web.get("/v1/files/{id}", self.file),
            web.get("/v1/files/{id}/content", self.content),
            web.post("/v1/batches", self.create),
            web.get("/v1/batches", self.list),
            web.get("/v1/batches/{id}", self.ask),
            web.post("/v1/batches/{id}/cancel", self.cancel),
        ]

    def clear(self) -> None:
        self._files.clear()
        self._batches.clear()

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, web.FileField) or not isinstance(purpose, str):
            return json_of(error("'file' and 'purpose' are needed", "invalid_request_error"), 400)
        return json_of(self._store(file.file.read(), file.filename, purpose))

    async def file(self, request: web.Request) -> web.Response:
        held = self._files.get(request.match_info["id"])
        return json_of(held[0]) if held else _missing("file")

    async def content(self, request: web.Request) -> web.Response:
        held = self._files.get(request.match_info["id"])
        return web.Response(body=held[1], content_type="application/octet-stream") if held else _missing("file")

    async def create(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        held = self._files.get(asked.get("input_file_id"))
        if held is None:
            return _missing("file")
        name = f"batch_{len(self._batches) + 1:06d}"
        shown: Body = {
            "id": name, "object": "batch", "endpoint": asked["endpoint"], "errors": None,
            "input_file_id": asked["input_file_id"], "completion_window": asked["completion_window"],
            "status": "validating", "output_file_id": None, "error_file_id": None,
            "created_at": CREATED, "expires_at": CREATED + WINDOW, "metadata": asked.get("metadata"),
        }  # fmt: skip
        lines, problems = _lines(held[1], asked["endpoint"])
        if problems:
            shown |= {"status": "failed", "failed_at": CREATED, "errors": {"object": "list", "data": problems}}
        batch = Batch(shown, [] if problems else lines, max(1, self._polls()))
        self._batches[name] = batch
        return json_of(self._show(batch))

    async def list(self, request: web.Request) -> web.Response:
        """The newest first, `limit` (20) at a time."""
        names = sorted(self._batches, reverse=True)
        if after := request.query.get("after"):
            names = [name for name in names if name < after]
        page = names[: int(request.query.get("limit", "20"))]
        return json_of({
            "object": "list", "data": [self._show(self._batches[name]) for name in page],
            "first_id": page[0] if page else None, "last_id": page[-1] if page else None,
            "has_more": len(page) < len(names),
        })  # fmt: skip

    async def ask(self, request: web.Request) -> web.Response:
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            return _missing("batch")
        if batch.shown["status"] == "cancelling":
            self._finish(batch, "cancelled")
        elif batch.shown["status"] not in FINAL:
            self._advance(batch)
        return json_of(self._show(batch))

    async def cancel(self, request: web.Request) -> web.Response:
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            return _missing("batch")
        if batch.shown["status"] in FINAL:
            message = f"cannot cancel a batch with status {batch.shown['status']!r}"
            return json_of(error(message, "invalid_request_error"), 409)
        batch.shown |= {"status": "cancelling", "cancelling_at": CREATED}
        return json_of(self._show(batch))

    def _advance(self, batch: Batch) -> None:
        """Do the lines that are due at this question."""
        begin, end = (len(batch.lines) * k // batch.polls for k in (batch.asked, batch.asked + 1))
        batch.asked += 1
        for line in batch.lines[begin:end]:
            answer = self._work(line["url"], line["body"], attempt=line["custom_id"], batch=batch.shown["id"])
            self._write(batch, line["custom_id"], answer)
        batch.shown |= {"status": "in_progress", "in_progress_at": CREATED}
        if batch.asked == batch.polls:
            self._finish(batch, "expired" if batch.late else "completed")

    def _write(self, batch: Batch, custom_id: str, answer: tuple[int, Body] | None) -> None:
        name = hashlib.sha256(f"{batch.shown['id']}:{custom_id}".encode()).hexdigest()[:24]
        line: Body = {"id": f"batch_req_{name}", "custom_id": custom_id, "response": None, "error": LATE}
        if answer is not None:
            response = {"status_code": answer[0], "request_id": f"req_{name}", "body": answer[1]}
            line |= {"response": response, "error": None}
        batch.late += answer is None
        good = answer is not None and answer[0] == 200
        (batch.done if good else batch.failed).append(orjson.dumps(line) + b"\n")

    def _finish(self, batch: Batch, status: str) -> None:
        batch.shown |= {"status": status, f"{status}_at": CREATED}
        for key, written in (("output_file_id", batch.done), ("error_file_id", batch.failed)):
            if written:
                file = self._store(b"".join(_shuffled(written)), f"{batch.shown['id']}_{key}.jsonl", "batch_output")
                batch.shown[key] = file["id"]

    def _show(self, batch: Batch) -> Body:
        done, failed = len(batch.done), len(batch.failed)
        return {**batch.shown, "request_counts": {"total": len(batch.lines), "completed": done, "failed": failed}}

    def _store(self, data: bytes, filename: str, purpose: str) -> Body:
        name = f"file-{len(self._files) + 1:06d}"
        shown: Body = {
            "id": name, "object": "file", "bytes": len(data), "created_at": CREATED,
            "filename": filename, "purpose": purpose, "status": "processed",
        }  # fmt: skip
        self._files[name] = (shown, data)
        return shown


def _shuffled(lines: list[bytes]) -> list[bytes]:
    """By hash; backwards where that would leave them as they are."""
    order = sorted(lines, key=lambda line: hashlib.sha256(line).digest())
    return order if order != lines else order[::-1]


def _lines(data: bytes, endpoint: str) -> tuple[list[Body], list[Body]]:
    """The lines of an input file, and what is wrong with them."""
    lines: list[Body] = []
    problems: list[Body] = []
    seen: set[str] = set()
    for number, raw in enumerate(data.splitlines(), 1):
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            problems.append({"code": "invalid_json_line", "message": "not JSON", "line": number, "param": None})
            continue
        if line["custom_id"] in seen:
            problems.append(
                {"code": "duplicate_custom_id", "message": line["custom_id"], "line": number, "param": None}
            )
        if line["url"] != endpoint or line["method"] != "POST":
            problems.append({"code": "mismatched_endpoint", "message": line["url"], "line": number, "param": "url"})
        seen.add(line["custom_id"])
        lines.append(line)
    if not lines and not problems:
        problems.append({"code": "empty_file", "message": "the file has no line", "line": None, "param": None})
    return lines, problems


def _missing(what: str) -> web.Response:
    return json_of(error(f"no such {what}", "invalid_request_error", "not_found"), 404)
