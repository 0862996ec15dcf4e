"""`curate ledger bill`: what a run spent, as the server that was asked has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.generate.prices import dollars
from tests.llm.server import serve
from tests.pipelines import run_yaml
from tests.steps.synthesize.two_models import PRICES, answer, write

CASCADE = "{model: small, check: {self_verify: {samples: 2}}, keep: 0.9, drop: 0.05}"


def test_the_bill_is_an_aligned_table_with_a_line_for_each_model_whole_on_any_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with serve(answer=answer, prices=PRICES) as server:
        run_yaml(tmp_path / "runs", write(tmp_path, server.url, CASCADE, count=40))
        bill = server.bill()
    shown = CliRunner().invoke(app, ["ledger", "bill", str(tmp_path / "runs" / "two")])
    head, *lines = shown.stdout.split("settled: ")[0].splitlines()
    assert re.split(r" {2,}", head) == ["model", "attempts", "requests", "tokens", "at most"]
    assert {len(line) for line in lines} == {len(head)}
    expected = []
    for model in ("l", "s"):
        asked = [each for each in bill if each.model == model]
        tokens = sum(each.prompt_tokens + each.completion_tokens for each in asked)
        money = dollars(sum(each.price for each in asked))
        expected.append([model, f"{len(asked)} settled", f"{len(asked)}", f"{tokens:,}", money])
    assert [re.split(r" {2,}", line) for line in lines] == expected
