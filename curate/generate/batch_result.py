"""What the files of an ended batch say of its attempts.

result = BatchResult(client, batch)
result.add(content)                          # of the output file, and of the error file
result.of("1f0c...").what                    # answer, failed, refused, stop
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import orjson
from openai.types import Batch

from curate.generate.client import Client
from curate.generate.outcome import Outcome


class BatchResult:
    """Outcomes by the ids of attempts; lines come in any order, and some attempts may have none."""

    def __init__(self, client: Client, batch: Batch) -> None:
        self._client = client
        self._lines: dict[str, Outcome] = {}
        self._others = _others(client, batch)

    def add(self, content: bytes) -> None:
        """Read the lines of a file."""
        self._lines.update(self._read(self._client.blot_body(content)))

    def of(self, attempt: str) -> Outcome:
        """What became of an attempt."""
        return self._lines.get(attempt, self._others)

    def _read(self, content: bytes) -> Iterator[tuple[str, Outcome]]:
        for line in content.splitlines():
            try:
                data = orjson.loads(line)
                yield str(data["custom_id"]), self._outcome(data)
            except (KeyError, TypeError, ValueError):
                continue  # it says nothing of any attempt

    def _outcome(self, line: Mapping[str, object]) -> Outcome:
        response, error = line["response"], line.get("error")
        if isinstance(response, dict):
            status, body = int(response["status_code"]), response.get("body")
            if status == 200:
                return Outcome("answer", body=orjson.dumps(body))
            outcome = self._client.status(status, body)
            # The endpoint paces a batch itself: a limit in there is a failure like others.
            return replace(outcome, what="failed") if outcome.what == "limited" else outcome
        detail = error if isinstance(error, dict) else {}
        code, message = str(detail.get("code") or "batch-error"), self._client.blot(str(detail.get("message") or ""))
        return Outcome("failed", message=message, error=code.replace("_", "-"), billed=not detail)


def _others(client: Client, batch: Batch) -> Outcome:
    """What became of the attempts that have no line."""
    if batch.status == "completed":
        return Outcome("failed", message="the batch has no line for it", error="batch-incomplete")
    if batch.status == "failed" and batch.errors is not None and batch.errors.data:
        detail = client.blot("; ".join(str(each.message or each.code) for each in batch.errors.data))
        return Outcome("stop", message=f"refuses the batch ({detail})", error="batch-failed", billed=False)
    return Outcome("failed", message=f"the batch ended as {batch.status}", error="batch-expired", billed=False)
