"""Asking a server that nobody here wrote: `llmock`, where it is installed (`pip install llmock`)."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.generate.ask import Ask
from curate.generate.endpoints import Endpoint, Endpoints
from curate.generate.ledger import Ledger
from curate.generate.request import Completion
from tests.generate.asking import PRICE, chat, free_port, states

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llmock") is None, reason="llmock is not installed"),
]

# As many words as make the answer, which repeats them, longer than the six pieces after which a stream may be cut: one
# that is cut later, with its finish reason sent, is whole, and llmock would call it accepted too early.
QUESTION = "Question {} of twelve that were asked here in one breath"
# Few enough that none of the twelve is out of luck eight times in a row, but for one run in a hundred thousand.
FAULTS = ("--error-rate", "429=0.1", "--error-rate", "500=0.05")
STREAM_FAULTS = [f"--stream-fault={kind}=0.05" for kind in ("truncate", "malformed", "disconnect")]


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        return orjson.loads(response.read())


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    base = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "llmock.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--log-level", "error", "--response-style", "echo", *FAULTS, *STREAM_FAULTS]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(urllib.error.URLError):
                fetch(f"{base}/health")
                break
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield base
        process.terminate()


@pytest.mark.parametrize("way", [{}, {"stream": True}, {"batch": True}], ids=["whole", "streamed", "batch"])
def test_every_answer_comes_and_the_client_is_found_to_behave(
    tmp_path: Path, server: str, way: dict[str, bool]
) -> None:
    endpoints = Endpoints(
        {"large": Endpoint(model="gpt-4o-mini", url=f"{server}/v1", timeout=20, **way)},
        None,
        {"gpt-4o-mini": PRICE},
        (),
    )

    async def main() -> list[Completion]:
        ledger = Ledger(str(tmp_path / "x.sqlite"))
        try:
            async with Ask(endpoints, ledger, None, ["large"], replay=False) as ask:
                requests = [replace(chat(QUESTION.format(i)), model="gpt-4o-mini") for i in range(12)]
                return await asyncio.gather(*map(ask, requests))
        finally:
            ledger.close()

    completions = asyncio.run(main())
    assert all(each.text and each.usage.completion for each in completions)
    assert states(tmp_path / "x.sqlite").count("settled") == 12
    # Whether Retry-After was respected, what cannot succeed was left alone, and no cut answer was taken for a whole one.
    verdict = fetch(f"{server}/_llmock/verdict")
    assert verdict["errors"] == 0, verdict["findings"]
